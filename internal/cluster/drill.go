package cluster

import (
	"context"
	"time"

	"chaperone.dev/chaperone/internal/fault"
	"chaperone.dev/chaperone/internal/manifest"
	"chaperone.dev/chaperone/internal/plan"
)

// Drilled is what a drill came to.
type Drilled struct {
	plan.Plan                  // what a restore would do now
	Tried     int              // objects that a dry run has accepted
	Rejected  []plan.Rejection // are as they should be, and would not be accepted again
}

// Drill plans a restore of last good and tries every object of it in a dry run,
// those that are as they should be as well, with a pause between. Nothing is
// changed. Unlike a restore it asks for every right first. The error is that of
// Plan: terminal where last good could not be restored.
func (c *Cluster) Drill(ctx context.Context, w Owner, good manifest.Set, pause time.Duration) (Drilled, error) {
	w.Restoring, w.reviewed = true, true
	p, err := c.plan(ctx, w, good, true)
	d := Drilled{Plan: p}
	if err != nil {
		return d, err
	}
	for _, change := range p.Changes {
		switch {
		case change.Tried:
			d.Tried++
			continue
		case change.Action != plan.Unchanged || plan.IsJob(change.Object):
			continue
		}
		k, err := c.kinds.find(ctx, change.ID.GroupKind(), change.Object.GroupVersionKind().Version)
		if err != nil {
			return d, err
		}
		switch _, err := c.dryRun(ctx, k, change.Object); {
		case err == nil:
			d.Tried++
		case refusedForGood(err):
			d.Rejected = append(d.Rejected, plan.Rejection{ID: change.ID, Err: answer(change.ID, err)})
		default:
			return d, failed("dry run", change.ID, err)
		}
		if err := sleep(ctx, pause); err != nil {
			return d, fault.Retryable("drill", "", err)
		}
	}
	return d, nil
}
