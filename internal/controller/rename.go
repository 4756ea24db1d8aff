package controller

import (
	"context"
	"errors"
	"fmt"

	"chaperone.dev/chaperone/internal/manifest"
	"chaperone.dev/chaperone/internal/promotion"
	"chaperone.dev/chaperone/internal/reconcile"
	"chaperone.dev/chaperone/internal/state"
)

// inherit gives an environment that was renamed what the former one knew: its
// last good, and what was verified and failed there. Nothing counts as running
// yet, so that last good is put in place under the new name first.
func (c *Controller) inherit(known reconcile.Environment, e *environment, file promotion.Environment) reconcile.Journal {
	j := known.Journal
	if j.LastGood.Digest != "" || j.Running.Digest != "" || j.Attempt.Stage != reconcile.StageNone || known.Busy != reconcile.ActionNone {
		return j
	}
	for _, former := range file.Formerly {
		before, found := c.world.Find(former)
		if !found || before.Journal.LastGood.Digest == "" || place(c.environment(former).file) != place(file) {
			continue
		}
		inherited := reconcile.Journal{
			LastGood: before.Journal.LastGood, Verified: before.Journal.Verified, Quarantine: before.Journal.Quarantine,
			Reverts: before.Journal.Reverts, LastRevert: before.Journal.LastRevert, Served: j.Served,
		}
		if e.recorder == nil {
			e.recorder = c.newRecorder(state.Record{ID: file.ID, Environment: file})
		}
		if !e.recorder.inherit(inherited) {
			return j // being written right now: the next look at the source does it
		}
		c.environment(former).notes[promotion.Removed] = fmt.Sprintf("its file is gone; %s has taken over what it runs", file.ID)
		c.Log.Info("renamed", "environment", file.ID.String(), "former", former.String(), "revision", inherited.LastGood.Revision,
			"reason", promotion.Restoring)
		return inherited
	}
	return j
}

// inherit makes a journal the one to go on from, unless a write is under way.
func (r *recorder) inherit(journal reconcile.Journal) bool {
	select {
	case r.turn <- struct{}{}:
		defer func() { <-r.turn }()
		r.record.Journal = journal
		return true
	default:
		return false
	}
}

// bundle reads a stored release; one that was verified before a rename is
// stored under the former name.
func (c *Controller) bundle(ctx context.Context, file promotion.Environment, digest reconcile.Digest) (manifest.Set, error) {
	set, err := c.Store.Bundle(ctx, file.ID, digest)
	for _, former := range file.Formerly {
		if !errors.Is(err, state.ErrNoBundle) {
			break
		}
		set, err = c.Store.Bundle(ctx, former, digest)
	}
	return set, err
}
