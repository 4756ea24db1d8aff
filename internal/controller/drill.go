package controller

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"time"

	"chaperone.dev/chaperone/internal/manifest"
	"chaperone.dev/chaperone/internal/promotion"
	"chaperone.dev/chaperone/internal/reconcile"
	"chaperone.dev/chaperone/internal/state"
)

const (
	// drillEvery is how often is tried whether last good could be restored.
	drillEvery = 24 * time.Hour
	// drillLook is how often is asked whether it is time; a drill that could not be
	// done, or found a problem, is done again after drillAgain.
	drillLook  = 10 * time.Minute
	drillAgain = time.Hour
	// drillMissed is after how long one is made up for: the daemon was away at its
	// time of the day.
	drillMissed = 36 * time.Hour
	// drillWithin bounds one.
	drillWithin = 30 * time.Minute
)

// Drill is whether last good could be restored.
type Drill = state.Drill

// drills try now and then whether last good could be restored. They change
// nothing, so that a pause or a hold does not keep them from it; anything that is
// begun does.
func (d *drift) drills(ctx context.Context) {
	last := d.c.Now() // what a day asked for before the daemon began is over
	for {
		select {
		case <-time.After(d.c.jittered(drillLook, 0, 0.1)):
		case <-ctx.Done():
			return
		}
		file, good, before, idle := d.drillable(ctx)
		now := d.c.Now()
		failed := before.Problem != "" && now.Sub(before.At) >= drillAgain
		missed := !before.At.IsZero() && now.Sub(before.At) >= drillMissed
		if !idle || !drillDue(d.file.ID, last, now) && !failed && !missed {
			continue
		}
		run, stop := context.WithTimeout(ctx, drillWithin)
		d.c.spawn(func() { d.whileIdle(run, stop, good.Digest) })
		began := d.c.Now()
		result, err := d.c.Cluster.Drill(run, file, LastGood{Digest: good.Digest, Read: func(ctx context.Context) (manifest.Set, error) {
			return d.c.goodSet(ctx, file, good)
		}})
		calledOff := run.Err() != nil && ctx.Err() == nil && err != nil
		stop()
		if err != nil {
			d.log(ctx, "drill", promotion.ClusterUnavailable, err)
			if !calledOff {
				d.untold(ctx, err)
			}
			continue // nobody could tell: asked again at the next look
		}
		last = now
		result.At, result.Digest = d.c.Now().UTC().Truncate(time.Second), good.Digest
		d.c.Telemetry.Step("drill", d.c.Now().Sub(began))
		d.c.Log.Info("drilled", "environment", file.ID.String(), "revision", "", "reason", promotion.UpToDate, "objects", result.Tried,
			"took", d.c.Now().Sub(began), "problem", result.Problem)
		d.c.post(ctx, func() { d.c.environment(d.file.ID).drill = result })
	}
}

// untold tells people that nobody could tell, once: the words change with each try.
func (d *drift) untold(ctx context.Context, err error) {
	d.c.post(ctx, func() {
		if e := d.c.environment(d.file.ID); e.drill.Untold == "" {
			e.drill.Untold = err.Error()
		}
	})
}

// goodSet is the stored bundle of last good. One that is gone or broken is made
// anew from Git, where that renders to the very same objects still.
func (c *Controller) goodSet(ctx context.Context, file promotion.Environment, good reconcile.Release) (manifest.Set, error) {
	set, err := c.bundle(ctx, file, good.Digest)
	if err == nil {
		return set, nil
	}
	err = fmt.Errorf("read last good: %w", err)
	if !errors.Is(err, state.ErrNoBundle) && !errors.Is(err, state.ErrBrokenBundle) {
		return set, err
	}
	made, digest, failed := manifest.Set{}, manifest.Digest(""), error(nil)
	snapshot, failed := c.Source.Snapshot(good.Revision)
	if failed == nil {
		made, digest, failed = c.Renderer.Render(ctx, snapshot, file.Path)
	}
	switch {
	case failed != nil:
		return set, fmt.Errorf("%w; and it cannot be rendered anew: %w", err, failed)
	case reconcile.Digest(digest) != good.Digest:
		return set, fmt.Errorf("%w; and %s renders to something else by now", err, good.Revision.Short())
	}
	stored := c.Store.PutBundle(ctx, file.ID, good.Digest, made)
	c.Log.Warn("the bundle of last good was gone; it is made anew from Git", "environment", file.ID.String(), "revision", good.Revision,
		"reason", promotion.RestoreFailed, "was", err, "err", stored)
	return made, nil
}

// drillDue reports whether the environment's time of the day came since. Each has
// its own, by its name, so that a restart begins none and not all come at once.
func drillDue(id promotion.ID, since, now time.Time) bool {
	sum := fnv.New64a()
	sum.Write([]byte(id.String()))
	offset := time.Duration(sum.Sum64() % uint64(drillEvery))
	slot := func(at time.Time) int64 { return at.Add(-offset).Unix() / int64(drillEvery/time.Second) }
	return slot(now) > slot(since)
}

// drillable is last good of an environment in which nothing is under way.
func (d *drift) drillable(ctx context.Context) (file promotion.Environment, good reconcile.Release, before Drill, idle bool) {
	type now struct {
		file   promotion.Environment
		good   reconcile.Release
		before Drill
	}
	told := make(chan now, 1)
	d.c.post(ctx, func() {
		world, _ := d.c.world.Find(d.file.ID)
		e := d.c.environment(d.file.ID)
		good := world.Journal.LastGood
		if world.Busy != reconcile.ActionNone || world.Journal.Attempt.Stage != reconcile.StageNone {
			good = reconcile.Release{}
		}
		told <- now{e.file, good, e.drill}
	})
	select {
	case e := <-told:
		return e.file, e.good, e.before, e.good.Digest != ""
	case <-ctx.Done():
		return file, good, before, false
	}
}

// whileIdle stops a drill as soon as there is something else to do.
func (d *drift) whileIdle(ctx context.Context, stop context.CancelFunc, digest reconcile.Digest) {
	const look = time.Second
	for {
		select {
		case <-time.After(look):
		case <-ctx.Done():
			return
		}
		if _, now, _, idle := d.drillable(ctx); !idle || now.Digest != digest {
			stop()
			return
		}
	}
}

// unrestorable tells people what a drill has found, while it is about what is
// last good now.
func (e *environment) unrestorable(world reconcile.Environment) string {
	if e.drill.Problem == "" || e.drill.Digest != world.Journal.LastGood.Digest {
		return ""
	}
	return "a drill says that last good could not be restored: " + e.drill.Problem
}
