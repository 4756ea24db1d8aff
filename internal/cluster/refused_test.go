package cluster

import (
	"slices"
	"strings"
	"testing"

	"chaperone.dev/chaperone/internal/plan"
)

// One object that the server does not take any more must not hide what happened
// to the others.
func TestRejectedObjectHidesNoDrift(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	set := f.of(f.set(labelled("refused", "refuse"), configMap("plain", "key", "value")))
	f.release(set)
	f.eventually("quiet after the apply", f.rests)
	f.patch("ConfigMap", "refused", `{"data": {"key": "theirs"}}`)
	f.admit(validation)
	f.patch("ConfigMap", "plain", `{"data": {"key": "theirs"}}`)
	var changes []plan.Change
	f.eventually("the server refuses the object", func() bool {
		var err error
		if changes, err = f.drifted(set); err != nil {
			t.Fatal(err)
		}
		return slices.ContainsFunc(changes, func(change plan.Change) bool { return change.Refused != "" })
	})
	if len(changes) != 2 {
		t.Fatalf("drift is %v, want both objects", changes)
	}
	for _, change := range changes {
		if refused := strings.Contains(change.Refused, "not any more"); refused != (change.ID.Name == "refused") {
			t.Errorf("%s: refused with %q", change.ID, change.Refused)
		}
	}
}
