package cluster

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"chaperone.dev/chaperone/internal/plan"
	"chaperone.dev/chaperone/internal/promotion"
)

// merged takes over two environments: a large one, and one that the first one's
// last good knows nothing of.
func merged(t *testing.T, large, small int) (n *fixture, first, second []string) {
	a := newFixture(t)
	b := a.beside("novamind", "second")
	for i := range large {
		first = append(first, configMap(fmt.Sprint("first-", i), "a", "b"))
	}
	for i := range small {
		second = append(second, configMap(fmt.Sprint("second-", i), "a", "b"))
	}
	a.release(a.set(first...))
	b.release(b.set(second...))
	n = a.beside("novamind", "merged")
	n.owner.Formerly = []promotion.ID{a.owner.Environment, b.owner.Environment}
	return n, first, second
}

// Two environments are merged into one. The last good of the first was restored
// under the new name, and everything of the second was deleted, past the guard
// on mass deletion.
func TestRestoreAfterMergeKeepsTheSecond(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ large, small int }{"a large one": {3, 8}, "a small one": {10, 4}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			n, first, second := merged(t, c.large, c.small)
			restore := func(when string) {
				n.owner.Restoring = true
				n.release(n.set(first...))
				result := n.prune(n.set(first...))
				n.owner.Restoring = false
				for _, id := range result.Deleted {
					if strings.HasPrefix(id.Name, "second") {
						t.Errorf("%s: %s was deleted", when, id)
					}
				}
				for i := range c.small {
					n.exists("ConfigMap", fmt.Sprint("second-", i), true)
				}
				if len(result.Kept) != c.small || result.Kept[0].Reason != plan.ReasonMassDeletion {
					t.Errorf("%s: kept %v, want the %d of the second for %s", when, result.Kept, c.small, plan.ReasonMassDeletion)
				}
			}
			restore("at once")
			// Written down as its own by now, and marked so by a release that failed.
			added := many(n, 12)
			n.release(n.set(slices.Concat(first, second, added)...))
			restore("after a release of both that failed")
			for i := range added {
				n.exists("ConfigMap", fmt.Sprintf("part-%02d", i), false)
			}
			// A release of both that is verified ends what they were before.
			both := n.set(append(first, second...)...)
			n.release(both)
			if result := n.prune(both); len(result.Deleted)+len(result.Kept) > 0 {
				t.Errorf("prune of a release of both: %+v, want nothing deleted or kept", result)
			}
			if n.inventoryOf(n.owner.Formerly[1]) != nil {
				t.Error("the inventory of the second is still there")
			}
		})
	}
}

// Without a restore the guard refuses the same, as ever.
func TestMergeThatDropsTheSecondIsRefused(t *testing.T) {
	t.Parallel()
	n, first, _ := merged(t, 3, 8)
	var refusal *plan.Refusal
	if _, err := n.c.Plan(t.Context(), n.owner, n.set(first...)); !errors.As(err, &refusal) || refusal.Reason != promotion.MassDeletion {
		t.Errorf("plan: %v, want it refused for %s", err, promotion.MassDeletion)
	}
	if _, err := n.c.Prune(t.Context(), n.owner, n.set(first...)); !errors.As(err, &refusal) || refusal.Reason != promotion.MassDeletion {
		t.Errorf("prune: %v, want it refused for %s", err, promotion.MassDeletion)
	}
	n.exists("ConfigMap", "second-7", true)
}

// What the failed release under the former name had added goes with a restore
// under the new one, as long as it is the smaller part.
func TestRestoreAfterRenameStaysUnderTheGuard(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	lastGood := many(f, 6)
	f.release(f.set(append(lastGood, configMap("added", "a", "b"))...))
	n := f.renamed("store", "live")
	n.owner.Restoring = true
	n.release(n.set(lastGood...))
	if result := n.prune(n.set(lastGood...)); len(result.Deleted) != 1 || len(result.Kept) > 0 {
		t.Errorf("prune: %+v, want the added one deleted", result)
	}
	n.exists("ConfigMap", "added", false)
	n.release(n.set(lastGood[0]))
	if result := n.prune(n.set(lastGood[0])); len(result.Deleted) > 0 || len(result.Kept) != 5 {
		t.Errorf("prune of another last good: %+v, want 5 kept", result)
	}
	n.exists("ConfigMap", "part-05", true)
}
