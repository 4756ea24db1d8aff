package state

import (
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"chaperone.dev/chaperone/internal/reconcile"
	"chaperone.dev/chaperone/internal/state/v1alpha1"
)

// Drill is whether last good could be restored when that was tried last.
type Drill struct {
	At      time.Time        `json:"at,omitzero"`       // in whole seconds; zero is never
	Digest  reconcile.Digest `json:"digest,omitempty"`  // what was tried to restore
	Tried   int              `json:"tried,omitempty"`   // objects
	Problem string           `json:"problem,omitempty"` // why not; "" where it could
	// Untold is why nobody could tell when it was tried since; "" where nothing was.
	Untold string `json:"untold,omitempty"`
}

// Same reports whether two say the same.
func (d Drill) Same(as Drill) bool {
	return d.At.Equal(as.At) && d.Digest == as.Digest && d.Tried == as.Tried && d.Problem == as.Problem && d.Untold == as.Untold
}

// Of reports whether it is about a release.
func (d Drill) Of(r reconcile.Release) bool { return !d.At.IsZero() && d.Digest == r.Digest }

func drillOf(d Drill) *v1alpha1.DrillStatus {
	if d.Same(Drill{}) {
		return nil
	}
	return &v1alpha1.DrillStatus{Time: timeOf(d.At), Digest: string(d.Digest), Objects: d.Tried, Problem: clip(d.Problem), Untold: clip(d.Untold)}
}

func drillFrom(d *v1alpha1.DrillStatus) Drill {
	if d == nil {
		return Drill{}
	}
	drill := Drill{Digest: reconcile.Digest(d.Digest), Tried: d.Objects, Problem: d.Problem, Untold: d.Untold}
	if d.Time != nil {
		drill.At = d.Time.UTC()
	}
	return drill
}

// restorable is the condition of that name: unknown while what is last good now was
// not tried. There is none before the first drill.
func restorable(r Record) (metav1.Condition, bool) {
	c := metav1.Condition{Type: "Restorable", Status: metav1.ConditionUnknown, Reason: "NotTried", Message: "what is last good now was not tried yet"}
	switch {
	case r.Journal.LastGood.Digest == "" || r.Drill.Same(Drill{}):
		return c, false
	case r.Drill.Untold != "":
		c.Reason, c.Message = "CouldNotBeTold", r.Drill.Untold
	case !r.Drill.Of(r.Journal.LastGood):
	case r.Drill.Problem != "":
		c.Status, c.Reason, c.Message = metav1.ConditionFalse, "NotRestorable", r.Drill.Problem
	default:
		c.Status, c.Reason, c.Message = metav1.ConditionTrue, "Drilled", "last good could be restored when it was tried last"
	}
	c.Message = clip(c.Message)
	return c, true
}
