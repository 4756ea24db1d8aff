package cluster

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"chaperone.dev/chaperone/internal/fault"
	"chaperone.dev/chaperone/internal/inventory"
	"chaperone.dev/chaperone/internal/manifest"
	"chaperone.dev/chaperone/internal/plan"
	"chaperone.dev/chaperone/internal/promotion"
)

// loseInventory deletes the parent, as somebody with kubectl would.
func (f *fixture) loseInventory() {
	f.Helper()
	if err := f.c.configMapsIn(f.owner).Delete(f.Context(), f.owner.inventoryName(), deleteNow); err != nil {
		f.Fatal(err)
	}
	f.eventually("the watch tells of the loss", func() bool {
		s, known := f.c.mirrorOf(f.owner).stored()
		return !known || s.parent == nil
	})
}

func (f *fixture) agree() {
	f.Helper()
	f.edit("ConfigMap", f.owner.inventoryName(), func(o *unstructured.Unstructured) {
		annotations := o.GetAnnotations()
		annotations[AnnotationAgreed] = "allow"
		o.SetAnnotations(annotations)
	})
	f.eventually("the watch tells of the agreement", func() bool {
		s, known := f.c.mirrorOf(f.owner).stored()
		return !known || s.parent != nil && s.parent.GetAnnotations()[AnnotationAgreed] == "allow"
	})
}

func (f *fixture) drift(set manifest.Set) []plan.Change {
	f.Helper()
	changes, err := f.drifted(set)
	if err != nil {
		f.Fatalf("drift: %v", err)
	}
	return changes
}

func reasons(changes []plan.Change, action plan.Action) map[string]string {
	found := map[string]string{}
	for _, c := range changes {
		if c.Action == action {
			found[c.ID.Kind+"/"+c.ID.Name] = c.Reason
		}
	}
	return found
}

// Somebody deletes the inventory: it comes back from the marks, and what is not
// rendered stays until a person agrees.
func TestLostInventoryIsRebuiltAndPrunesNothingUnasked(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	keep := f.set(configMap("keep", "a", "b"), deployment("app", "registry.local/app:1", "replicas: 0"))
	f.release(f.set(configMap("keep", "a", "b"), deployment("app", "registry.local/app:1", "replicas: 0"), configMap("old", "a", "b"), service("old")))
	before := mustInventory(f)
	f.loseInventory()

	p := f.plan(keep)
	want := map[string]string{"ConfigMap/old": plan.ReasonInventoryRebuilt, "Service/old": plan.ReasonInventoryRebuilt}
	if !p.Quiet() || !maps.Equal(reasons(p.Changes, plan.Keep), want) {
		t.Errorf("plan: %v, want two kept", p.Changes)
	}
	if o := f.live("ConfigMap", f.owner.inventoryName()); o != nil {
		t.Error("a plan wrote the inventory")
	}
	f.drift(keep) // the daemon looks for drift, and writes down what it found
	after := mustInventory(f)
	for _, e := range before.Entries() {
		got, found := after.Get(e.ID)
		_, rendered := f.preparedSet(keep).Get(e.ID)
		if !found || got.UID != e.UID || got.Version != e.Version || got.Rebuilt == rendered {
			t.Errorf("%s: rebuilt as %+v, was %+v", e.ID, got, e)
		}
	}
	again := f.with(Options{}) // another daemon
	result := again.prune(keep)
	if len(result.Deleted) > 0 || len(result.Kept) != 2 || result.Kept[0].Reason != plan.ReasonInventoryRebuilt {
		t.Errorf("prune before a person agreed: %+v", result)
	}
	f.exists("ConfigMap", "old", true)
	f.agree()
	if p := f.plan(keep); len(p.Deletes()) != 2 {
		t.Errorf("plan once a person agreed: %v, want two deletions", p.Changes)
	}
	if result := f.prune(keep); len(result.Deleted) != 2 {
		t.Errorf("prune once a person agreed: %+v", result)
	}
	f.exists("ConfigMap", "old", false)
	f.exists("Service", "old", false)
	if o := f.live("ConfigMap", f.owner.inventoryName()); o.GetAnnotations()[AnnotationAgreed] != "" {
		t.Error("the agreement is still on the inventory: it counts once")
	}
}

// preparedSet is a set as it is sent.
func (f *fixture) preparedSet(set manifest.Set) manifest.Set {
	f.Helper()
	r, err := f.c.resolve(f.Context(), f.owner, set)
	if err != nil {
		f.Fatal(err)
	}
	return r.set
}

// What is rendered again needs nobody's word, then or later.
func TestRebuiltEntryIsOrdinaryOnceApplied(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	both := f.set(configMap("keep", "a", "b"), configMap("later", "a", "b"))
	f.release(both)
	f.loseInventory()
	f.release(f.set(configMap("keep", "a", "c"), configMap("later", "a", "b")))
	if result := f.prune(f.set(configMap("keep", "a", "c"))); len(result.Deleted) != 1 {
		t.Errorf("prune of what was applied after the loss: %+v", result)
	}
	// The agreement counts for what was there, not for the next loss.
	f.release(both)
	f.agree()
	f.drift(both)
	f.loseInventory()
	if result := f.prune(f.set(configMap("keep", "a", "b"))); len(result.Deleted) > 0 || len(result.Kept) != 1 {
		t.Errorf("prune after a second loss: %+v", result)
	}
}

// Marks can be copied: by controllers, and by people (kc#315).
func TestPitfall12_LostInventoryTakesInNoCopies(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	keep := f.set(configMap("keep", "a", "b"))
	f.release(f.set(configMap("keep", "a", "b"), configMap("old", "a", "b"), service("web")))
	old := f.live("ConfigMap", "old")
	annotations := map[string]string{plan.AnnotationEnvironment: f.owner.Environment.String()}
	mark := func(name string, change func(*unstructured.Unstructured)) {
		o := f.set(configMap(name, "a", "b")).Objects()[0].DeepCopy()
		o.SetLabels(old.GetLabels())
		o.SetAnnotations(annotations)
		change(o)
		_, err := f.c.configMapsIn(f.owner).Apply(t.Context(), name, o, metav1.ApplyOptions{FieldManager: "chaperone", Force: true})
		if err != nil {
			t.Fatal(err)
		}
	}
	mark("owned", func(o *unstructured.Unstructured) {
		o.SetOwnerReferences([]metav1.OwnerReference{{APIVersion: "v1", Kind: "ConfigMap", Name: "old", UID: old.GetUID()}})
	})
	mark("elsewhere", func(o *unstructured.Unstructured) {
		o.SetAnnotations(map[string]string{plan.AnnotationEnvironment: "shop/production"})
	})
	mark("bare", func(o *unstructured.Unstructured) { o.SetAnnotations(nil) })
	copied := f.set(configMap("copied", "a", "b")).Objects()[0].DeepCopy()
	copied.SetLabels(old.GetLabels())
	copied.SetAnnotations(annotations)
	if _, err := f.c.configMapsIn(f.owner).Create(t.Context(), copied, metav1.CreateOptions{FieldManager: "kubectl-create"}); err != nil {
		t.Fatal(err)
	}
	f.loseInventory()
	f.drift(keep)
	if got, want := f.owned(), []string{"ConfigMap/keep", "ConfigMap/old", "Service/web"}; !slices.Equal(got, want) {
		t.Errorf("rebuilt: %v, want %v (the Service's Endpoints and EndpointSlices carry its label too)", got, want)
	}
	f.agree()
	f.prune(keep)
	for name, want := range map[string]bool{"keep": true, "old": false, "owned": true, "elsewhere": true, "bare": true, "copied": true} {
		if name != "owned" { // its owner is gone, so the cluster itself collects it
			f.exists("ConfigMap", name, want)
		}
	}
}

// Cluster-scoped objects and other namespaces come back where the target allows
// them, and only there.
func TestLostInventoryIsRebuiltWhereTheTargetAllows(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	other := f.local.Namespace(t)
	role := "role-" + f.owner.Namespace
	f.owner.Allow = []promotion.Allowance{{Namespace: other}, {Group: "rbac.authorization.k8s.io", Kind: "ClusterRole", Name: role},
		{Group: "example.org", Kind: "Unknown", Name: "x"}}
	away := strings.Replace(configMap("away", "a", "b"), "name: away", "name: away, namespace: "+other, 1)
	clusterRole := fmt.Sprintf("apiVersion: rbac.authorization.k8s.io/v1\nkind: ClusterRole\nmetadata: {name: %s}\nrules: []", role)
	t.Cleanup(func() {
		_ = f.local.Client().RbacV1().ClusterRoles().Delete(context.Background(), role, metav1.DeleteOptions{}) // the cluster ends by itself
	})
	keep := f.set(configMap("keep", "a", "b"))
	f.release(f.set(configMap("keep", "a", "b"), away, clusterRole))
	f.loseInventory()
	narrow := f.with(Options{})
	narrow.owner.Allow = nil
	if got := narrow.owned(); !slices.Equal(got, []string{"ConfigMap/keep"}) {
		t.Errorf("rebuilt outside the target: %v", got)
	}
	f.drift(keep)
	got := f.owned()
	slices.Sort(got)
	if want := []string{"ClusterRole/" + role, "ConfigMap/away", "ConfigMap/keep"}; !slices.Equal(got, want) {
		t.Errorf("rebuilt: %v, want %v", got, want)
	}
	f.agree()
	if result := f.prune(keep); len(result.Deleted) != 2 {
		t.Errorf("prune: %+v, want both deleted", result)
	}
}

// A shard is lost: what the others hold is as it was, the rest is rebuilt.
func TestLostShardIsRebuilt(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	var texts []string
	for i := range 6 {
		texts = append(texts, configMap(fmt.Sprintf("c%d", i), "a", "b"))
	}
	f.release(f.set(texts...))
	s := f.stored()
	var far []inventory.Entry
	for i := range 3_000 { // names before those of the release, so that these fill the first shards
		id := manifest.ID{Kind: "ConfigMap", Namespace: f.owner.Namespace, Name: fmt.Sprintf("a%s-%05d", strings.Repeat("n", 220), i)}
		far = append(far, inventory.Entry{ID: id, Version: "v1", UID: "0b3a6f8e-1111-2222-3333-444455556666", Release: strings.Repeat("r", 20)})
	}
	saved, err := f.c.saveInventory(t.Context(), f.owner, s, s.Merge(far))
	if err != nil {
		t.Fatal(err)
	}
	// A daemon that has it in mind heals it with the next write; this one has not.
	f = f.with(Options{})
	names := shardNames(saved.parent)
	if len(names) < 2 {
		t.Fatalf("%d shards, want several", len(names))
	}
	if err := f.c.configMapsIn(f.owner).Delete(t.Context(), names[len(names)-1], deleteNow); err != nil {
		t.Fatal(err)
	}
	read := mustInventory(f)
	for i := range 6 {
		e, found := read.Get(manifest.ID{Kind: "ConfigMap", Namespace: f.owner.Namespace, Name: fmt.Sprintf("c%d", i)})
		if !found || !e.Rebuilt || e.UID == "" {
			t.Fatalf("c%d: %+v, %v; want it rebuilt", i, e, found)
		}
	}
	if first, found := read.Get(far[0].ID); !found || first != far[0] {
		t.Errorf("an entry of another shard is %+v, want it as it was", first)
	}
	// The agreement survives on a parent that only lost a shard.
	f.agree()
	if result := f.prune(f.set(texts[:3]...)); len(result.Deleted) != 3 || len(result.Forgotten) == 0 {
		t.Errorf("prune: %d deleted, want 3; %d forgotten", len(result.Deleted), len(result.Forgotten))
	}
	if again := f.stored(); again.changed || again.Len() != 3 {
		t.Errorf("afterwards %d entries, changed: %v", again.Len(), again.changed)
	}
}

// A shard that is missing because the inventory was just written is no loss.
func TestShardOfAnOlderInventoryIsNoLoss(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.release(f.set(configMap("keep", "a", "b")))
	s := f.stored()
	older := s.parent.DeepCopy()
	f.agree() // anything that writes it
	if err := f.c.stillMissing(t.Context(), f.owner, older); err == nil || fault.IsTerminal(err) {
		t.Errorf("the inventory was written meanwhile: %v, want a retryable error", err)
	}
	if err := f.c.stillMissing(t.Context(), f.owner, f.stored().parent); err != nil {
		t.Errorf("the inventory is as it was read: %v", err)
	}
}

func (f *fixture) stored() stored {
	f.Helper()
	s, err := f.c.loadInventory(f.Context(), f.owner)
	if err != nil {
		f.Fatal(err)
	}
	return s
}

// A new environment is looked for once, with one list per kind at most; one that
// has an inventory is not looked for at all.
func TestNewEnvironmentIsLookedForOnce(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	var mu sync.Mutex
	lists := map[string]int{}
	f = f.with(Options{OnRequest: func(verb, resource string, _ int) {
		mu.Lock()
		defer mu.Unlock()
		if verb == "list" {
			lists[resource]++
		}
	}})
	set := f.set(configMap("one", "a", "b"))
	f.plan(set)
	total := 0
	for _, n := range lists {
		total += n
	}
	t.Logf("%d lists for a new environment", total)
	served, err := f.c.kinds.listable(t.Context())
	if err != nil || total > len(served) || total == 0 {
		t.Errorf("%d lists for %d kinds (%v), want at most one each", total, len(served), err)
	}
	clear(lists)
	f.plan(set)
	f.release(set)
	f.plan(set)
	if len(lists) > 0 {
		t.Errorf("listed again: %v", lists)
	}
	f.loseInventory()
	f.plan(set)
	if len(lists) == 0 {
		t.Error("the inventory was lost, and nothing was looked for")
	}
}

// A kind that may not be listed does not stand in the way; an API server that
// does not answer does.
func TestRebuildSkipsWhatCannotBeListed(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.release(f.set(configMap("keep", "a", "b"), configMap("old", "a", "b"), "apiVersion: batch/v1\nkind: CronJob\nmetadata: {name: old}\n"+
		"spec: {schedule: '0 0 1 1 *', suspend: true, jobTemplate: {spec: {template: {spec: {restartPolicy: Never, containers: [{name: a, image: r/a:1}]}}}}}"))
	f.loseInventory()
	answers := func(path string, code int) *fixture {
		broken := f.connectThrough(func(request *http.Request) (*http.Response, error) {
			if request.Method == http.MethodGet && strings.HasSuffix(request.URL.Path, path) && request.URL.Query().Get("limit") != "" {
				return statusAnswer(request, code), nil
			}
			return nil, nil
		})
		broken.c.options.RetryFor = 3 * time.Second
		return broken
	}
	for path, code := range map[string]int{"/cronjobs": 500, "/jobs": 403, "/secrets": 403, "/leases": 405} {
		read, err := answers(path, code).c.Inventory(t.Context(), f.owner)
		want := 3
		if path == "/cronjobs" {
			want = 2
		}
		if err != nil || read.Len() != want {
			t.Errorf("%s answers %d: %d entries, %v; want %d", path, code, read.Len(), err, want)
		}
	}
	for path, code := range map[string]int{"/configmaps": 500, "/deployments": 503, "/secrets": 429} {
		if read, err := answers(path, code).c.Inventory(t.Context(), f.owner); err == nil || fault.IsTerminal(err) {
			t.Errorf("%s answers %d: %d entries, %v; want a retryable error", path, code, read.Len(), err)
		}
	}
}

// The parent is deleted in the very moment in which the next one is written.
func TestInventoryLostWhileItIsWrittenIsTriedAgain(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.release(f.set(configMap("keep", "a", "b")))
	s := f.stored()
	f.loseInventory()
	_, err := f.c.saveInventory(t.Context(), f.owner, s, s.Drop(s.Entries()[0].ID))
	if err == nil || fault.IsTerminal(err) {
		t.Errorf("write over an inventory that is gone: %v, want a retryable error", err)
	}
	var refusal *plan.Refusal
	if errors.As(err, &refusal) {
		t.Error(err)
	}
}
