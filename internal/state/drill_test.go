package state

import (
	"testing"
	"time"

	"chaperone.dev/chaperone/internal/reconcile"
	"chaperone.dev/chaperone/internal/state/v1alpha1"
)

// The condition Restorable is about what is last good now, and there is none where
// nothing was tried.
func TestRestorableTellsOfTheLastDrill(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 3, 2, 9, 0, 0, 0, time.UTC)
	good := releaseAt(first)
	for _, test := range []struct {
		name    string
		drill   Drill
		want    string // status and reason
		problem string
	}{
		{"none yet", Drill{}, "", ""},
		{"it could", Drill{At: at, Digest: good.Digest, Tried: 3}, "True Drilled", ""},
		{"it could not", Drill{At: at, Digest: good.Digest, Problem: "no stored bundle"}, "False NotRestorable", "no stored bundle"},
		{"of what was last good before", Drill{At: at, Digest: "sha256:old"}, "Unknown NotTried", ""},
		{"nobody could tell since", Drill{At: at, Digest: good.Digest, Untold: "a webhook does not answer"}, "Unknown CouldNotBeTold", "a webhook does not answer"},
	} {
		r := Record{ID: staging, Journal: reconcile.Journal{LastGood: good}, Drill: test.drill}
		status, err := statusOf(r, v1alpha1.EnvironmentStatus{}, 1, at)
		if err != nil {
			t.Fatal(err)
		}
		got := ""
		for _, c := range status.Conditions {
			if c.Type == "Restorable" {
				got = string(c.Status) + " " + c.Reason
				if test.problem != "" && c.Message != test.problem {
					t.Errorf("%s: says %q", test.name, c.Message)
				}
			}
		}
		if got != test.want {
			t.Errorf("%s: %q, want %q", test.name, got, test.want)
		}
		if test.drill.At.IsZero() != (status.Drill == nil) {
			t.Errorf("%s: the field says %+v", test.name, status.Drill)
		}
	}
}
