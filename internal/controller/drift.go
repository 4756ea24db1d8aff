package controller

import (
	"context"
	"fmt"
	"strings"
	"time"

	"chaperone.dev/chaperone/internal/manifest"
	"chaperone.dev/chaperone/internal/promotion"
	"chaperone.dev/chaperone/internal/reconcile"
)

// drift watches what one environment runs. A watch only says that something
// changed; whether it is drift, a comparison of the owned fields decides.
type drift struct {
	c      *Controller
	file   promotion.Environment
	digest reconcile.Digest
}

// settle lets a burst of changes, such as a rollout's, pass before comparing.
const settle = 150 * time.Millisecond

// slowest is the pace of corrections where something keeps undoing them, and
// of looks at a cluster that does not answer; patient is that of looks at an
// environment that is not at rest.
const (
	slowest = time.Minute
	patient = 5 * time.Second
)

// seldom is how often is looked though no watch said anything: one can be
// interrupted, and a kind that the cluster did not know when it began has none.
const seldom = 10 * time.Minute

func (d drift) run(ctx context.Context) {
	set, err := d.lastGood(ctx)
	if err != nil {
		return // stopping, or something else runs by now
	}
	changed := make(chan struct{}, 1)
	nudge := func() {
		select {
		case changed <- struct{}{}:
		default:
		}
	}
	nudge() // what happened before the watch began
	d.c.spawn(func() { d.watch(ctx, nudge) })
	wait := settle
	for {
		select {
		case <-ctx.Done():
			return
		case <-changed:
		case <-time.After(d.c.jittered(seldom, 0, 0.1)):
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(wait):
		}
		switch d.compare(ctx, set) {
		case same:
			wait = max(settle, wait/2)
		case differs:
			// Who keeps changing it back is not fought at full speed.
			wait = min(4*wait, slowest)
		case unknown:
			// No change may come to ask for the next look.
			wait = min(4*wait, slowest)
			nudge()
		case early:
			wait = min(2*wait, patient)
			nudge()
		}
	}
}

// lastGood is what should be there. A store that cannot be reached now must not
// leave drift unseen until the next release.
func (d drift) lastGood(ctx context.Context) (manifest.Set, error) {
	const first, longest = 2 * time.Second, time.Minute
	for pause := first; ; pause = min(2*pause, longest) {
		set, err := d.c.bundle(ctx, d.file, d.digest)
		if err == nil {
			return set, nil
		}
		d.log(ctx, "read last good", err)
		select {
		case <-ctx.Done():
			return manifest.Set{}, ctx.Err()
		case <-time.After(pause):
		}
	}
}

// watch begins again after each end, at a bounded pace.
func (d drift) watch(ctx context.Context, nudge func()) {
	const pause = 2 * time.Second
	for ctx.Err() == nil {
		if err := d.c.Cluster.Watch(ctx, d.file, nudge); err != nil {
			d.log(ctx, "watch", err)
		}
		select {
		case <-ctx.Done():
		case <-time.After(pause):
			nudge()
		}
	}
}

// seen is what a comparison came to.
type seen int

const (
	same seen = iota
	differs
	unknown // the cluster could not be asked
	early   // an effect is under way: our own changes look like drift from within them
)

// compare tells the loop whether anything drifted, and the caller too.
func (d drift) compare(ctx context.Context, set manifest.Set) seen {
	if !d.rests(ctx) {
		return early // an effect can take long, and each look costs requests
	}
	differences, err := d.c.Cluster.Drift(ctx, d.file, set)
	if err != nil {
		d.log(ctx, "compare", err)
		return unknown
	}
	told := make(chan bool, 1)
	d.c.post(ctx, func() {
		d.c.change(d.file.ID, func(e *reconcile.Environment) {
			rests := d.atRest(*e)
			told <- rests
			if !rests {
				return
			}
			e.Drifted = len(differences) > 0
			if e.Drifted {
				d.c.environment(d.file.ID).notes[promotion.Drifted] = describe(differences)
			}
		})
	})
	switch {
	case !answered(ctx, told):
		return early
	case len(differences) > 0:
		return differs
	}
	return same
}

// rests asks the loop whether the environment is at rest.
func (d drift) rests(ctx context.Context) bool {
	told := make(chan bool, 1)
	d.c.post(ctx, func() {
		e, _ := d.c.world.Find(d.file.ID)
		told <- d.atRest(e)
	})
	return answered(ctx, told)
}

func (d drift) atRest(e reconcile.Environment) bool {
	return e.Journal.Attempt.Stage == reconcile.StageNone && e.Busy == reconcile.ActionNone && e.Journal.Running.Digest == d.digest
}

func answered(ctx context.Context, told <-chan bool) bool {
	select {
	case yes := <-told:
		return yes
	case <-ctx.Done():
		return false
	}
}

func describe(differences []string) string {
	const shown = 3
	text := strings.Join(differences[:min(shown, len(differences))], "; ")
	if more := len(differences) - shown; more > 0 {
		text += fmt.Sprintf("; and %d more", more)
	}
	return "changed on the cluster: " + text
}

func (d drift) log(ctx context.Context, doing string, err error) {
	if ctx.Err() == nil {
		d.c.Log.Warn(doing, "environment", d.file.ID.String(), "revision", "", "reason", promotion.Drifted, "err", err)
	}
}
