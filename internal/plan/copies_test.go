package plan

import (
	"cmp"
	"fmt"
	"strings"
	"testing"

	"chaperone.dev/chaperone/internal/manifest"
	"chaperone.dev/chaperone/internal/promotion"
)

// What was there for the steps of a release goes with them, whatever keeps an
// environment from deleting its own: a copy that stayed would go on having
// requests.
func TestCopiesGo(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		object, track string
		guards        Guards
		action        Action
		kind          string // Service where it is empty
	}{
		"a copy":                        {"api-canary", manifest.TrackCanary, Guards{Prune: true}, Delete, ""},
		"nothing is pruned":             {"api-next", manifest.TrackNext, Guards{}, Delete, ""},
		"its kind is protected":         {"api-next", manifest.TrackNext, Guards{Prune: true, Protect: []promotion.Protection{{Kind: "Service"}}}, Delete, ""},
		"another name":                  {"api", manifest.TrackNext, Guards{}, Keep, ""},
		"the workload's own":            {"api-stable", manifest.TrackStable, Guards{}, Keep, ""},
		"another track than it is said": {"api-next", manifest.TrackCanary, Guards{}, Keep, ""},
		"a kind that holds data":        {"api-next", manifest.TrackNext, Guards{}, Keep, "ConfigMap"},
		"no track":                      {"api-next", "", Guards{}, Keep, ""},
	} {
		live, entry := ownedLive(t, named(cmp.Or(test.kind, "Service"), test.object, ""), "1")
		labels := live.GetLabels()
		if test.track != "" {
			labels[manifest.LabelTrack] = test.track
		}
		live.SetLabels(labels)
		if got := fate(owner, test.guards, entry, live); got.Action != test.action {
			t.Errorf("%s: %s %q, want %s", name, got.Action, got.Reason, test.action)
		}
	}
}

// Nor do they count as what Git does not have any more.
func TestCopiesAreNoMassDeletion(t *testing.T) {
	t.Parallel()
	for _, copies := range []bool{true, false} {
		live := map[manifest.ID]*manifest.Object{}
		var owned, unwanted []Owned
		for i := range 12 {
			name := fmt.Sprintf("a%d", i)
			if copies && i < 8 {
				name += "-next"
			}
			o, entry := ownedLive(t, named("Service", name, ""), fmt.Sprint(i))
			if labels := o.GetLabels(); strings.HasSuffix(name, "-next") {
				labels[manifest.LabelTrack] = manifest.TrackNext
				o.SetLabels(labels)
			}
			entry.ID = manifest.IDOf(o)
			live[entry.ID], owned = o, append(owned, entry)
			if i < 8 {
				unwanted = append(unwanted, entry)
			}
		}
		_, refusal := Prune(owner, Guards{Prune: true}, 4, owned, unwanted, live)
		if (refusal == nil) != copies {
			t.Errorf("copies %v: %v", copies, refusal)
		}
	}
}
