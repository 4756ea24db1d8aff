package plan

import (
	"fmt"
	"testing"

	"chaperone.dev/chaperone/internal/manifest"
)

func configMap(name, uid string, annotations map[string]any) *manifest.Object {
	return &manifest.Object{Object: map[string]any{
		"apiVersion": "v1", "kind": "ConfigMap",
		"metadata": map[string]any{"namespace": "novamind", "name": name, "uid": uid, "annotations": annotations},
	}}
}

// A release that holds the ConfigMap of an inventory could say what is owned,
// and have anything deleted.
func TestInventoriesAreTheDaemonsOwn(t *testing.T) {
	t.Parallel()
	owner := Owner{Environment: "novamind/staging", Namespace: "novamind"}
	name := InventoryPrefix + "novamind-staging"
	if owner.outside(manifest.ID{Kind: "ConfigMap", Namespace: "novamind", Name: name}) == "" {
		t.Error("a release may hold an inventory")
	}
	if why := owner.outside(manifest.ID{Kind: "ConfigMap", Namespace: "novamind", Name: "settings"}); why != "" {
		t.Errorf("another ConfigMap is refused: %s", why)
	}
	live := configMap(name, "1", map[string]any{AnnotationEnvironment: "novamind/staging"})
	id := manifest.IDOf(live)
	change := fate(owner, Guards{Prune: true}, Owned{ID: id, UID: "1"}, live)
	if change.Action != Keep {
		t.Errorf("an inventory that got into the inventory is %s, want it kept", change.Action)
	}
}

// Whoever may edit an inventory must not have the daemon delete elsewhere.
func TestEntriesOutsideTheTargetAreNotDeleted(t *testing.T) {
	t.Parallel()
	owner := Owner{Environment: "novamind/staging", Namespace: "elsewhere", SetID: "applyset-staging"}
	live := configMap("settings", "1", nil)
	if change := fate(owner, Guards{Prune: true}, Owned{ID: manifest.IDOf(live), UID: "1"}, live); change.Action != Keep {
		t.Errorf("an unmarked object outside the target is %s, want it kept", change.Action)
	}
}

// Last good must come back whole, however much the failed release had added.
func TestRestoringDeletesWhatTheFailedReleaseAdded(t *testing.T) {
	t.Parallel()
	owner := Owner{Environment: "novamind/staging", Namespace: "novamind"}
	live := map[manifest.ID]*manifest.Object{}
	var owned []Owned
	for i := range 25 {
		uid := fmt.Sprint(i)
		o := configMap("added-"+uid, uid, map[string]any{AnnotationEnvironment: owner.Environment})
		live[manifest.IDOf(o)] = o
		owned = append(owned, Owned{ID: manifest.IDOf(o), UID: uid})
	}
	for restoring, want := range map[bool]int{true: 15, false: 0} {
		changes, refusal := Prune(owner, Guards{Prune: true, Restoring: restoring}, 10, owned, owned[10:], live)
		deleted := 0
		for _, c := range changes {
			if c.Action == Delete && refusal == nil {
				deleted++
			}
		}
		if deleted != want || (refusal == nil) != restoring {
			t.Errorf("restoring %v: %d deleted, refusal %v; want %d", restoring, deleted, refusal, want)
		}
	}
}

// Last good of one environment says nothing about another that is taken over
// with it.
func TestRestoringKeepsWhatIsTakenOver(t *testing.T) {
	t.Parallel()
	owner := Owner{Environment: "novamind/merged", Namespace: "novamind"}
	for name, c := range map[string]struct {
		carried, added, unwanted int // of an environment; by the failed release; of the carried ones
		limit                    float64
		deleted, kept            int
	}{
		"all of it":                       {8, 0, 8, 0, 0, 8},
		"all of a small one":              {2, 0, 2, 0, 0, 2},
		"all of it, and what was added":   {8, 12, 8, 0, 12, 8},
		"half of it":                      {8, 0, 4, 0, 4, 0},
		"more than half, and a person":    {8, 0, 5, 0.7, 5, 0},
		"more than a smaller limit":       {8, 0, 3, 0.25, 0, 3},
		"what was added only":             {8, 40, 0, 0, 40, 0},
		"nothing is carried, all is gone": {0, 40, 0, 0, 40, 0},
	} {
		live := map[manifest.ID]*manifest.Object{}
		var owned, unwanted []Owned
		for i := range 1 + c.carried + c.added {
			o := configMap(fmt.Sprint("c", i), fmt.Sprint(i), map[string]any{AnnotationEnvironment: owner.Environment})
			entry := Owned{ID: manifest.IDOf(o), UID: fmt.Sprint(i)}
			if i > 0 && i <= c.carried {
				entry.Carried = []string{"novamind/second"}
			}
			live[entry.ID], owned = o, append(owned, entry)
			if i > c.carried || i > 0 && i <= c.unwanted {
				unwanted = append(unwanted, entry)
			}
		}
		changes, refusal := Prune(owner, Guards{Prune: true, Restoring: true, MaxDeletePart: c.limit}, 1, owned, unwanted, live)
		p := Plan{Changes: changes}
		if refusal != nil || p.Count(Delete) != c.deleted || p.Count(Keep) != c.kept {
			t.Errorf("%s: %d deleted, %d kept, refusal %v; want %d and %d", name, p.Count(Delete), p.Count(Keep), refusal, c.deleted, c.kept)
		}
		for i, change := range changes {
			if change.Action == Keep && change.Reason != ReasonMassDeletion || i > 0 && change.Action == Delete && changes[i-1].Action == Keep {
				t.Errorf("%s: %s", name, change)
			}
		}
	}
}
