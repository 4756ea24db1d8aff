package controller

import (
	"time"

	"chaperone.dev/chaperone/internal/reconcile"
	"chaperone.dev/chaperone/internal/state"
)

// foretell is what will be shown of an environment once an effect has succeeded.
// It is stored with the outcome, in one write where there would be two with
// nothing between them. Should it come otherwise, because somebody paused it
// meanwhile for instance, then what is so is written after it, as it always was.
func (c *Controller) foretell(a reconcile.Action, pruned bool) *shown {
	switch a.Kind {
	case reconcile.ActionApply, reconcile.ActionVerify, reconcile.ActionPrune:
	default:
		return nil
	}
	world := c.world
	world.Environments = nil
	for _, e := range c.world.Environments {
		if e.ID.Pipeline == a.Environment.Pipeline { // no other has a say
			world.Environments = append(world.Environments, e)
		}
	}
	world = reconcile.Observe(world, reconcile.Result{Action: a, Outcome: reconcile.OutcomeDone, Pruned: pruned})
	d := reconcile.Decide(world)
	for i, status := range d.Statuses {
		if status.Environment == a.Environment {
			e := c.environment(status.Environment)
			return &shown{status: status, message: e.besides(world.Environments[i], status, c.sentence(world.Environments[i], e, status, d)), excepted: e.excepted, drill: e.drill}
		}
	}
	return nil
}

// come takes what was foretold into the record of an outcome, and returns it as
// it is stored; nil if it has not come so.
func (s *shown) come(outcome reconcile.Outcome, now time.Time, into *state.Record) *shown {
	if s == nil || outcome != reconcile.OutcomeDone {
		return nil
	}
	stored := *s
	stored.since = now
	stored.applyTo(into)
	return &stored
}

// worthStoring reports whether a status differs from what is stored.
func (e *environment) worthStoring(now shown) bool {
	stored := shown{status: e.status, message: e.message, excepted: e.exceptedShown, drill: e.drillShown}
	if e.foretold != nil {
		stored = *e.foretold
	}
	return !now.same(&stored)
}
