package controller

import (
	"fmt"
	"testing"

	"pgregory.net/rapid"

	"chaperone.dev/chaperone/internal/manifest"
	"chaperone.dev/chaperone/internal/promotion"
	"chaperone.dev/chaperone/internal/reconcile"
)

func setOf(t rapid.TB, n int) manifest.Set {
	t.Helper()
	objects := make([]*manifest.Object, n)
	for i := range objects {
		objects[i] = &manifest.Object{Object: map[string]any{
			"apiVersion": "v1", "kind": "ConfigMap", "metadata": map[string]any{"name": fmt.Sprint("c", i)},
		}}
	}
	set, err := manifest.NewSet(objects)
	if err != nil {
		t.Fatal(err)
	}
	return set
}

// What is held is what was put last, is never more than the bound, and is
// nothing once every release is over.
func TestHeld(t *testing.T) {
	t.Parallel()
	sizes := map[int]manifest.Set{}
	for _, n := range []int{1, 100, maxHeld / 2, maxHeld, maxHeld + 1} {
		sizes[n] = setOf(t, n)
	}
	rapid.Check(t, func(t *rapid.T) {
		var h held
		last := map[promotion.ID]reconcile.Digest{}
		ids := []promotion.ID{{Pipeline: "a", Name: "x"}, {Pipeline: "a", Name: "y"}, {Pipeline: "b", Name: "x"}}
		for range rapid.IntRange(1, 30).Draw(t, "steps") {
			id := rapid.SampledFrom(ids).Draw(t, "id")
			if rapid.Bool().Draw(t, "drop") {
				h.drop(id)
				delete(last, id)
			} else {
				n := rapid.SampledFrom([]int{1, 100, maxHeld / 2, maxHeld, maxHeld + 1}).Draw(t, "objects")
				last[id] = reconcile.Digest(fmt.Sprint("d", n))
				h.put(id, last[id], sizes[n])
			}
			total := 0
			for _, id := range ids {
				if _, found := h.get(id, "other"); found {
					t.Fatalf("%s: found under another digest", id)
				}
				set, found := h.get(id, last[id])
				if found && reconcile.Digest(fmt.Sprint("d", set.Len())) != last[id] {
					t.Fatalf("%s: holds %d objects under %s", id, set.Len(), last[id])
				}
				total += set.Len()
			}
			if total > maxHeld || total != h.objects {
				t.Fatalf("holds %d objects, counts %d, may hold %d", total, h.objects, maxHeld)
			}
		}
		for _, id := range ids {
			h.drop(id)
		}
		if h.objects != 0 || len(h.sets) != 0 {
			t.Fatalf("holds %d objects in the end", h.objects)
		}
	})
}
