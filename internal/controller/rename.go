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
// last good, what was verified and failed there, and its hold. Nothing counts as
// running yet, so that last good is put in place under the new name first;
// where what runs failed and cannot be taken back, it stays. Of several former
// ones nobody can tell whose last good it would be: it begins anew.
func (c *Controller) inherit(known reconcile.Environment, e *environment, file promotion.Environment) reconcile.Environment {
	j := known.Journal
	if j.LastGood.Digest != "" || j.Running.Digest != "" || j.Attempt.Stage != reconcile.StageNone || known.Busy != reconcile.ActionNone {
		return known
	}
	former, before := c.former(file)
	if before == nil {
		return known
	}
	if before.Busy != reconcile.ActionNone || before.Journal.Attempt.Stage == reconcile.StageRestoring || before.Journal.Attempt.Stage == reconcile.StageUndoing {
		known.Fault = promotion.ConflictingOwner
		e.notes[promotion.ConflictingOwner] = fmt.Sprintf("%s, which this was, is still being brought back to last good; it is taken over after", former)
		return known
	}
	inherited := reconcile.Journal{
		LastGood: before.Journal.LastGood, Verified: before.Journal.Verified, Quarantine: before.Journal.Quarantine,
		Reverts: before.Journal.Reverts, LastRevert: before.Journal.LastRevert, Hold: before.Journal.Hold, Run: before.Journal.Run,
		Accepted: before.Journal.Accepted, Branch: before.Journal.Branch, Served: j.Served, Undo: before.Journal.Undo,
	}
	if inherited.Hold.Reason == promotion.IrreversibleFailed {
		inherited.Running = before.Journal.Running
	}
	if e.recorder == nil {
		e.recorder = c.newRecorder(state.Record{ID: file.ID, Environment: file})
	}
	if !e.recorder.inherit(inherited) {
		known.Fault = promotion.ConflictingOwner // being written right now
		e.notes[promotion.ConflictingOwner] = fmt.Sprintf("%s is about to be taken over", former)
		c.Poll()
		return known
	}
	known.Journal = inherited
	c.environment(former).notes[promotion.Removed] = fmt.Sprintf("its file is gone; %s has taken over what it runs", file.ID)
	c.Log.Info("renamed", "environment", file.ID.String(), "former", former.String(), "revision", inherited.LastGood.Revision,
		"reason", promotion.Restoring)
	return known
}

// former finds the one environment in the same place that an environment was
// renamed from; nil where there is none, or more than one.
func (c *Controller) former(file promotion.Environment) (id promotion.ID, found *reconcile.Environment) {
	for _, former := range file.Formerly {
		before, known := c.world.Find(former)
		if !known || before.Journal.LastGood.Digest == "" || place(c.environment(former).file) != place(file) {
			continue
		}
		if found != nil {
			return promotion.ID{}, nil
		}
		id, found = former, &before
	}
	return id, found
}

// takeOver looks again at what waits for an environment that is gone.
func (c *Controller) takeOver() {
	for i := range c.world.Environments {
		e := &c.world.Environments[i]
		if file, valid := c.seen.set.Environments[e.ID]; valid && e.Fault == promotion.ConflictingOwner {
			e.Fault = ""
			*e = c.inherit(*e, c.environment(e.ID), file)
		}
	}
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

// bundle reads a stored release, unless it is under way; one that was verified
// before a rename is stored under the former name.
func (c *Controller) bundle(ctx context.Context, file promotion.Environment, digest reconcile.Digest) (manifest.Set, error) {
	if set, found := c.held.get(file.ID, digest); found {
		return set, nil
	}
	set, err := c.Store.Bundle(ctx, file.ID, digest)
	for _, former := range file.Formerly {
		if !errors.Is(err, state.ErrNoBundle) {
			break
		}
		set, err = c.Store.Bundle(ctx, former, digest)
	}
	return set, err
}
