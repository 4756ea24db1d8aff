package app

import (
	"context"
	"fmt"
	"slices"
	"time"

	"chaperone.dev/chaperone/internal/cluster"
	"chaperone.dev/chaperone/internal/controller"
	"chaperone.dev/chaperone/internal/manifest"
	"chaperone.dev/chaperone/internal/plan"
	"chaperone.dev/chaperone/internal/promotion"
	"chaperone.dev/chaperone/internal/reconcile"
)

// found is the last that a comparison has come to, for the correction that
// follows it: it needs neither last good nor another comparison.
type found struct {
	digest reconcile.Digest
	at     time.Time
	drift  []plan.Change
}

// A correction follows its comparison within a fraction of a second. What is
// older, or too much to be kept, is compared again.
const (
	foundFresh = 5 * time.Second
	foundMost  = 100
)

// Drift implements controller.Cluster.
func (c *clusters) Drift(ctx context.Context, env promotion.Environment, good controller.LastGood) (controller.Drift, error) {
	drift, err := c.drift(ctx, env, good)
	if err != nil {
		return controller.Drift{}, err
	}
	result, left := c.contended(env, drift, time.Now())
	c.keep(env.ID, found{good.Digest, time.Now(), left})
	for _, change := range left {
		result.Differs = append(result.Differs, change.Drift())
	}
	return result, nil
}

func (c *clusters) drift(ctx context.Context, env promotion.Environment, good controller.LastGood) ([]plan.Change, error) {
	on, err := c.For(ctx, env.Target)
	if err != nil {
		return nil, err
	}
	owner := cluster.OwnerOf(env)
	owner.Digest = manifest.Digest(good.Digest)
	changes, err := on.Drift(ctx, owner, good.Read)
	// Where every value is right, whose they are the next release puts right.
	return slices.DeleteFunc(changes, func(change plan.Change) bool {
		return change.Action == plan.Update && len(change.Fields) == 0
	}), about(env.Target, err)
}

// contended sorts out what is fought over.
func (c *clusters) contended(env promotion.Environment, drift []plan.Change, now time.Time) (told controller.Drift, left []plan.Change) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, change := range drift {
		if change.Refused != "" && change.Reason != plan.ReasonTerminating {
			told.Refused = append(told.Refused, change.Drift()+": "+change.Refused)
			continue
		}
		if change.Refused != "" {
			told.Contended = append(told.Contended, change.Drift()+", and cannot be put back: "+change.Refused)
			continue
		}
		until := time.Time{}
		if env.Drift != promotion.DriftReport {
			until = c.fights.Differs(contest(env, change), change.Digest, now)
		}
		if until.IsZero() {
			left = append(left, change)
			continue
		}
		told.Contended = append(told.Contended, change.Contention(plan.FieldManager))
		if told.Until.IsZero() || until.Before(told.Until) {
			told.Until = until
		}
	}
	return told, left
}

func contest(env promotion.Environment, change plan.Change) plan.Contest {
	return plan.Contest{Environment: env.ID.String(), Object: change.ID}
}

func (c *clusters) keep(id promotion.ID, what found) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.found == nil {
		c.found = map[promotion.ID]found{}
	}
	delete(c.found, id)
	if len(what.drift) > 0 && len(what.drift) <= foundMost {
		c.found[id] = what
	}
}

func (c *clusters) take(id promotion.ID) found {
	c.mu.Lock()
	defer c.mu.Unlock()
	what := c.found[id]
	delete(c.found, id)
	return what
}

// Correct implements controller.Cluster.
func (c *clusters) Correct(ctx context.Context, env promotion.Environment, good controller.LastGood) error {
	known := c.take(env.ID)
	left := known.drift
	if known.digest != good.Digest || time.Since(known.at) > foundFresh {
		drift, err := c.drift(ctx, env, good)
		if err != nil {
			return untouched(refused(err))
		}
		_, left = c.contended(env, drift, time.Now())
	}
	if len(left) == 0 {
		return nil
	}
	on, err := c.For(ctx, env.Target)
	if err != nil {
		return err
	}
	owner := cluster.OwnerOf(env)
	owner.Restoring, owner.Digest = true, manifest.Digest(good.Digest)
	owner.Release = owner.Digest.Short()
	_, err = on.Apply(ctx, owner, plan.Plan{Changes: left}, func(change plan.Change, err error) {
		if err == nil {
			c.corrected(env, change)
		}
	})
	if err != nil {
		return fmt.Errorf("correct: %w", refused(about(env.Target, err)))
	}
	return nil
}

// corrected is called beside a lock of the apply's, never beside our own.
func (c *clusters) corrected(env promotion.Environment, change plan.Change) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.fights.Corrected(contest(env, change), change.Digest, time.Now())
}
