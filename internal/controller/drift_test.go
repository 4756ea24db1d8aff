package controller

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"chaperone.dev/chaperone/internal/fault"
	"chaperone.dev/chaperone/internal/manifest"
	"chaperone.dev/chaperone/internal/promotion"
	"chaperone.dev/chaperone/internal/reconcile"
)

// watching is the drift watch of an environment with the loop that it posts to.
type watching struct {
	*Controller
	ctx  context.Context
	stop context.CancelFunc
}

func watchStaging(t *testing.T, here *actor, stage reconcile.Stage) *watching {
	t.Helper()
	store := stored(stage)
	store.record.Journal.Running = store.record.Journal.LastGood
	w := &watching{Controller: replica(t, store, here)}
	w.ctx, w.stop = context.WithCancel(t.Context())
	w.watchDrift(w.ctx)
	return w
}

// pass lets the loop run for a while.
func (w *watching) pass(during time.Duration) {
	over := time.After(during)
	for {
		select {
		case event := <-w.events:
			event()
			w.watchDrift(w.ctx)
		case <-over:
			return
		}
	}
}

func (w *watching) edit(f func(*reconcile.Environment)) {
	w.change(staging, f)
	w.watchDrift(w.ctx)
}

func (w *watching) end() reconcile.Environment {
	w.stop()
	w.work.Wait()
	e, _ := w.world.Find(staging)
	return e
}

// watched runs the drift watch for a while.
func watched(t *testing.T, here *actor, stage reconcile.Stage, during time.Duration) reconcile.Environment {
	t.Helper()
	w := watchStaging(t, here, stage)
	w.pass(during)
	return w.end()
}

func answers(all ...Drift) []func() (Drift, error) {
	var looks []func() (Drift, error)
	for _, d := range all {
		looks = append(looks, func() (Drift, error) { return d, nil })
	}
	return looks
}

var (
	none  = Drift{}
	gone  = Drift{Differs: []string{"Deployment/demo/app is gone"}}
	fight = Drift{Contended: []string{"Deployment/demo/app: spec.paused is true, not false (by x); chaperone and x keep changing it"}}
)

// An object was deleted while the API server was in trouble: no further change
// comes to ask for another look.
func TestDriftIsLookedForAgainAfterAnError(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		silence := func() (Drift, error) { return Drift{}, errors.New("no answer") }
		here := &actor{drift: append([]func() (Drift, error){silence, silence}, answers(gone)...)}
		if e := watched(t, here, reconcile.StageNone, time.Minute); !e.Drifted || len(here.done) != 3 {
			t.Errorf("drifted: %t after looks %v; want it seen by the third", e.Drifted, here.done)
		}
	})
}

// One edit after the other, each of which is put right: the last is seen as soon as
// the first, however soon it comes. What is not put right is looked at less and less.
func TestEditsThatArePutRightAreSeenAtOnce(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		corrected bool
		most      time.Duration
	}{"put right": {true, time.Second}, "not put right": {false, time.Hour}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				here := &actor{drift: answers(gone), watch: make(chan func(), 1)}
				w := watchStaging(t, here, reconcile.StageNone)
				w.pass(time.Second)
				changed := <-here.watch
				began := w.Now()
				for range 6 {
					if test.corrected {
						w.observed(ended{result: reconcile.Result{Outcome: reconcile.OutcomeDone,
							Action: reconcile.Action{Kind: reconcile.ActionCorrect, Environment: staging}}}, journalOf(w), w.Now(), nil)
					}
					looks := len(here.done)
					for changed(); len(here.done) == looks; {
						w.pass(10 * time.Millisecond)
					}
				}
				w.end()
				if took := w.Now().Sub(began); took > test.most || !test.corrected && took < time.Minute {
					t.Errorf("six looks took %s", took)
				}
			})
		})
	}
}

func journalOf(w *watching) reconcile.Journal {
	e, _ := w.world.Find(staging)
	return e.Journal
}

// What no watch tells of is seen all the same, some time.
func TestDriftIsLookedForWithoutAWatch(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		here := &actor{drift: answers(none, gone)}
		if e := watched(t, here, reconcile.StageNone, 15*time.Minute); !e.Drifted || len(here.done) != 2 {
			t.Errorf("drifted: %t after %d looks; want it seen by the second", e.Drifted, len(here.done))
		}
	})
}

// What has not ended must not cost a look at the whole cluster every second; when
// it ends, there is one at once.
func TestDriftIsNotLookedForDuringAnEffect(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		here := &actor{drift: answers(gone), watch: make(chan func(), 1)}
		w := watchStaging(t, here, reconcile.StagePruning)
		w.pass(time.Hour)
		changed := <-here.watch
		changed()
		w.pass(time.Minute)
		if len(here.done) != 0 {
			t.Errorf("%d looks in an hour, want none", len(here.done))
		}
		w.edit(func(e *reconcile.Environment) { e.Journal.Attempt = reconcile.Attempt{} })
		w.pass(50 * time.Millisecond)
		if e := w.end(); !e.Drifted || len(here.done) != 1 {
			t.Errorf("drifted: %t after %d looks within 50 ms of the end, want one", e.Drifted, len(here.done))
		}
	})
}

// A prune can wait for days: for a finalizer, or a person. What is edited meanwhile
// is seen all the same, and told beside it; while it is tried, nobody looks.
func TestPitfall21_DriftIsSeenWhileAPruneWaits(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		here := &actor{drift: answers(none, gone), watch: make(chan func(), 1)}
		w := watchStaging(t, here, reconcile.StagePruning)
		w.edit(func(e *reconcile.Environment) {
			e.Journal.Attempt.Release = e.Journal.LastGood
			e.Journal.Retry = reconcile.Retry{Reason: promotion.MassDeletion, Digest: e.Journal.LastGood.Digest, Tries: 9}
		})
		w.pass(time.Second)
		changed := <-here.watch
		w.edit(func(e *reconcile.Environment) { e.Busy = reconcile.ActionPrune })
		changed()
		w.pass(time.Minute)
		if e, _ := w.world.Find(staging); e.Drifted || len(here.done) != 1 {
			t.Fatalf("drifted: %t after looks %v; want one, before the try", e.Drifted, here.done)
		}
		w.edit(func(e *reconcile.Environment) { e.Busy = reconcile.ActionNone })
		w.pass(50 * time.Millisecond)
		e := w.end()
		if !e.Drifted || len(here.done) != 2 {
			t.Errorf("drifted: %t after looks %v; want it seen between two tries", e.Drifted, here.done)
		}
		told := w.environment(staging).besides(e, reconcile.Status{Reason: promotion.MassDeletion}, "too much")
		if want := "too much; changed on the cluster: Deployment/demo/app is gone"; told != want {
			t.Errorf("tells %q, want %q", told, want)
		}
	})
}

// A watch costs a list of everything owned: releases come and go under one.
func TestDriftWatchOutlivesReleases(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		here := &actor{drift: answers(none), watch: make(chan func(), 10)}
		w := watchStaging(t, here, reconcile.StageNone)
		w.pass(time.Second)
		for _, digest := range []reconcile.Digest{"next", "another"} {
			w.edit(func(e *reconcile.Environment) { e.Journal.Attempt.Stage = reconcile.StageApplying })
			w.pass(time.Second)
			w.edit(func(e *reconcile.Environment) {
				e.Journal.Attempt.Stage = reconcile.StageNone
				e.Journal.Running.Digest, e.Journal.LastGood.Digest = digest, digest
			})
			w.pass(time.Second)
		}
		w.edit(func(e *reconcile.Environment) { e.Fault = promotion.InvalidEnvironment })
		w.pass(time.Second)
		w.end()
		if len(here.watch) != 1 || len(here.done) != 3 {
			t.Errorf("%d watches and %d looks, want 1 and one for each release", len(here.watch), len(here.done))
		}
	})
}

// From a change to the decision about it takes a twentieth of a second; who
// keeps changing things back is not fought at that pace.
func TestDriftIsSeenSoonAndFoughtSlowly(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		here := &actor{drift: answers(none, gone), watch: make(chan func(), 1)}
		w := watchStaging(t, here, reconcile.StageNone)
		w.pass(time.Minute)
		changed := <-here.watch
		changed()
		w.pass(25 * time.Millisecond)
		if e, _ := w.world.Find(staging); !e.Drifted {
			t.Fatal("not seen within 25 ms")
		}
		before := len(here.done)
		for range 6000 { // ten minutes
			w.edit(func(e *reconcile.Environment) { e.Drifted = false })
			changed()
			w.pass(100 * time.Millisecond)
		}
		w.end()
		if looks := len(here.done) - before; looks > 20 {
			t.Errorf("%d looks in ten minutes of a fight, want at most 20", looks)
		}
	})
}

// What is contended shows, and is looked at again when it may be put back.
func TestContendedIsLookedAtAgain(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		until := fight
		until.Until = time.Now().Add(4 * time.Minute)
		here := &actor{drift: answers(until, gone)}
		w := watchStaging(t, here, reconcile.StageNone)
		w.pass(time.Minute)
		e, _ := w.world.Find(staging)
		if note := w.environment(staging).notes[promotion.Contended]; e.Drifted || !e.Contended || !strings.Contains(note, "chaperone and x") {
			t.Errorf("drifted: %t, contended: %t, note %q", e.Drifted, e.Contended, note)
		}
		w.pass(4 * time.Minute)
		if e := w.end(); !e.Drifted || e.Contended || len(here.done) != 2 {
			t.Errorf("drifted: %t, contended: %t after looks %v", e.Drifted, e.Contended, here.done)
		}
	})
}

// Last good is read only where a comparison asks for it, as it is at that time.
func TestDriftReadsLastGoodWhenItIsNeeded(t *testing.T) {
	t.Parallel()
	store := stored(reconcile.StageNone)
	c := replica(t, store, &actor{})
	good := c.lastGood(promotion.Environment{ID: staging}, "good")
	c.Store = bundles{store, map[reconcile.Digest]error{"good": errors.New("no answer")}}
	if _, err := good.Read(t.Context()); err == nil || !strings.Contains(err.Error(), "read last good: no answer") {
		t.Errorf("error %v", err)
	}
	c.Store = store
	if _, err := good.Read(t.Context()); err != nil {
		t.Error(err)
	}
}

// bundles is a store of which some cannot be read.
type bundles struct {
	*memory
	broken map[reconcile.Digest]error
}

func (b bundles) Bundle(_ context.Context, _ promotion.ID, digest reconcile.Digest) (manifest.Set, error) {
	return manifest.Set{}, b.broken[digest]
}

// What people read fits into an Event, however much has drifted.
func TestDriftIsToldInShort(t *testing.T) {
	t.Parallel()
	if text := describe("changed on the cluster", slices.Repeat([]string{"x"}, 5)); text != "changed on the cluster: x; x; x; and 2 more" {
		t.Errorf("%q", text)
	}
	if text := describe("changed on the cluster", nil); text != "" {
		t.Errorf("%q for nothing", text)
	}
}

// An environment that nobody can look at must not go on saying that all is well:
// its cluster is gone, or its account may not read any more. A short restart of
// the API server is no news.
func TestWhatCannotBeLookedAtIsTold(t *testing.T) {
	t.Parallel()
	away := func() (Drift, error) {
		return Drift{}, fault.Retryable("discover", "", errors.New("connection refused"))
	}
	denied := func() (Drift, error) {
		return Drift{}, fault.Terminal("list", "ConfigMap/demo/a", errors.New("forbidden"))
	}
	here := func() (Drift, error) { return none, nil }
	for name, test := range map[string]struct {
		looks  []func() (Drift, error)
		during time.Duration
		want   promotion.Reason
	}{
		"away from the start":  {[]func() (Drift, error){away}, 50 * time.Millisecond, promotion.ClusterUnavailable},
		"away for a moment":    {[]func() (Drift, error){here, away, away, away, away, away}, time.Second, ""},
		"away":                 {[]func() (Drift, error){here, away, away, away, away, away, away, away, away, away, away, away}, 30 * time.Second, promotion.ClusterUnavailable},
		"back":                 {[]func() (Drift, error){away, away, here}, time.Minute, ""},
		"may not be looked at": {[]func() (Drift, error){denied}, 50 * time.Millisecond, promotion.DriftUnknown},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				acts := &actor{drift: test.looks, watch: make(chan func(), 1)}
				w := watchStaging(t, acts, reconcile.StageNone)
				w.pass(10 * time.Millisecond)
				changed := <-acts.watch
				w.pass(100 * time.Millisecond)
				changed()
				w.pass(test.during)
				e := w.end()
				if e.Blind != test.want {
					t.Errorf("blind %q after looks %v, want %q", e.Blind, acts.done, test.want)
				}
				if note := w.environment(staging).notes[test.want]; test.want != "" && !strings.Contains(note, "cannot be told: ") {
					t.Errorf("says %q, want why", note)
				}
			})
		})
	}
}

// That every commit advances an environment that it leaves as it is says nothing
// about the cluster.
func TestWhatCannotBeLookedAtStaysSoOnANewCommit(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		acts := &actor{drift: []func() (Drift, error){func() (Drift, error) { return Drift{}, fault.Terminal("list", "", errors.New("forbidden")) }}, watch: make(chan func(), 1)}
		w := watchStaging(t, acts, reconcile.StageNone)
		w.pass(time.Second)
		w.edit(func(e *reconcile.Environment) { e.Busy = reconcile.ActionAdvance })
		w.edit(func(e *reconcile.Environment) { e.Busy = reconcile.ActionNone })
		blind, _ := w.world.Find(staging)
		w.edit(func(e *reconcile.Environment) { e.Journal.Attempt.Stage = reconcile.StageApplying })
		if after := w.end(); blind.Blind != promotion.DriftUnknown || after.Blind != "" {
			t.Errorf("blind %q after an advance, want still; %q in an apply, want none", blind.Blind, after.Blind)
		}
	})
}

// A namespace that somebody deleted cannot be filled again: nothing of it is
// ready, and no rival is to be looked for.
func TestDriftThatCannotBePutBackIsNotReady(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		refused := Drift{Refused: []string{`ConfigMap/demo/a is gone: namespaces "demo" not found`}, Contended: fight.Contended}
		w := watchStaging(t, &actor{drift: answers(refused, refused, none)}, reconcile.StageNone)
		w.pass(time.Second)
		e, _ := w.world.Find(staging)
		w.pass(3 * time.Minute) // the namespace is back, and no watch tells
		if after := w.end(); after.Blind != "" {
			t.Errorf("blind %q still once it could be put back", after.Blind)
		}
		note := w.environment(staging).notes[promotion.CorrectionRejected]
		if e.Blind != promotion.CorrectionRejected || !e.Contended || !strings.Contains(note, `namespaces "demo" not found`) {
			t.Errorf("blind %q, contended %t: %s", e.Blind, e.Contended, note)
		}
	})
}
