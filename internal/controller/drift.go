package controller

import (
	"context"
	"fmt"
	"strings"
	"time"

	"chaperone.dev/chaperone/internal/fault"
	"chaperone.dev/chaperone/internal/manifest"
	"chaperone.dev/chaperone/internal/promotion"
	"chaperone.dev/chaperone/internal/reconcile"
)

// drift watches one environment for as long as it stays in one place. A watch
// only says that something changed; whether it is drift, a comparison of the
// owned fields decides.
type drift struct {
	c     *Controller
	file  promotion.Environment // for its place; the rest of it may be another by now
	woken chan struct{}
	right chan struct{} // what differed has been put right
	began time.Time     // first look in vain since the last that was answered; the loop of run only
	known bool          // one was answered; likewise
}

// soon lets what belongs together arrive before comparing: a drifted object
// comes with other changes, and one comparison is enough for all of them.
const soon = 20 * time.Millisecond

// slowest is the pace of corrections where something keeps undoing them; patient
// is that of looks where all that differs is left to somebody else, and blindly
// that of looks at a cluster that does not answer.
const (
	slowest = time.Minute
	patient = 5 * time.Second
	blindly = 20 * time.Second
)

// passes is how long a cluster that has answered may not before that is told: an
// API server that begins anew is no news.
const passes = 5 * time.Second

// seldom is how often is looked though no watch said anything: one can be
// interrupted, and a kind that the cluster did not know when it began has none.
const seldom = 10 * time.Minute

func newDrift(c *Controller, file promotion.Environment) *drift {
	return &drift{c: c, file: file, woken: make(chan struct{}, 1), right: make(chan struct{}, 1)}
}

// wake asks for a comparison. It does not block.
func (d *drift) wake() { signal(d.woken) }

// corrected tells that what differed has been put right: what differs from now on is
// another edit, and not to wait for it. It does not block.
func (d *drift) corrected() { signal(d.right) }

func signal(to chan<- struct{}) {
	select {
	case to <- struct{}{}:
	default:
	}
}

func (d *drift) run(ctx context.Context) {
	d.c.spawn(func() { d.watch(ctx) })
	d.c.spawn(func() { d.audit(ctx) })
	d.c.spawn(func() { d.drills(ctx) })
	wait, idle := soon, seldom
	for {
		select {
		case <-d.woken:
		case <-time.After(d.c.jittered(idle, 0, 0.1)):
		case <-ctx.Done():
		}
		select {
		case <-time.After(wait):
		case <-d.right:
			wait = soon
		case <-ctx.Done():
			return
		}
		select {
		case <-d.woken: // what has come meanwhile is seen now
		default:
		}
		began := d.c.Now()
		result, until := d.compare(ctx)
		// Whoever writes all the time, to no effect for us, keeps us half busy at most.
		least := max(soon, min(d.c.Now().Sub(began), slowest))
		wait, idle = d.pace(result, wait, least), seldom
		if left := until.Sub(d.c.Now()); !until.IsZero() && left < seldom {
			idle = max(left, time.Second)
		}
	}
}

// pace is how long to wait before the next comparison.
func (d *drift) pace(result seen, wait, least time.Duration) time.Duration {
	switch result {
	case same:
		// What differed is put right: the next edit is another one, and not to wait
		// for it. Who undoes a correction each time is met by the fights.
		return least
	case differs:
		// Who keeps changing it back is not fought at full speed.
		return max(least, min(4*wait, slowest))
	case contended:
		return max(least, min(2*wait, patient))
	case unknown:
		d.wake() // no change may come to ask for the next look
		return max(least, min(4*wait, blindly))
	}
	return wait // an effect is under way; the loop wakes when it has ended
}

// watch begins again after each end, at a bounded pace, and says once why.
func (d *drift) watch(ctx context.Context) {
	const shortest = 2 * time.Second
	for pause, said := shortest, ""; ctx.Err() == nil; {
		began := d.c.Now()
		err := d.c.Cluster.Watch(ctx, d.file, d.wake)
		if d.c.Now().Sub(began) > blindly {
			pause, said = shortest, ""
		}
		if err != nil && err.Error() != said {
			said = err.Error()
			d.log(ctx, "watch", promotion.ClusterUnavailable, err)
		}
		select {
		case <-ctx.Done():
		case <-time.After(pause):
			d.wake()
		}
		pause = min(2*pause, blindly)
	}
}

// seen is what a comparison came to.
type seen int

const (
	same seen = iota
	differs
	contended // what differs is all somebody else's by now
	unknown   // the cluster, or last good, could not be asked
	early     // not at rest: our own changes look like drift from within them
)

// compare tells the loop whether anything drifted, and the caller too. until is
// when what is contended may be put back again.
func (d *drift) compare(ctx context.Context) (result seen, until time.Time) {
	file, digest, rests := d.atRest(ctx)
	if !rests {
		return early, until // an effect can take long, and each look costs requests
	}
	found, err := d.c.Cluster.Drift(ctx, file, d.c.lastGood(file, digest))
	if err != nil {
		d.blind(ctx, digest, err)
		return unknown, until
	}
	d.began, d.known = time.Time{}, true
	told := make(chan bool, 1)
	d.c.post(ctx, func() {
		e := d.c.environment(d.file.ID)
		d.c.change(d.file.ID, func(world *reconcile.Environment) {
			rests := restsOn(*world) == digest
			if rests {
				world.Drifted, world.Contended, world.Blind = len(found.Differs) > 0, len(found.Contended) > 0, ""
				if len(found.Refused) > 0 {
					world.Blind, e.notes[promotion.CorrectionRejected] = promotion.CorrectionRejected, describe("changed on the cluster, and cannot be put back", found.Refused)
				}
				e.notes[promotion.Drifted] = describe("changed on the cluster", found.Differs)
				e.notes[promotion.Contended] = describe("no longer put back", found.Contended)
			} else {
				e.resting = ""
			}
			told <- rests
		})
	})
	if again := d.c.Now().Add(slowest); len(found.Refused) > 0 && (found.Until.IsZero() || again.Before(found.Until)) {
		found.Until = again // what is put right elsewhere, no watch of ours tells
	}
	switch {
	case !answered(ctx, told):
		return early, until
	case len(found.Differs) > 0:
		return differs, found.Until
	case len(found.Contended)+len(found.Refused) > 0:
		return contended, found.Until
	}
	return same, until
}

// blind tells that what is there could not be compared, unless that may pass: an
// environment that nobody can look at must not go on saying that all is well.
func (d *drift) blind(ctx context.Context, digest reconcile.Digest, err error) {
	if ctx.Err() != nil {
		return
	}
	reason := promotion.ClusterUnavailable
	if fault.IsTerminal(err) {
		reason = promotion.DriftUnknown
	}
	now := d.c.Now()
	if d.began.IsZero() {
		d.began = now
	}
	d.log(ctx, "compare", reason, err)
	if d.known && now.Sub(d.began) < passes && reason == promotion.ClusterUnavailable {
		return
	}
	text := "whether it runs as verified cannot be told: " + err.Error()
	d.c.post(ctx, func() {
		e := d.c.environment(d.file.ID)
		d.c.change(d.file.ID, func(world *reconcile.Environment) {
			if restsOn(*world) == digest {
				world.Blind, e.notes[reason] = reason, text
			}
		})
	})
}

// atRest asks the loop for the environment as it is now.
func (d *drift) atRest(ctx context.Context) (file promotion.Environment, digest reconcile.Digest, rests bool) {
	type now struct {
		file   promotion.Environment
		digest reconcile.Digest
	}
	told := make(chan now, 1)
	d.c.post(ctx, func() {
		world, _ := d.c.world.Find(d.file.ID)
		e := d.c.environment(d.file.ID)
		digest := restsOn(world)
		if digest == "" {
			e.resting = "" // wake when it rests again
		}
		told <- now{e.file, digest}
	})
	select {
	case e := <-told:
		return e.file, e.digest, e.digest != ""
	case <-ctx.Done():
		return file, "", false
	}
}

// restsOn is what an environment rests on: last good, while nothing is under
// way but a prune that waits for its next try.
func restsOn(e reconcile.Environment) reconcile.Digest {
	if e.Fault != "" || !e.Rests() {
		return ""
	}
	return e.Journal.LastGood.Digest
}

func answered(ctx context.Context, told <-chan bool) bool {
	select {
	case yes := <-told:
		return yes
	case <-ctx.Done():
		return false
	}
}

// lastGood is what should be there.
func (c *Controller) lastGood(file promotion.Environment, digest reconcile.Digest) LastGood {
	return LastGood{Digest: digest, Read: func(ctx context.Context) (manifest.Set, error) {
		set, err := c.bundle(ctx, file, digest)
		if err != nil {
			return set, fmt.Errorf("read last good: %w", err)
		}
		return set, nil
	}}
}

// describe is short enough for an Event.
func describe(what string, differences []string) string {
	if len(differences) == 0 {
		return ""
	}
	const shown = 3
	text := what + ": " + strings.Join(differences[:min(shown, len(differences))], "; ")
	if more := len(differences) - shown; more > 0 {
		text += fmt.Sprintf("; and %d more", more)
	}
	return text
}

func (d *drift) log(ctx context.Context, doing string, reason promotion.Reason, err error) {
	if ctx.Err() == nil {
		d.c.Log.Warn(doing, "environment", d.file.ID.String(), "revision", "", "reason", reason, "err", err)
	}
}

// watchDrift keeps one watch for each environment that has something to lose, and
// has it look when the environment comes to rest.
func (c *Controller) watchDrift(ctx context.Context) {
	for _, world := range c.world.Environments {
		e := c.environment(world.ID)
		e.watch(ctx, c, watchedPlace(world, e.file))
		if e.drift == nil {
			continue
		}
		resting := ""
		if digest := restsOn(world); digest != "" {
			resting = fmt.Sprint(digest, e.file.IgnoreDrift)
		} else if world.Blind != "" && !lasting(world.Journal.Attempt.Stage) {
			c.change(world.ID, func(e *reconcile.Environment) { e.Blind = "" }) // what is under way says how it goes
		}
		if resting != "" && resting != e.resting {
			e.drift.wake()
		}
		e.resting = resting
	}
	for id, e := range c.environments {
		if _, found := c.world.Find(id); !found {
			e.watch(ctx, c, "")
		}
	}
}

// lasting are the stages that say nothing about what could not be looked at, or
// put back.
func lasting(s reconcile.Stage) bool {
	return s == reconcile.StageNone || s == reconcile.StageCorrecting
}

// watchedPlace is where an environment has something to lose, as one word. A
// release on its way, or a file with a typo, does not end a watch: to begin one
// costs a list of everything.
func watchedPlace(world reconcile.Environment, file promotion.Environment) string {
	if world.Journal.LastGood.Digest == "" || world.Fault == promotion.Removed || world.Fault == promotion.UnreadableRecord {
		return ""
	}
	return fmt.Sprint(file.ID, file.Target, file.IgnoreDrift) // a watch goes by what is left to others
}

// watch begins, ends or changes the watch.
func (e *environment) watch(ctx context.Context, c *Controller, place string) {
	if place == e.watching {
		return
	}
	if e.unwatch != nil {
		e.unwatch()
	}
	e.watching, e.unwatch, e.drift, e.resting = place, nil, nil, ""
	if place == "" {
		return
	}
	watching, cancel := context.WithCancel(ctx)
	d := newDrift(c, e.file)
	e.unwatch, e.drift = cancel, d
	c.spawn(func() { d.run(watching) })
}
