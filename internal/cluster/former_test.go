package cluster

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"chaperone.dev/chaperone/internal/inventory"
	"chaperone.dev/chaperone/internal/manifest"
	"chaperone.dev/chaperone/internal/plan"
	"chaperone.dev/chaperone/internal/promotion"
)

// renamed is the environment under another name, which takes over what it owns.
func (f *fixture) renamed(pipeline, name string) *fixture {
	other := f.beside(pipeline, name)
	other.owner.Formerly = []promotion.ID{f.owner.Environment}
	return other
}

// identities are the UIDs of everything that the environment may own in its
// namespace, pods with the number of their restarts, so that one that was made
// again shows.
func (f *fixture) identities() map[string]types.UID {
	f.Helper()
	found := map[string]types.UID{}
	for kind, resource := range gvrs {
		list, err := f.c.dynamic.Resource(resource).Namespace(f.owner.Namespace).List(f.Context(), metav1.ListOptions{})
		if err != nil {
			f.Fatal(err)
		}
		for _, o := range list.Items {
			if !strings.HasPrefix(o.GetName(), "kube-root-ca") && !strings.HasPrefix(o.GetName(), plan.InventoryPrefix) {
				found[kind+"/"+o.GetName()] = o.GetUID()
			}
		}
	}
	for _, pod := range f.pods() {
		restarts := int32(0)
		for _, container := range pod.Status.ContainerStatuses {
			restarts += container.RestartCount
		}
		found[fmt.Sprintf("Pod/%s restarted %d times", pod.Name, restarts)] = pod.UID
	}
	return found
}

func (f *fixture) pods() []corev1.Pod {
	f.Helper()
	list, err := f.local.Client().CoreV1().Pods(f.owner.Namespace).List(f.Context(), metav1.ListOptions{})
	if err != nil {
		f.Fatal(err)
	}
	return list.Items
}

func (f *fixture) same(when string, before, now map[string]types.UID) {
	f.Helper()
	for name, uid := range before {
		if now[name] != uid {
			f.Errorf("%s: %s has UID %q, had %q", when, name, now[name], uid)
		}
	}
	for name := range now {
		if before[name] == "" {
			f.Errorf("%s: %s is new", when, name)
		}
	}
}

// inventoryOf reads an inventory around the code under test; nil where it is
// gone.
func (f *fixture) inventoryOf(id promotion.ID) *inventory.Inventory {
	f.Helper()
	w := Owner{Environment: id, Namespace: f.owner.Namespace}
	s, err := f.c.loadInventory(f.Context(), w)
	if err != nil {
		f.Fatal(err)
	}
	if s.parent == nil {
		return nil
	}
	return &s.Inventory
}

func volumeClaim(name string) string {
	return fmt.Sprintf("apiVersion: v1\nkind: PersistentVolumeClaim\nmetadata: {name: %s}\n"+
		"spec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: 1Mi}}, storageClassName: none}", name)
}

// An environment is renamed: it was deleted by one name while the other adopted
// it (kc#338, kc#339).
func TestPitfall09_RenameKeepsEveryObject(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	rest := []string{configMap("settings", "mode", "a"), service("api"), deployment("api", "registry.local/api:1", "replicas: 2"),
		"apiVersion: v1\nkind: Secret\nmetadata: {name: login}\nstringData: {password: x}"}
	f.release(f.set(append(rest, volumeClaim("data"), volumeClaim("scratch"))...))
	f.prune(f.set(append(rest, volumeClaim("data"))...)) // scratch is kept
	f.running(2)
	before := f.identities()

	set := f.set(append(rest, volumeClaim("data"))...)
	stranger := f.beside("store", "live")
	_, err := stranger.c.Plan(t.Context(), stranger.owner, set)
	refusedFor(t, err)
	n := f.renamed("store", "live")
	p := n.plan(set)
	if p.Count(plan.Update) != 5 || len(p.Applies()) != 5 || len(p.Deletes()) > 0 || p.Count(plan.Keep) != 1 {
		t.Errorf("plan: %v, want 5 updates and one kept", p.Changes)
	}
	for _, c := range p.Applies() {
		if c.Reason != plan.ReasonTakenOver || len(c.Fields) != 2 {
			t.Errorf("%v, want the marks changed", c)
		}
	}
	n.release(set)
	if result := n.prune(set); len(result.Deleted)+len(result.Forgotten)+len(result.Pending) > 0 || len(result.Kept) != 1 {
		t.Errorf("prune: %+v, want the claim kept and nothing else", result)
	}
	n.same("afterwards", before, n.identities())
	if gone := n.inventoryOf(f.owner.Environment); gone != nil {
		t.Errorf("the former inventory still lists %v", gone.Entries())
	}
	// From here on the former name need not be known any more.
	n.owner.Formerly = nil
	if owned := n.owned(); len(owned) != 6 {
		t.Errorf("%v are owned, want all 6", owned)
	}
	if p := n.plan(set); !p.Quiet() || p.Count(plan.Unchanged) != 5 || p.Count(plan.Keep) != 1 {
		t.Errorf("plan without the former name: %v", p.Changes)
	}
	for _, kind := range []string{"PersistentVolumeClaim/data", "PersistentVolumeClaim/scratch", "Deployment/api", "Secret/login"} {
		name, _ := strings.CutPrefix(kind[strings.Index(kind, "/"):], "/")
		if o := n.live(kind[:strings.Index(kind, "/")], name); !n.owner.plan().Marked(o) || o.GetLabels()[plan.LabelPartOf] != n.owner.setID() {
			t.Errorf("%s has marks %v %v", kind, o.GetAnnotations(), o.GetLabels())
		}
	}
	n.prune(f.set(rest...)) // and the former name's claim is kept still
	n.exists("PersistentVolumeClaim", "data", true)
}

// running waits until the pods run, as those of an environment in use do.
func (f *fixture) running(want int) {
	f.Helper()
	deadline := time.Now().Add(time.Minute)
	for {
		running := 0
		for _, pod := range f.pods() {
			if pod.Status.Phase == corev1.PodRunning {
				running++
			}
		}
		if running == want {
			return
		}
		if time.Now().After(deadline) {
			f.Fatalf("%d of %d pods run after a minute", running, want)
		}
		time.Sleep(100 * time.Millisecond)
	}
}

// What the release under the new name does not hold is pruned as ever, under
// the usual guard.
func TestPitfall09_GuardCountsWhatIsTakenOver(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	texts := many(f, 12)
	f.release(f.set(texts...))
	n := f.renamed("store", "live")
	few := f.set(texts[:2]...)
	p, err := n.c.Plan(t.Context(), n.owner, few)
	var refusal *plan.Refusal
	if !errors.As(err, &refusal) || refusal.Reason != promotion.MassDeletion || len(refusal.Objects) != 10 {
		t.Fatalf("plan: %v, want 10 deletions refused", err)
	}
	if _, err := n.c.Apply(t.Context(), n.owner, p, nil); err == nil {
		t.Error("a refused plan was applied")
	}
	if _, err := n.c.Prune(t.Context(), n.owner, few); !errors.As(err, &refusal) || refusal.Reason != promotion.MassDeletion {
		t.Errorf("prune: %v, want MassDeletion", err)
	}
	if _, err := n.c.Prune(t.Context(), n.owner, f.set()); !errors.As(err, &refusal) || refusal.Reason != promotion.EmptyRender {
		t.Errorf("prune of an empty render: %v, want EmptyRender", err)
	}
	if left := n.inventoryOf(f.owner.Environment); left == nil || left.Len() != 12 {
		t.Errorf("the former inventory is %v, want it whole", left)
	}
	n.release(f.set(texts[:8]...))
	if carried := n.inventoryOf(n.owner.Environment); carried.Len() != 12 {
		t.Errorf("%d objects were written down before the apply, want all 12", carried.Len())
	}
	if result := n.prune(f.set(texts[:8]...)); len(result.Deleted) != 4 {
		t.Errorf("prune: %+v, want 4 deleted", result)
	}
	if n.inventoryOf(f.owner.Environment) != nil || len(n.owned()) != 8 {
		t.Errorf("%v are owned", n.owned())
	}
}

// A prune that is not done leaves the former inventory where it is.
func TestPitfall09_FormerInventoryStaysUntilThePruneIsDone(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	stuck := strings.Replace(configMap("stuck", "a", "b"), "name: stuck", "name: stuck, finalizers: [example.org/wait]", 1)
	f.release(f.set(configMap("keep", "a", "b"), stuck))
	n := f.with(Options{PruneWait: 1}).renamed("store", "live")
	keep := f.set(configMap("keep", "a", "b"))
	n.release(keep)
	if result := n.prune(keep); len(result.Pending) != 1 {
		t.Fatalf("prune: %+v, want stuck pending", result)
	}
	if n.inventoryOf(f.owner.Environment) == nil {
		t.Error("the former inventory is gone before the prune is done")
	}
	f.edit("ConfigMap", "stuck", func(o *manifest.Object) { o.SetFinalizers(nil) })
	n.renamedPrune(keep)
	if n.inventoryOf(f.owner.Environment) != nil {
		t.Error("the former inventory is still there")
	}
}

// renamedPrune prunes until nothing is pending.
func (f *fixture) renamedPrune(keep manifest.Set) {
	f.Helper()
	for range 50 {
		if result := f.prune(keep); len(result.Pending) == 0 {
			return
		}
		time.Sleep(50 * time.Millisecond)
	}
	f.Fatal("deletions are pending for ever")
}

// The two names share the name of their inventory: it is taken over in place.
func TestPitfall09_RenameToANameWithTheSameInventory(t *testing.T) {
	t.Parallel()
	f := newFixture(t).beside("shop-eu", "live")
	f.release(f.set(configMap("a", "v", "1"), configMap("drop", "v", "1")))
	before := f.identities()
	set := f.set(configMap("a", "v", "1"))
	stranger := f.beside("shop", "eu-live")
	if _, err := stranger.c.Plan(t.Context(), stranger.owner, set); err == nil || !strings.Contains(err.Error(), "shop-eu/live") {
		t.Errorf("plan of a stranger: %v, want a refusal that names the owner", err)
	}
	n := f.renamed("shop", "eu-live")
	n.prune(set) // the daemon may have been stopped right before it
	n.release(set)
	n.prune(set)
	delete(before, "ConfigMap/drop")
	n.same("afterwards", before, n.identities())
	alone := *n
	alone.owner.Formerly = nil
	if owned := alone.owned(); !slices.Equal(owned, []string{"ConfigMap/a"}) {
		t.Errorf("%v are owned", owned)
	}
	if p := alone.plan(set); !p.Quiet() {
		t.Errorf("there is still to do %v", p.Changes)
	}
}

// A former inventory of many shards goes whole, also what a crash left of it.
func TestPitfall09_ShardsOfTheFormerInventoryGo(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	set := f.set(configMap("keep", "a", "b"))
	f.release(set)
	s, err := f.c.loadInventory(t.Context(), f.owner)
	if err != nil {
		t.Fatal(err)
	}
	var entries []inventory.Entry
	for i := range 6_000 {
		id := manifest.ID{Kind: "ConfigMap", Namespace: f.owner.Namespace, Name: fmt.Sprintf("%s-%05d", strings.Repeat("n", 100), i)}
		entries = append(entries, inventory.Entry{ID: id, Version: "v1", UID: "0b3a6f8e-1111-2222-3333-444455556666", Kept: true})
	}
	if s, err = f.c.saveInventory(t.Context(), f.owner, s, s.Merge(entries)); err != nil {
		t.Fatal(err)
	}
	n := f.renamed("store", "live")
	shards := func(w Owner) int {
		list, err := f.local.Client().CoreV1().ConfigMaps(w.Namespace).List(t.Context(), metav1.ListOptions{LabelSelector: labelShardOf + "=" + w.setID()})
		if err != nil {
			t.Fatal(err)
		}
		return len(list.Items)
	}
	if shards(f.owner) < 2 {
		t.Fatal("the inventory fits into one object")
	}
	h, err := n.c.loadHoldings(t.Context(), n.owner)
	if err != nil || h.Len() != 6_001 {
		t.Fatalf("%d objects are taken over, %v", h.Len(), err)
	}
	// As after a crash between the parent and its shards.
	if err := n.c.deleteInventory(t.Context(), former{Owner: f.owner, stored: s}); err != nil {
		t.Fatal(err)
	}
	if err := n.c.endFormers(t.Context(), n.owner, holdings{}); err != nil || shards(f.owner) > 0 {
		t.Errorf("%d shards are left, %v", shards(f.owner), err)
	}
	// One that was written to meanwhile is not deleted.
	f.release(set)
	if s, err = f.c.loadInventory(t.Context(), f.owner); err != nil {
		t.Fatal(err)
	}
	if _, err := f.c.saveInventory(t.Context(), f.owner, s, s.Merge(entries[:1])); err != nil {
		t.Fatal(err)
	}
	if err := n.c.deleteInventory(t.Context(), former{Owner: f.owner, stored: s}); err == nil || apierrors.IsNotFound(err) {
		t.Errorf("an inventory that was written to was deleted: %v", err)
	}
	if n.inventoryOf(f.owner.Environment) == nil {
		t.Error("the inventory is gone")
	}
}

// Two environments say that they were the same one. Each object goes to one of
// them, and is never pruned by the other.
func TestPitfall09_TwoTakeOverTheSame(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	for round := range 10 {
		name := fmt.Sprintf("part-%d", round)
		f := f.beside("shop-"+fmt.Sprint(round), "old")
		f.release(f.set(configMap(name, "from", "old")))
		first, second := f.renamed("shop-"+fmt.Sprint(round), "testing"), f.renamed("clinic-"+fmt.Sprint(round), "live")
		uid := f.live("ConfigMap", name).GetUID()
		plans := [2]plan.Plan{first.plan(f.set(configMap(name, "from", "testing"))), second.plan(f.set(configMap(name, "from", "live")))}
		oneWinner(first, second, name, atOnce(first, second, plans))
		for _, one := range []*fixture{first, second} {
			if !one.owner.plan().Marked(f.live("ConfigMap", name)) {
				one.prune(f.set(configMap(name+"-other", "a", "b")))
			}
		}
		if o := f.live("ConfigMap", name); o == nil || o.GetUID() != uid {
			t.Fatalf("%s is not what it was", name)
		}
	}
}
