package cluster

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"chaperone.dev/chaperone/internal/inventory"
	"chaperone.dev/chaperone/internal/manifest"
	"chaperone.dev/chaperone/internal/plan"
	"chaperone.dev/chaperone/internal/promotion"
)

// entries are those of n ConfigMaps, with names of the given length.
func (f *fixture) entries(n, length int) []inventory.Entry {
	entries := make([]inventory.Entry, n)
	for i := range entries {
		id := manifest.ID{Kind: "ConfigMap", Namespace: f.owner.Namespace, Name: fmt.Sprintf("%0*d", length, i)}
		entries[i] = inventory.Entry{ID: id, Version: "v1", UID: "0b3a6f8e-1111-2222-3333-444455556666",
			Sent: strings.Repeat("s", 12), Owned: strings.Repeat("o", 12), Release: strings.Repeat("r", 12)}
	}
	return entries
}

// shards are those on the cluster, by name.
func (f *fixture) shards() []string {
	f.Helper()
	list, err := f.local.Client().CoreV1().ConfigMaps(f.owner.Namespace).List(f.Context(), metav1.ListOptions{LabelSelector: labelShardOf})
	if err != nil {
		f.Fatal(err)
	}
	var names []string
	for _, o := range list.Items {
		names = append(names, o.Name)
	}
	return names
}

// write writes an inventory over what is there, and reads it back as another
// daemon would.
func (f *fixture) write(next inventory.Inventory) stored {
	f.Helper()
	if _, err := f.c.saveInventory(f.Context(), f.owner, f.stored(), next); err != nil {
		f.Fatal(err)
	}
	s := f.with(Options{}).stored()
	if !s.Equal(next) {
		f.Fatalf("read back %d entries, want the %d that were written", s.Len(), next.Len())
	}
	return s
}

// An inventory in one object hit the size limit at about 5,000 entries
// (config-sync#1531, fleet#3482). This one grows over the limit, shard by shard,
// and shrinks under it again; what no parent lists does not stay.
func TestPitfall13_InventoryGrowsOverTheLimitAndShrinksUnderIt(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.release(f.set(configMap("keep", "a", "b")))
	small := f.stored().Inventory
	all := f.entries(10_000, 60)
	sizes := map[int]int{}
	for _, n := range []int{100, 3_000, 10_000, 9_999, 4_000, 10} {
		s := f.write(small.Merge(all[:n]))
		listed, there := shardNames(s.parent), f.shards()
		slices.Sort(listed)
		slices.Sort(there)
		if !slices.Equal(listed, there) {
			t.Errorf("%d entries: shards %v are there, and %v are listed", n, there, listed)
		}
		sizes[n] = len(listed)
	}
	if sizes[100] != 0 || sizes[10] != 0 || sizes[10_000] < 2 || sizes[4_000] >= sizes[10_000] {
		t.Errorf("shards by entries: %v, want none for few and some for many", sizes)
	}
	f.write(small)
	if p := f.with(Options{}).plan(f.set(configMap("keep", "a", "b"))); !p.Quiet() {
		t.Errorf("plan afterwards: %v", p.Changes)
	}
}

// The daemon dies after the shards and before the parent: the old inventory is
// in force, whole, and the shards of the attempt go with the next write.
func TestPitfall13_CrashBetweenShardAndParent(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.release(f.set(configMap("keep", "a", "b")))
	for _, c := range []struct {
		name         string
		before, next int
	}{{"growing", 0, 8_000}, {"from shards to others", 8_000, 7_000}, {"shrinking", 8_000, 5}} {
		all := f.entries(8_000, 60)
		one := f.stored().Inventory.Entries()
		old := f.write(inventory.New(append(all[:c.before:c.before], one...)...))
		dying := f.connectThrough(func(request *http.Request) (*http.Response, error) {
			if request.Method == http.MethodPut && strings.HasSuffix(request.URL.Path, "/"+f.owner.inventoryName()) {
				return nil, errors.New("the daemon is dead")
			}
			return nil, nil
		})
		dying.c.options.RetryFor = 3 * time.Second
		next := inventory.New(append(all[:c.next:c.next], one...)...)
		if _, err := dying.c.saveInventory(t.Context(), f.owner, old, next); err == nil {
			t.Fatalf("%s: the write succeeded", c.name)
		}
		if there, listed := len(f.shards()), len(shardNames(old.parent)); c.next > 5 && there <= listed {
			t.Errorf("%s: %d shards are there, %d are listed: it died before the shards were written", c.name, there, listed)
		}
		if s := f.with(Options{}).stored(); !s.Equal(old.Inventory) || s.changed {
			t.Errorf("%s: after the crash %d entries are read, want the %d of before", c.name, s.Len(), old.Len())
		}
		after := f.write(next)
		if got := f.shards(); len(got) != len(shardNames(after.parent)) {
			t.Errorf("%s: shards %v are left, %v are listed", c.name, got, shardNames(after.parent))
		}
		f.write(inventory.New(one...))
	}
}

// Names at their limits: 253 characters, labels and namespaces of 63, an
// environment whose names are as long as they may be, and a ConfigMap of nearly a
// mebibyte (pitfall 24).
func TestPitfall24_NamesAndSizesAtTheirLimits(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	// As long as promotion lets the two be together.
	f.owner.Environment = promotion.ID{Pipeline: strings.Repeat("p", 30), Name: strings.Repeat("e", 32)}
	space := f.makeNamespace(strings.Repeat("n", 63-len(f.owner.Namespace)-1) + "-" + f.owner.Namespace)
	f.owner.Allow = []promotion.Allowance{{Namespace: space}}
	f = f.with(Options{})

	name := strings.Repeat("a", 63) + "." + strings.Repeat("b", 63) + "." + strings.Repeat("c", 63) + "." + strings.Repeat("d", 61)
	label := strings.Repeat("l", 63)
	big := fmt.Sprintf("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: big}\ndata: {text: %q}\n", strings.Repeat("x", 1<<20-512))
	labelled := fmt.Sprintf("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: %q, namespace: %s, labels: {%s/%s: %s}, annotations: {note: %s}}\ndata: {a: b}\n",
		name, space, strings.TrimSuffix(name[:253], "d")+"d", label, label, strings.Repeat("n", 200_000))
	texts := []string{big, labelled, configMap(name, "a", "b"), service(strings.Repeat("s", 63)), deployment(strings.Repeat("w", 63), "r/api:1", "replicas: 0")}
	set := f.set(texts...)
	f.release(set)
	if p := f.plan(set); !p.Quiet() || p.Count(plan.Unchanged) != len(texts) {
		t.Errorf("plan afterwards: %s", p.Summary())
	}
	s := f.stored()
	if got := len(s.parent.GetName()); got != len("chaperone-inventory-")+63 {
		t.Errorf("the inventory's name has %d characters", got)
	}
	// With shards, whose names are longer still.
	f.write(s.Merge(f.entries(6_000, 200)))
	for _, shard := range f.shards() {
		if len(shard) > 253 {
			t.Errorf("shard %s has a name of %d characters", shard, len(shard))
		}
	}
	f.write(s.Inventory)
	// A change of the big one, and its end.
	changed := f.set(append([]string{strings.Replace(big, "xx", "yy", 1)}, texts[1:]...)...)
	f.release(changed)
	if result := f.prune(f.set(texts[2:]...)); len(result.Deleted) != 2 {
		t.Errorf("prune: %+v, want the big one and the labelled one deleted", result)
	}
}

// makeNamespace makes a namespace of a name, until the test is over.
func (f *fixture) makeNamespace(name string) string {
	f.Helper()
	client := f.local.Client().CoreV1().Namespaces()
	o := f.set("apiVersion: v1\nkind: Namespace\nmetadata: {name: " + name + "}").Objects()[0]
	if _, err := f.c.dynamic.Resource(schema.GroupVersionResource{Version: "v1", Resource: "namespaces"}).Create(f.Context(), o, metav1.CreateOptions{}); err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() {
		_ = client.Delete(context.WithoutCancel(f.Context()), name, metav1.DeleteOptions{}) // the cluster ends by itself
	})
	return name
}

// An inventory of 10,000 objects is pruned: those that are gone leave it, without
// a request for each, what is there is deleted, and what lost its label is found
// (pitfall 24).
func TestPitfall24_TenThousandObjectsInAnInventory(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	keep := f.set(configMap("keep", "a", "b"))
	f.release(f.set(configMap("keep", "a", "b"), configMap("drop", "a", "b"), configMap("drop-2", "a", "b")))
	f.edit("ConfigMap", "drop-2", func(o *unstructured.Unstructured) { o.SetLabels(nil) })
	s := f.stored()
	f.write(s.Merge(f.entries(10_000, 60)))
	requests := &tally{}
	g := f.with(Options{OnRequest: requests.count})
	result := g.prune(keep)
	if len(result.Forgotten) != 10_000 || len(result.Deleted) != 2 {
		t.Errorf("prune: %d forgotten, %d deleted", len(result.Forgotten), len(result.Deleted))
	}
	total := 0
	for _, n := range requests.requests() {
		total += n
	}
	if total > 150 {
		t.Errorf("%d requests to find 10,000 objects gone", total)
	}
	if owned := f.with(Options{}).owned(); !slices.Equal(owned, []string{"ConfigMap/keep"}) || len(f.shards()) > 0 {
		t.Errorf("inventory is %d entries in %d shards", len(owned), len(f.shards()))
	}
}
