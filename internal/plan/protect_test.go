package plan

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"chaperone.dev/chaperone/internal/manifest"
	"chaperone.dev/chaperone/internal/promotion"
)

// many owned objects, n of them, of which the first dropped are not rendered.
func many(t testing.TB, n int) ([]Owned, map[manifest.ID]*manifest.Object) {
	t.Helper()
	var owned []Owned
	live := map[manifest.ID]*manifest.Object{}
	for i := range n {
		o, entry := ownedLive(t, named("ConfigMap", fmt.Sprint("c", i), ""), fmt.Sprint(i))
		owned, live[entry.ID] = append(owned, entry), o
	}
	return owned, live
}

// The refusal says which of the two limits it is, and what to raise and how far.
func TestGuardOnMassDeletionNamesTheLimit(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		owned, dropped int
		guards         Guards
		want           string // "" passes
	}{
		{300, 100, Guards{}, ""},
		{300, 101, Guards{}, "101 of 300 owned objects would be deleted, and the limit is 100; raise maxDeletes to 101 if that is meant"},
		{300, 101, Guards{MaxDeletes: 101}, ""},
		{300, 151, Guards{MaxDeletes: 151}, "151 of 300 owned objects would be deleted, and the limit is 50%; raise maxDeletePart to 51% if that is meant"},
		{300, 151, Guards{}, "151 of 300 owned objects would be deleted, and the limit is 50% and 100; raise maxDeletePart to 51% and maxDeletes to 151 if that is meant"},
		{300, 151, Guards{MaxDeletePart: 0.51, MaxDeletes: 151}, ""},
		{10, 2, Guards{MaxDeletes: 1}, "2 of 10 owned objects would be deleted, and the limit is 1; raise maxDeletes to 2 if that is meant"},
		{10, 4, Guards{MaxDeletePart: 0.1}, ""}, // too few to be a sign of anything
		{300, 300, Guards{Restoring: true}, ""},
	} {
		owned, live := many(t, test.owned)
		test.guards.Prune = true
		_, refusal := Prune(owner, test.guards, 1, owned, owned[:test.dropped], live)
		got := ""
		if refusal != nil {
			got = refusal.Text
		}
		if got != test.want || refusal != nil && refusal.Reason != promotion.MassDeletion {
			t.Errorf("%d of %d under %+v:\n%s\nwant\n%s", test.dropped, test.owned, test.guards, got, test.want)
		}
	}
}

// What was kept and may go now counts into the whole, or no limit would let it go.
func TestGuardOnMassDeletionCanAlwaysBeRaised(t *testing.T) {
	t.Parallel()
	owned, live := many(t, 10)
	for i := range owned[:8] {
		owned[i].Kept = true
	}
	guards := Guards{Prune: true}
	if _, refusal := Prune(owner, guards, 1, owned, owned[:8], live); refusal == nil || !strings.Contains(refusal.Text, "8 of 10") {
		t.Errorf("8 kept objects of 10 that may go: %v", refusal)
	}
	guards.MaxDeletePart = 1
	if changes, refusal := Prune(owner, guards, 1, owned, owned[:8], live); refusal != nil || len(changes) != 8 {
		t.Errorf("with the limit lifted: %v, %v", changes, refusal)
	}
}

// What is taken over stays under the count, too, while restoring.
func TestRestoreKeepsWhatIsCarriedPastTheCount(t *testing.T) {
	t.Parallel()
	owned, live := many(t, 20)
	for i := range owned {
		owned[i].Carried = []string{"shop/old"}
	}
	changes, refusal := Prune(owner, Guards{Prune: true, Restoring: true, MaxDeletes: 3}, 1, owned, owned[:4], live)
	if p := (Plan{Changes: changes}); refusal != nil || p.Count(Keep) != 4 {
		t.Errorf("%v, %v; want 4 kept", changes, refusal)
	}
}

func protections(t testing.TB, entries ...string) []promotion.Protection {
	t.Helper()
	var all []promotion.Protection
	for _, entry := range entries {
		p, err := promotion.ParseProtection(entry)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, p)
	}
	return all
}

func TestProtectedKindsAndNamesAreKept(t *testing.T) {
	t.Parallel()
	guards := Guards{Prune: true, Protect: protections(t, "StatefulSet.apps", "ConfigMap/settings", "PersistentVolumeClaim")}
	for text, want := range map[string]Action{
		"apiVersion: apps/v1\nkind: StatefulSet\nmetadata: {name: any, namespace: shop}":                                                 Keep,
		"apiVersion: apps/v1beta9\nkind: StatefulSet\nmetadata: {name: any, namespace: shop, annotations: {chaperone.dev/prune: allow}}": Keep,
		"apiVersion: example.org/v1\nkind: StatefulSet\nmetadata: {name: any, namespace: shop}":                                          Delete,
		"apiVersion: v1\nkind: PersistentVolumeClaim\nmetadata: {name: any, namespace: shop, annotations: {chaperone.dev/prune: allow}}": Keep,
		named("ConfigMap", "settings", "chaperone.dev/prune: allow"):                                                                     Keep,
		named("ConfigMap", "settings-2", ""): Delete,
		named("Secret", "settings", ""):      Delete,
	} {
		live, entry := ownedLive(t, text, "1")
		for _, restoring := range []bool{false, true} {
			guards.Restoring = restoring
			if got := fate(owner, guards, entry, live); got.Action != want || want == Keep && got.Reason != ReasonProtected {
				t.Errorf("%s, restoring %v: %s", text, restoring, got)
			}
		}
	}
}

// Replacing begins with deleting.
func TestProtectedIsNotReplaced(t *testing.T) {
	t.Parallel()
	immutable := "apiVersion: apps/v1\nkind: StatefulSet\nmetadata: {name: db, namespace: shop, annotations: {chaperone.dev/replace: allow}}"
	failed := "apiVersion: batch/v1\nkind: Job\nmetadata: {name: migrate, namespace: shop, annotations: {chaperone.dev/hook: pre-deploy}}"
	for name, test := range map[string]struct {
		text, protect string
		see           func(live *manifest.Object, seen *Seen)
		refused       bool
		action        Action
	}{
		"immutable": {immutable, "StatefulSet.apps/db", func(_ *manifest.Object, s *Seen) { s.Rejected, s.Immutable = errors.New("immutable"), true }, true, Replace},
		"immutable, not protected": {immutable, "StatefulSet.apps/other",
			func(_ *manifest.Object, s *Seen) { s.Rejected, s.Immutable = errors.New("immutable"), true }, false, Replace},
		"failed hook": {failed, "Job.batch", func(live *manifest.Object, _ *Seen) {
			live.Object["status"] = map[string]any{"conditions": []any{map[string]any{"type": "Failed", "status": "True"}}}
		}, true, Replace},
		"leaving already": {immutable, "StatefulSet.apps", func(live *manifest.Object, _ *Seen) {
			live.Object["metadata"].(map[string]any)["deletionTimestamp"] = "2026-01-01T00:00:00Z"
		}, false, Replace},
		"to be updated": {immutable, "StatefulSet.apps", func(live *manifest.Object, s *Seen) { s.Tried = live }, false, Unchanged},
	} {
		o := prepared(t, test.text)
		live, entry := ownedLive(t, test.text, "1")
		seen := Seen{Live: live, Send: o}
		test.see(live, &seen)
		p, err := Build(Input{Owner: owner, Guards: Guards{Prune: true, Protect: protections(t, test.protect)}, Manager: manager, Redact: redact,
			Desired: renderedSet(t, o), Owned: []Owned{entry}, Seen: map[manifest.ID]Seen{entry.ID: seen}})
		var refusal *Refusal
		if refused := errors.As(err, &refusal); refused != test.refused || refused && (refusal.Reason != promotion.ApplyRejected || !strings.Contains(err.Error(), test.protect)) {
			t.Errorf("%s: %v, want refused: %v", name, err, test.refused)
		}
		if len(p.Changes) != 1 || p.Changes[0].Action != test.action {
			t.Errorf("%s: %v, want %s", name, p.Changes, test.action)
		}
	}
}

// Whatever a plan is made of, what protect holds is in none of its deletions,
// and no plan that may be carried out replaces it.
func TestProtectedIsNeverDeletedByAnyPlan(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		guards := Guards{Prune: true, MaxDeletePart: 1, Restoring: rapid.Bool().Draw(t, "restoring"),
			Protect: []promotion.Protection{{Kind: "ConfigMap"}, {Kind: "PersistentVolumeClaim", Name: "o1"}}}
		var owned []Owned
		live := map[manifest.ID]*manifest.Object{}
		for n := range rapid.IntRange(1, 8).Draw(t, "n") {
			o, entry := anyOwned(t, n)
			owned, live[entry.ID] = append(owned, entry), o
		}
		changes, _ := Prune(owner, guards, 1, owned, owned, live)
		for _, c := range changes {
			if c.Action == Delete && (c.ID.Kind == "ConfigMap" || c.ID.Kind == "PersistentVolumeClaim" && c.ID.Name == "o1") {
				t.Fatalf("%s is deleted", c.ID)
			}
		}
	})
}
