package state

import (
	"errors"
	"fmt"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/fluxcd/cli-utils/pkg/kstatus/status"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"chaperone.dev/chaperone/internal/fault"
	"chaperone.dev/chaperone/internal/promotion"
	"chaperone.dev/chaperone/internal/reconcile"
	"chaperone.dev/chaperone/internal/source"
)

func TestRecordComesBackAsItWasSaved(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	want := full()
	saved := f.save(f.store, want)
	if saved.Version == "" {
		t.Fatal("saved without a version")
	}
	got := f.get(f.another(), staging)
	want.Version = saved.Version
	if !reflect.DeepEqual(normal(got), normal(want)) {
		t.Errorf("came back as\n%+v\nwas\n%+v", normal(got), normal(want))
	}
	all, err := f.another().Load(t.Context())
	if err != nil || len(all) != 1 || !reflect.DeepEqual(normal(all[0]), normal(want)) {
		t.Errorf("loaded %+v, %v", all, err)
	}

	want.Environment.Drift, want.Journal.Attempt, want.Message = promotion.DriftCorrect, reconcile.Attempt{}, "other"
	want.Version = f.save(f.store, want).Version
	if got := f.get(f.another(), staging); !reflect.DeepEqual(normal(got), normal(want)) {
		t.Errorf("after a second save came back as\n%+v\nwas\n%+v", normal(got), normal(want))
	}
}

// normal has all times in one zone.
func normal(r Record) Record {
	r.Since = r.Since.UTC()
	r.Journal.Attempt.Started = r.Journal.Attempt.Started.UTC()
	r.Journal.Retry.At = r.Journal.Retry.At.UTC()
	for i := range r.Journal.Verified {
		r.Journal.Verified[i].At = r.Journal.Verified[i].At.UTC()
	}
	return r
}

// An environment whose file was never valid has a status all the same, and does
// not keep the daemon from reading the others.
func TestEnvironmentThatWasNeverValid(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	want := Record{ID: staging, Message: "line 3: unknown field",
		Status: reconcile.Status{Environment: staging, Phase: reconcile.PhaseInvalid, Reason: promotion.InvalidEnvironment}}
	want.Version = f.save(f.store, want).Version
	all, err := f.another().Load(t.Context())
	if err != nil || len(all) != 1 || !reflect.DeepEqual(normal(all[0]), normal(want)) {
		t.Errorf("loaded %+v, %v; want %+v", all, err, want)
	}
}

func TestAbsentRecordIsNotFound(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	if _, err := f.store.Get(t.Context(), staging); !errors.Is(err, ErrNotFound) {
		t.Errorf("got %v, want ErrNotFound", err)
	}
}

// The fence: of several writers that read the same version one wins, and of
// the others nothing is stored.
func TestOneOfSeveralWritersWins(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name   string
		exists bool
	}{{"on a new record", false}, {"on an old record", true}} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			f := newFixture(t)
			if test.exists {
				f.save(f.store, full())
			}
			winners := f.compete(8)
			if len(winners) != 1 {
				t.Fatalf("%d writers won, want one", len(winners))
			}
			got := f.get(f.another(), staging)
			want := fmt.Sprint("writer ", winners[0])
			if got.Message != want || got.Environment.Path != want || string(got.Journal.Running.Digest) != want {
				t.Errorf("stored are message %q, path %q, digest %q; want %q throughout",
					got.Message, got.Environment.Path, got.Journal.Running.Digest, want)
			}
		})
	}
}

// compete lets writers write at once what they made of one version.
func (f *fixture) compete(writers int) (winners []int) {
	f.Helper()
	var mu sync.Mutex
	var running sync.WaitGroup
	begin := make(chan struct{})
	for i := range writers {
		store := f.another()
		record, err := store.Get(f.Context(), staging)
		if err != nil && !errors.Is(err, ErrNotFound) {
			f.Fatal(err)
		}
		text := fmt.Sprint("writer ", i)
		record.Environment.ID = staging
		record.Message, record.Environment.Path, record.Journal.Running.Digest = text, text, reconcile.Digest(text)
		running.Go(func() {
			<-begin
			_, err := store.Save(f.Context(), record)
			switch {
			case err == nil:
				mu.Lock()
				defer mu.Unlock()
				winners = append(winners, i)
			case !errors.Is(err, ErrConflict):
				f.Errorf("writer %d: %v, want ErrConflict", i, err)
			}
		})
	}
	close(begin)
	running.Wait()
	return winners
}

func TestStaleWriterChangesNothing(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.save(f.store, full())
	late := f.another()
	stale := f.get(late, staging)
	current := f.get(f.store, staging)
	current.Message = "newer"
	f.save(f.store, current)
	before := f.raw(staging)

	for name, change := range map[string]func(*Record){
		"status alone":    func(r *Record) { r.Message = "late" },
		"spec and status": func(r *Record) { r.Message, r.Environment.Path = "late", "late" },
		"journal":         func(r *Record) { r.Journal = reconcile.Journal{} },
	} {
		write := stale
		change(&write)
		if _, err := late.Save(t.Context(), write); !errors.Is(err, ErrConflict) {
			t.Errorf("%s: got %v, want ErrConflict", name, err)
		}
	}
	if after := f.raw(staging); after.GetResourceVersion() != before.GetResourceVersion() {
		t.Errorf("the record was changed: %v", after.Object)
	}
}

// A record that somebody deletes is met as a conflict, and can be written anew.
func TestRecordDeletedUnderneath(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	record := f.save(f.store, full())
	if err := f.store.environments().Delete(t.Context(), ObjectName(staging), metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	record.Message = "later"
	if _, err := f.store.Save(t.Context(), record); !errors.Is(err, ErrConflict) {
		t.Fatalf("got %v, want ErrConflict", err)
	}
	record.Version = ""
	record.Version = f.save(f.store, record).Version
	if got := f.get(f.another(), staging); !reflect.DeepEqual(normal(got), normal(record)) {
		t.Errorf("written anew came back as %+v", got)
	}
}

func TestReleasesAreTrimmed(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.save(f.store, full())
	other := Release{Environment: promotion.ID{Pipeline: "shop", Name: "testing"}, Release: releaseAt(first), Started: time.Now()}
	if err := f.store.PutRelease(t.Context(), other); err != nil {
		t.Fatal(err)
	}
	began := time.Date(2026, 3, 1, 12, 0, 0, 1000, time.UTC)
	const extra = 3
	for i := range maxReleases + extra {
		r := Release{
			Environment: staging, Release: releaseAt(first), Phase: ReleaseVerifying, Reason: promotion.Verifying,
			Author: source.Person{Name: "Dev One", Email: "dev@example.org"}, Subject: fmt.Sprint("change ", i),
			Started: began.Add(time.Duration(i) * time.Millisecond),
		}
		if err := f.store.PutRelease(t.Context(), r); err != nil {
			t.Fatal(err)
		}
		r.Phase, r.Reason, r.Evidence, r.Guilty, r.Revert = ReleaseReverted, promotion.VerificationFailed, "measured", first, second
		r.Ended = r.Started.Add(time.Minute).Truncate(time.Second)
		if err := f.store.PutRelease(t.Context(), r); err != nil {
			t.Fatal(err)
		}
	}
	kept, err := f.store.Releases(t.Context(), staging)
	if err != nil || len(kept) != maxReleases {
		t.Fatalf("%d releases kept, %v; want %d", len(kept), err, maxReleases)
	}
	for i, r := range kept {
		if want := fmt.Sprint("change ", maxReleases+extra-1-i); r.Subject != want {
			t.Errorf("release %d is %q, want %q", i, r.Subject, want)
		}
	}
	newest := kept[0]
	if newest.Phase != ReleaseReverted || newest.Guilty != first || newest.Revert != second || newest.Evidence != "measured" ||
		newest.Author.Email != "dev@example.org" || newest.Ended.IsZero() {
		t.Errorf("came back as %+v", newest)
	}
	if others, err := f.store.Releases(t.Context(), other.Environment); err != nil || len(others) != 1 {
		t.Errorf("another environment's: %v, %v", others, err)
	}
}

// Releases go with their environment.
func TestReleaseBelongsToItsEnvironment(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.save(f.store, full())
	r := Release{Environment: staging, Release: releaseAt(first), Started: time.Now()}
	if err := f.store.PutRelease(t.Context(), r); err != nil {
		t.Fatal(err)
	}
	o, err := f.store.releases().Get(t.Context(), releaseObject(r).Name, metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if owners := o.GetOwnerReferences(); len(owners) != 1 || owners[0].UID != f.raw(staging).GetUID() {
		t.Errorf("owned by %v", owners)
	}
}

func TestEventIsOnTheEnvironment(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.save(f.store, full())
	long := "x" + strings.Repeat("é", 4000) // the API refuses more than 1,024 bytes
	if err := f.store.Event(t.Context(), staging, true, promotion.PolicyDenied, long); err != nil {
		t.Fatal(err)
	}
	if err := f.store.Event(t.Context(), staging, false, promotion.UpToDate, "runs"); err != nil {
		t.Fatal(err)
	}
	events, err := f.cluster.Client().CoreV1().Events(f.namespace).List(t.Context(), metav1.ListOptions{
		FieldSelector: "involvedObject.name=" + ObjectName(staging)})
	if err != nil || len(events.Items) != 2 {
		t.Fatalf("%d events, %v; want 2", len(events.Items), err)
	}
	for _, e := range events.Items {
		if e.InvolvedObject.Kind != "Environment" || e.InvolvedObject.UID != f.raw(staging).GetUID() {
			t.Errorf("about %+v", e.InvolvedObject)
		}
		if warning := e.Type == corev1.EventTypeWarning; warning != (e.Reason == string(promotion.PolicyDenied)) {
			t.Errorf("%s is of type %s", e.Reason, e.Type)
		}
		if !strings.HasPrefix(long, e.Message) && e.Message != "runs" {
			t.Errorf("message %q", e.Message)
		}
	}
}

// kubectl wait and every tool that knows kstatus can wait for an environment.
func TestConditionsAreReadByKstatus(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		phase reconcile.Phase
		want  status.Status
		ready string
	}{
		{reconcile.PhaseReady, status.CurrentStatus, "True"},
		{reconcile.PhaseProgressing, status.InProgressStatus, "False"},
		{reconcile.PhaseWaiting, status.InProgressStatus, "False"},
		{reconcile.PhaseHeld, status.FailedStatus, "False"},
		{reconcile.PhaseInvalid, status.FailedStatus, "False"},
	} {
		t.Run(string(test.phase), func(t *testing.T) {
			t.Parallel()
			f := newFixture(t)
			record := full()
			record.Status.Phase, record.Status.Reason = test.phase, promotion.Evaluating
			record = f.save(f.store, record)
			o := f.raw(staging)
			result, err := status.Compute(o)
			if err != nil || result.Status != test.want {
				t.Errorf("kstatus says %v, %v; want %s", result, err, test.want)
			}
			ready := condition(t, o, "Ready")
			if ready["status"] != test.ready || ready["reason"] != "Evaluating" || ready["message"] != record.Message {
				t.Errorf("condition Ready is %v, want %s", ready, test.ready)
			}
			time.Sleep(1100 * time.Millisecond) // times of conditions are in seconds
			record.Status.Reason = promotion.Applying
			f.save(f.store, record)
			again := condition(t, f.raw(staging), "Ready")
			if again["lastTransitionTime"] != ready["lastTransitionTime"] || again["reason"] != "Applying" {
				t.Errorf("condition went from %v to %v; want the same time and the new reason", ready, again)
			}
		})
	}
}

func condition(t *testing.T, o *unstructured.Unstructured, kind string) map[string]any {
	t.Helper()
	conditions, _, err := unstructured.NestedSlice(o.Object, "status", "conditions")
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range conditions {
		if condition, _ := c.(map[string]any); condition["type"] == kind {
			return condition
		}
	}
	t.Fatalf("no condition %s in %v", kind, conditions)
	return nil
}

// Evidence may quote whole pages; the object has to stay writable.
func TestLongTextsAreCut(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	record := full()
	record.Message, record.Evidence = strings.Repeat("é", 2<<20), strings.Repeat("x", 3<<20)
	f.save(f.store, record)
	got := f.get(f.another(), staging)
	if len(got.Message) > maxText+4 || len(got.Evidence) > maxText+4 || got.Message == "" || got.Evidence == "" {
		t.Errorf("stored %d and %d bytes", len(got.Message), len(got.Evidence))
	}
}

func TestKubeconfigIsReadFromItsSecret(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	for name, data := range map[string]map[string]string{
		"ours": {"kubeconfig": "text"}, "capi": {"value": "text"}, "wrong": {"config": "canary-7d1f"},
	} {
		secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: name}, StringData: data}
		if _, err := f.cluster.Client().CoreV1().Secrets(f.namespace).Create(t.Context(), secret, metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"ours", "capi"} {
		if content, err := f.store.Kubeconfig(t.Context(), name); err != nil || string(content) != "text" {
			t.Errorf("%s: %q, %v", name, content, err)
		}
	}
	_, err := f.store.Kubeconfig(t.Context(), "wrong")
	if !fault.IsTerminal(err) || strings.Contains(fmt.Sprint(err), "canary") {
		t.Errorf("a Secret without the key: %v", err)
	}
	if _, err := f.store.Kubeconfig(t.Context(), "absent"); !errors.Is(err, ErrNotFound) || !strings.Contains(err.Error(), "Secret/"+f.namespace+"/absent") {
		t.Errorf("an absent Secret: %v", err)
	}
}
