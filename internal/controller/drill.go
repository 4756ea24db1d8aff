package controller

import (
	"context"
	"hash/fnv"
	"time"

	"chaperone.dev/chaperone/internal/promotion"
	"chaperone.dev/chaperone/internal/reconcile"
)

const (
	// drillEvery is how often is tried whether last good could be restored.
	drillEvery = 24 * time.Hour
	// drillLook is how often is asked whether it is time; a drill that could not be
	// done, or found a problem, is done again after drillAgain.
	drillLook  = 10 * time.Minute
	drillAgain = time.Hour
	// drillWithin bounds one.
	drillWithin = 30 * time.Minute
)

// Drill is whether last good could be restored.
type Drill struct {
	At      time.Time // zero: not tried by this daemon
	Digest  reconcile.Digest
	Tried   int    // objects
	Problem string // why not; "" where it could
}

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
		file, digest, before, idle := d.drillable(ctx)
		now := d.c.Now()
		failed := before.Problem != "" && now.Sub(before.At) >= drillAgain
		if !idle || !drillDue(d.file.ID, last, now) && !failed {
			continue
		}
		run, stop := context.WithTimeout(ctx, drillWithin)
		d.c.spawn(func() { d.whileIdle(run, stop, digest) })
		began := d.c.Now()
		result, err := d.c.Cluster.Drill(run, file, d.c.lastGood(file, digest))
		stop()
		if err != nil {
			d.log(ctx, "drill", promotion.ClusterUnavailable, err)
			continue // nobody could tell: asked again at the next look
		}
		last = now
		result.At, result.Digest = d.c.Now(), digest
		d.c.Telemetry.Step("drill", result.At.Sub(began))
		d.c.Log.Info("drilled", "environment", file.ID.String(), "revision", "", "reason", promotion.UpToDate, "objects", result.Tried,
			"took", result.At.Sub(began), "problem", result.Problem)
		d.c.post(ctx, func() { d.c.environment(d.file.ID).drill = result })
	}
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
func (d *drift) drillable(ctx context.Context) (file promotion.Environment, digest reconcile.Digest, before Drill, idle bool) {
	type now struct {
		file   promotion.Environment
		digest reconcile.Digest
		before Drill
	}
	told := make(chan now, 1)
	d.c.post(ctx, func() {
		world, _ := d.c.world.Find(d.file.ID)
		e := d.c.environment(d.file.ID)
		digest := world.Journal.LastGood.Digest
		if world.Busy != reconcile.ActionNone || world.Journal.Attempt.Stage != reconcile.StageNone {
			digest = ""
		}
		told <- now{e.file, digest, e.drill}
	})
	select {
	case e := <-told:
		return e.file, e.digest, e.before, e.digest != ""
	case <-ctx.Done():
		return file, "", before, false
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
		if _, now, _, idle := d.drillable(ctx); !idle || now != digest {
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
