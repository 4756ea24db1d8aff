package controller

import (
	"context"
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"chaperone.dev/chaperone/internal/promotion"
	"chaperone.dev/chaperone/internal/reconcile"
	"chaperone.dev/chaperone/internal/source"
	"chaperone.dev/chaperone/internal/state"
)

// history is a memory that keeps what was written.
type history struct {
	*memory
	mu    sync.Mutex
	saves []state.Record
	kept  []reconcile.Digest // bundles, as last asked for
}

func (h *history) KeepBundles(_ context.Context, _ promotion.ID, keep ...reconcile.Digest) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.kept = keep
	return nil
}

func (h *history) keeps() []reconcile.Digest {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.kept
}

func (h *history) Save(ctx context.Context, r state.Record) (state.Record, error) {
	saved, err := h.memory.Save(ctx, r)
	if err == nil {
		h.mu.Lock()
		defer h.mu.Unlock()
		h.saves = append(h.saves, saved)
	}
	return saved, err
}

func (h *history) reasons() []promotion.Reason {
	h.mu.Lock()
	defer h.mu.Unlock()
	var all []promotion.Reason
	for _, r := range h.saves {
		all = append(all, r.Status.Reason)
	}
	return all
}

func (h *history) last() state.Record {
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.saves) == 0 {
		return state.Record{}
	}
	return h.saves[len(h.saves)-1]
}

// first is a replica with a release to apply for the first time.
func first(t *testing.T, a *actor) (*Controller, *history) {
	t.Helper()
	store := &memory{}
	store.record.ID = staging
	c, kept := replica(t, store, a), &history{memory: store}
	c.Store = kept
	e := c.environment(staging)
	e.recorder = c.newRecorder(store.record)
	release := reconcile.Release{Revision: revision(0), Digest: "d1", Policy: "p1"}
	c.world.Head, c.world.History = release.Revision, []source.Revision{release.Revision}
	c.world.Environments[0].Candidates = []reconcile.Candidate{{Release: release, Verdict: reconcile.VerdictAllow, Until: c.world.Now.Add(time.Hour)}}
	return c, kept
}

// turns runs passes until the stored reason is the one wanted.
func turns(ctx context.Context, t *testing.T, c *Controller, h *history, until promotion.Reason) {
	t.Helper()
	deadline := time.After(10 * time.Second)
	for c.pass(ctx); h.last().Status.Reason != until; c.pass(ctx) {
		select {
		case event := <-c.events:
			event()
		case <-time.After(10 * time.Millisecond): // a status is being written
		case <-deadline:
			t.Fatalf("stored are %v, want %s in the end", h.reasons(), until)
		}
	}
}

// A release writes its intent and its outcomes, each with what people see by then.
// Where nothing is to be pruned these are three writes; else, or where that cannot
// be told, that it was verified is the intent of the prune.
func TestOutcomesAreStoredWithTheirStatus(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		on     *actor
		prunes int
	}{
		"nothing to prune":           {&actor{}, 0},
		"something to prune":         {&actor{surplus: true}, 1},
		"who knows what is to prune": {&actor{surplusErr: errors.New("connection refused")}, 1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			c, kept := first(t, test.on)
			turns(ctx, t, c, kept, promotion.UpToDate)
			for range 5 { // what else there is to write would be by now
				c.pass(ctx)
				time.Sleep(time.Millisecond)
			}
			cancel()
			c.work.Wait()
			reasons := []promotion.Reason{promotion.Applying, promotion.Verifying, promotion.Pruning, promotion.UpToDate}
			stages := []reconcile.Stage{reconcile.StageApplying, reconcile.StageVerifying, reconcile.StagePruning, reconcile.StageNone}
			if test.prunes == 0 {
				reasons, stages = slices.Delete(reasons, 2, 3), slices.Delete(stages, 2, 3)
			}
			if got := kept.reasons(); !slices.Equal(got, reasons) {
				t.Errorf("stored %v, want %v", got, reasons)
			}
			if prunes := test.on.counted("prune"); prunes != test.prunes {
				t.Errorf("pruned %d times, want %d", prunes, test.prunes)
			}
			for i, r := range kept.saves {
				if i < len(stages) && r.Journal.Attempt.Stage != stages[i] {
					t.Errorf("%d: stage %v with %s, want %v", i, r.Journal.Attempt.Stage, r.Status.Reason, stages[i])
				}
				if r.Since.IsZero() || r.Message == "" {
					t.Errorf("%d: since %v, message %q", i, r.Since, r.Message)
				}
			}
			if end := kept.last(); end.Message != "runs "+revision(0).Short()+", verified" || end.Status.Phase != reconcile.PhaseReady {
				t.Errorf("at rest: %+v", end)
			}
			if got := kept.keeps(); !slices.Equal(got, []reconcile.Digest{"d1"}) {
				t.Errorf("of the bundles it keeps %v", got)
			}
		})
	}
}

// What comes otherwise than foretold is stored as it is: also where it was shown
// before, and has been overwritten by the outcome.
func TestStatusThatWasForetoldWrongIsPutRight(t *testing.T) {
	t.Parallel()
	for name, shownBefore := range map[string]bool{"paused after the outcome": false, "paused while it was under way": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			c, kept := first(t, &actor{})
			c.pass(ctx)
			outcome := <-c.events // stored by now
			if got := kept.last(); got.Status.Reason != promotion.Verifying || got.Journal.Attempt.Stage != reconcile.StageVerifying {
				t.Fatalf("stored with the outcome: %+v", got.Status)
			}
			c.world.Environments[0].Requests.Paused = true
			if shownBefore {
				e := c.environment(staging)
				world := c.world
				world.Environments = slices.Clone(world.Environments)
				outcome()
				d := reconcile.Decide(c.world)
				e.status, e.message = d.Statuses[0], e.besides(c.world.Environments[0], d.Statuses[0], c.sentence(c.world.Environments[0], e, d.Statuses[0], d))
			} else {
				outcome()
			}
			turns(ctx, t, c, kept, promotion.Paused)
			cancel()
			c.work.Wait()
			if e := c.environment(staging); e.foretold != nil {
				t.Error("what was foretold is still held to be stored")
			}
		})
	}
}

// An effect that does not succeed is not shown as one that did.
func TestFailureIsNotShownAsForetold(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	c, kept := first(t, &actor{apply: &Refusal{Reason: promotion.ApplyRejected, Err: context.DeadlineExceeded}})
	turns(ctx, t, c, kept, promotion.ApplyRejected)
	cancel()
	c.work.Wait()
	if slices.Contains(kept.reasons(), promotion.Verifying) {
		t.Errorf("stored %v", kept.reasons())
	}
}

// published is a Telemetry that keeps the last view.
type published struct {
	silent
	view View
}

func (p *published) Published(v View) { p.view = v }

// A new environment that is only being looked at is shown so, and stored with the
// first thing that comes of it; or as it is, when that takes long.
func TestNewEnvironmentIsStoredOnceSomethingCameOfIt(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	c, kept := first(t, &actor{branch: branch{{"environments/demo/staging.yaml": "x"}}})
	c.world.Environments[0].Candidates = nil
	shown := &published{}
	began := time.Now()
	var passed atomic.Int64 // evaluations look at the clock, too
	c.Telemetry, c.Now = shown, func() time.Time { return began.Add(time.Duration(passed.Load())) }
	c.pass(ctx)
	if got := shown.view.Environments[0]; got.Status.Reason != promotion.Evaluating || got.Message == "" || !got.Since.Equal(began) {
		t.Errorf("shown while it is looked at: %+v", got)
	}
	passed.Store(int64(glance / 2))
	again := c.pass(ctx)
	if got := kept.reasons(); len(got) > 0 || again.After(began.Add(glance)) || again.IsZero() {
		t.Errorf("stored %v, to be looked at again at %v; want it held back for %v", got, again, glance)
	}
	passed.Store(int64(glance))
	c.pass(ctx) // what came of the look waits to be told
	for deadline := time.Now().Add(10 * time.Second); kept.last().Status.Reason != promotion.Evaluating; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("stored are %v, want it told that it takes long", kept.reasons())
		}
	}
	cancel()
	c.work.Wait()
}

// What is shown between an outcome that is stored and the loop's learning of it
// takes the place of what was foretold: that is stored again when it comes true.
func TestStatusShownAfterAnOutcomeIsNotTakenForTheOneForetold(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	c, kept := first(t, &actor{})
	c.pass(ctx)
	outcome := <-c.events // stored by now, and the loop not told yet: its release is being written
	c.world.Environments[0].Requests.Paused = true
	for c.pass(ctx); kept.last().Status.Reason != promotion.Paused; c.pass(ctx) {
		time.Sleep(time.Millisecond)
	}
	c.world.Environments[0].Requests.Paused = false
	outcome()
	c.pass(ctx)
	cancel()
	c.work.Wait()
	if e := c.environment(staging); e.status.Reason != promotion.Verifying || !e.recorder.holds(&shown{status: e.status, message: e.message}) && e.recorder.waiting() == nil {
		t.Errorf("shown is %s, stored %v", e.status.Reason, kept.reasons())
	}
}
