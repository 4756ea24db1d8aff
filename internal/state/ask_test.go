package state

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"

	"chaperone.dev/chaperone/internal/fault"
	"chaperone.dev/chaperone/internal/manifest"
	"chaperone.dev/chaperone/internal/promotion"
)

func pauseFor(reason string) Pause {
	return Pause{Reason: reason, By: "jane@example.org", At: asked, Until: asked.Add(time.Hour)}
}

// adorn puts onto the object what other people keep there.
func (f *fixture) adorn(id promotion.ID) {
	f.Helper()
	f.patch(id, `{"metadata": {"annotations": {"example.org/note": "  two\n lines, <é> ", "example.org/empty": ""},
		"labels": {"example.org/team": "shop", "chaperone.dev/pipeline": "hand-edited"}}}`)
}

func (f *fixture) patch(id promotion.ID, patch string, subresources ...string) {
	f.Helper()
	_, err := f.store.environments().Patch(f.Context(), ObjectName(id), types.MergePatchType, []byte(patch), metav1.PatchOptions{}, subresources...)
	if err != nil {
		f.Fatal(err)
	}
}

func (f *fixture) pause(id promotion.ID, p Pause) {
	f.Helper()
	if err := f.another().SetPause(f.Context(), id, &p); err != nil {
		f.Fatal(err)
	}
}

func TestPeopleAskAndTakeBack(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.save(f.store, full())
	f.adorn(staging)
	before := f.raw(staging)

	east := time.FixedZone("east", 3600)
	pause, retry := pauseFor("a person's <reason> & \"more\""), Retry{ID: "one", Digest: releaseAt(second).Digest, By: "joe", At: asked}
	elsewhere, later := pause, retry
	elsewhere.At, elsewhere.Until, later.At = pause.At.In(east), pause.Until.In(east), retry.At.In(east)
	f.pause(staging, elsewhere)
	if err := f.another().SetRetry(t.Context(), staging, later); err != nil {
		t.Fatal(err)
	}
	if got, want := f.get(f.store, staging).Requests, (Requests{Pause: &pause, Retry: &retry}); !reflect.DeepEqual(got, want) {
		t.Errorf("asked for %+v, came as %+v", want, got)
	}
	if err := f.another().SetPause(t.Context(), staging, nil); err != nil {
		t.Fatal(err)
	}
	if err := f.another().SetPause(t.Context(), staging, nil); err != nil {
		t.Errorf("resumed twice: %v", err)
	}
	if got := f.get(f.store, staging).Requests; !reflect.DeepEqual(got, Requests{Retry: &retry}) {
		t.Errorf("after the pause was taken back: %+v", got)
	}
	f.patch(staging, `{"metadata": {"annotations": {"`+RetryAnnotation+`": null}}}`)
	sameButVersion(t, f.raw(staging), before)
}

// sameButVersion compares all that people and programs keep in an object.
func sameButVersion(t *testing.T, got, want *unstructured.Unstructured) {
	t.Helper()
	got, want = got.DeepCopy(), want.DeepCopy()
	for _, o := range []*unstructured.Unstructured{got, want} {
		o.SetResourceVersion("")
		o.SetManagedFields(nil)
	}
	if !reflect.DeepEqual(got.Object, want.Object) {
		t.Errorf("the object is\n%v\nwant\n%v", got.Object, want.Object)
	}
}

func TestNothingInvalidIsAsked(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.save(f.store, full())
	before := f.raw(staging)
	long := strings.Repeat("x", maxRequestText+1)
	for says, change := range map[string]func(*Pause){
		"reason: missing":               func(p *Pause) { p.Reason = "" },
		"reason: 1025 bytes":            func(p *Pause) { p.Reason = long },
		"reason: holds control":         func(p *Pause) { p.Reason = "a\x1b[2Jb" },
		"by: missing":                   func(p *Pause) { p.By = "" },
		"by: holds control":             func(p *Pause) { p.By = "\xff" },
		"at: missing":                   func(p *Pause) { p.At = time.Time{} },
		"at: year 10000":                func(p *Pause) { p.At = asked.AddDate(7974, 0, 0) },
		"until: year 1":                 func(p *Pause) { p.Until = time.Time{}.Add(1) },
		"until: not after the time":     func(p *Pause) { p.Until = p.At },
		"until: not after the time it ": func(p *Pause) { p.Until = p.At.Add(-time.Hour) },
	} {
		pause := pauseFor("r")
		change(&pause)
		if err := f.store.SetPause(t.Context(), staging, &pause); !fault.IsTerminal(err) || !strings.Contains(err.Error(), says) {
			t.Errorf("pause: %v; want %q", err, says)
		}
	}
	for says, retry := range map[string]Retry{
		"id: missing":    {By: "b", At: asked},
		"id: 1025 bytes": {ID: long, By: "b", At: asked},
		"by: missing":    {ID: "i", At: asked},
		"at: missing":    {ID: "i", By: "b"},
		"want sha256":    {ID: "i", By: "b", At: asked, Digest: "sha256:0"},
	} {
		if err := f.store.SetRetry(t.Context(), staging, retry); !fault.IsTerminal(err) || !strings.Contains(err.Error(), says) {
			t.Errorf("retry: %v; want %q", err, says)
		}
	}
	if after := f.raw(staging); after.GetResourceVersion() != before.GetResourceVersion() {
		t.Errorf("something was written: %v", after.GetAnnotations())
	}
}

func TestAskingOfWhatIsNotThere(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	pause := pauseFor("r")
	for name, err := range map[string]error{
		"pause":  f.store.SetPause(t.Context(), staging, &pause),
		"resume": f.store.SetPause(t.Context(), staging, nil),
		"retry":  f.store.SetRetry(t.Context(), staging, Retry{ID: "i", By: "b", At: asked}),
	} {
		if !errors.Is(err, ErrNotFound) || !strings.Contains(fmt.Sprint(err), "Environment/shop.staging: "+name) {
			t.Errorf("%s: %v, want ErrNotFound", name, err)
		}
	}
}

// A person who pauses while the daemon is about to write is heard: the daemon's
// write meets a conflict, and the next one keeps every annotation and label.
func TestPauseBetweenReadAndSaveSurvives(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(*Record){
		"status alone":    func(r *Record) { r.Message = "later" },
		"spec and status": func(r *Record) { r.Message, r.Environment.Path, r.Environment.After = "later", "other", nil },
		"nothing":         func(*Record) {},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := newFixture(t)
			f.save(f.store, full())
			f.adorn(staging)
			record := f.get(f.store, staging)
			pause := pauseFor("between")
			f.pause(staging, pause)
			before := f.raw(staging)

			change(&record)
			if _, err := f.store.Save(t.Context(), record); !errors.Is(err, ErrConflict) {
				t.Fatalf("saved over a pause that the writer had not seen: %v", err)
			}
			record = f.get(f.store, staging)
			change(&record)
			saved := f.save(f.store, record)
			if want := (Requests{Pause: &pause}); !reflect.DeepEqual(saved.Requests, want) {
				t.Errorf("saved with %+v, want %+v", saved.Requests, want)
			}
			after := f.raw(staging)
			for what, got := range map[string][2]map[string]string{
				"annotations": {after.GetAnnotations(), before.GetAnnotations()}, "labels": {after.GetLabels(), before.GetLabels()},
			} {
				if !reflect.DeepEqual(got[0], got[1]) {
					t.Errorf("%s are %q, were %q", what, got[0], got[1])
				}
			}
			if got := f.get(f.another(), staging); got.Message != record.Message || !reflect.DeepEqual(got.Environment, record.Environment) {
				t.Errorf("stored is %+v", got)
			}
		})
	}
}

// What a store remembers of an object may be older than the record that it is
// given; the object's metadata must not fall back to that.
func TestSaveDoesNotBringBackOldMetadata(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.save(f.store, full())
	f.adorn(staging)
	old := f.another()
	f.get(old, staging)
	f.pause(staging, pauseFor("since then"))
	f.patch(staging, `{"metadata": {"annotations": {"example.org/note": null}}}`)
	record := f.get(f.store, staging)
	before := f.raw(staging)
	record.Environment.Path = "other"
	f.save(old, record)
	after := f.raw(staging)
	if !reflect.DeepEqual(after.GetAnnotations(), before.GetAnnotations()) {
		t.Errorf("annotations are %q, were %q", after.GetAnnotations(), before.GetAnnotations())
	}
	if got := f.get(f.another(), staging); got.Environment.Path != "other" || got.Requests.Pause == nil {
		t.Errorf("stored is %+v", got)
	}
}

// People's requests and the daemon's writes, all at once: no writer's last word
// is lost.
func TestRequestsAndSavesAtOnce(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.save(f.store, full())
	const rounds = 15
	var running sync.WaitGroup
	running.Go(func() {
		for i := range rounds {
			pause := pauseFor(fmt.Sprint("pause ", i))
			if err := f.store.SetPause(f.Context(), staging, &pause); err != nil {
				f.Error(err)
			}
		}
	})
	running.Go(func() {
		for i := range rounds {
			retry := Retry{ID: fmt.Sprint("retry ", i), By: "joe", At: asked}
			if err := f.store.SetRetry(f.Context(), staging, retry); err != nil {
				f.Error(err)
			}
		}
	})
	running.Go(func() { f.saveRounds(rounds) })
	running.Wait()
	got := f.get(f.another(), staging)
	last := fmt.Sprint(rounds - 1)
	if got.Message != "write "+last || got.Environment.Path != "write "+last ||
		got.Requests.Pause == nil || got.Requests.Pause.Reason != "pause "+last ||
		got.Requests.Retry == nil || got.Requests.Retry.ID != "retry "+last {
		t.Errorf("in the end there are %q, %+v, %+v", got.Message, got.Requests.Pause, got.Requests.Retry)
	}
}

func (f *fixture) saveRounds(rounds int) {
	for i := 0; i < rounds; {
		record, err := f.store.Get(f.Context(), staging)
		if err == nil {
			record.Message, record.Environment.Path = fmt.Sprint("write ", i), fmt.Sprint("write ", i)
			_, err = f.store.Save(f.Context(), record)
		}
		switch {
		case err == nil:
			i++
		case !errors.Is(err, ErrConflict):
			f.Error(err)
			return
		}
	}
}

// as is a store that may do only what this role of the installation grants.
func (f *fixture) as(user, role string) *Store {
	f.Helper()
	file := filepath.Join("..", "..", "base", "chaperone", "rbac.yaml")
	content, err := os.ReadFile(file)
	if err != nil {
		f.Fatal(err)
	}
	objects, err := manifest.Decode(file, content)
	if err != nil {
		f.Fatal(err)
	}
	rbac := f.cluster.Client().RbacV1()
	for _, o := range objects {
		if o.GetKind() != "Role" || o.GetName() != role {
			continue
		}
		var granted rbacv1.Role
		if err := runtime.DefaultUnstructuredConverter.FromUnstructured(o.Object, &granted); err != nil {
			f.Fatal(err)
		}
		granted.Namespace = f.namespace
		binding := &rbacv1.RoleBinding{
			ObjectMeta: metav1.ObjectMeta{Name: role}, RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "Role", Name: role},
			Subjects: []rbacv1.Subject{{APIGroup: rbacv1.GroupName, Kind: "User", Name: user}},
		}
		_, errRole := rbac.Roles(f.namespace).Create(f.Context(), &granted, metav1.CreateOptions{})
		_, errBinding := rbac.RoleBindings(f.namespace).Create(f.Context(), binding, metav1.CreateOptions{})
		if err := errors.Join(errRole, errBinding); err != nil {
			f.Fatal(err)
		}
	}
	config := rest.CopyConfig(f.config)
	config.Impersonate = rest.ImpersonationConfig{UserName: user, Groups: []string{"system:authenticated"}}
	store, err := New(config, f.namespace, time.Now)
	if err != nil {
		f.Fatal(err)
	}
	f.eventually("the role is in force", func() bool { _, err := store.Load(f.Context()); return err == nil })
	return store
}

func (f *fixture) eventually(what string, holds func() bool) {
	f.Helper()
	for deadline := time.Now().Add(time.Minute); !holds(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			f.Fatalf("not within a minute: %s", what)
		}
	}
}

// The role for people is enough for what they may ask, and for nothing else.
func TestOperatorRole(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	record := f.save(f.store, full())
	jane := f.as("jane@example.org", "chaperone-operator")
	name, err := jane.WhoAmI(t.Context())
	if err != nil || name != "jane@example.org" {
		t.Errorf("the cluster calls her %q, %v", name, err)
	}
	pause := pauseFor("as an operator")
	for what, err := range map[string]error{
		"pause":  jane.SetPause(t.Context(), staging, &pause),
		"retry":  jane.SetRetry(t.Context(), staging, Retry{ID: "i", By: name, At: asked}),
		"resume": jane.SetPause(t.Context(), staging, nil),
	} {
		if err != nil {
			t.Errorf("%s: %v", what, err)
		}
	}
	if _, err := jane.Releases(t.Context(), staging); err != nil {
		t.Error(err)
	}
	record = f.get(jane, staging)
	record.Message = "hers"
	_, errSave := jane.Save(t.Context(), record)
	_, errSecret := jane.Kubeconfig(t.Context(), "any")
	errDelete := jane.environments().Delete(t.Context(), ObjectName(staging), metav1.DeleteOptions{})
	errRelease := jane.PutRelease(t.Context(), Release{Environment: staging, Release: releaseAt(first), Started: asked})
	for what, err := range map[string]error{"status": errSave, "Secret": errSecret, "deletion": errDelete, "release": errRelease} {
		if !apierrors.IsForbidden(err) {
			t.Errorf("%s: %v, want it forbidden", what, err)
		}
	}
}

// The daemon's own role is enough for all that this package does for it.
func TestDaemonRole(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	daemon := f.as("daemon", "chaperone")
	record := f.save(daemon, full())
	record.Environment.Path = "other"
	f.save(daemon, record)
	set, digest := setOf(t, "a")
	for what, err := range map[string]error{
		"bundle":  daemon.PutBundle(t.Context(), staging, digest, set),
		"trim":    daemon.KeepBundles(t.Context(), staging, digest),
		"release": daemon.PutRelease(t.Context(), Release{Environment: staging, Release: releaseAt(first), Started: asked}),
		"event":   daemon.Event(t.Context(), staging, false, promotion.UpToDate, "runs"),
	} {
		if err != nil {
			t.Errorf("%s: %v", what, err)
		}
	}
	w := f.watch(daemon)
	w.next(staging, Requests{})
	pause := pauseFor("seen")
	f.pause(staging, pause)
	w.next(staging, Requests{Pause: &pause})
}

// Somebody without a name, or a server that cannot tell, is an error that says
// what would help.
func TestWhoAmIOfNobody(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	config := rest.AnonymousClientConfig(f.config)
	config.QPS = -1
	store, err := New(config, f.namespace, time.Now)
	if err != nil {
		t.Fatal(err)
	}
	name, err := store.WhoAmI(t.Context())
	if err == nil || name != "" || !strings.HasPrefix(err.Error(), "SelfSubjectReview: ask who this is: ") {
		t.Errorf("nobody is %q, %v", name, err)
	}
}
