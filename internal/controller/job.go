package controller

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"time"

	"chaperone.dev/chaperone/internal/fault"
	"chaperone.dev/chaperone/internal/manifest"
	"chaperone.dev/chaperone/internal/promotion"
	"chaperone.dev/chaperone/internal/reconcile"
	"chaperone.dev/chaperone/internal/source"
	"chaperone.dev/chaperone/internal/state"
)

// job is one effect on its way, with its own copy of all it needs: the loop
// goes on meanwhile.
type job struct {
	c              *Controller
	action         reconcile.Action
	file           promotion.Environment
	world          reconcile.World // of this environment alone, the effect begun
	before         reconcile.Journal
	changed        bool // beginning it changed the journal
	recorder       *recorder
	commit         source.Commit
	credit         credit
	rivals         int    // how often another writer was first, in a row
	evidence       string // of the last failed verification
	upstream       string // what speaks for a promotion
	foretold       *shown // what success will be shown as
	foretoldPruned *shown // likewise, where nothing is to be pruned after it
}

// ended is what came of an effect.
type ended struct {
	result reconcile.Result
	note   string // in the words of what went wrong, for people
	log    string // the last lines of the Jobs that did not pass
}

// start begins an action that was decided.
func (c *Controller) start(ctx context.Context, a reconcile.Action) {
	switch a.Kind {
	case reconcile.ActionEvaluate:
		c.startEvaluation(ctx, a)
		return
	case reconcile.ActionCancel:
		if cancel := c.environment(a.Environment).cancel; cancel != nil {
			cancel()
		}
		return
	}
	before, _ := c.world.Find(a.Environment)
	reconcile.BeginIn(&c.world, a)
	after, _ := c.world.Find(a.Environment)
	e := c.environment(a.Environment)
	if e.recorder == nil {
		e.recorder = c.newRecorder(state.Record{ID: a.Environment, Environment: e.file})
	}
	j := &job{
		c: c, action: a, file: e.file, recorder: e.recorder,
		world:   reconcile.World{Now: c.world.Now, Environments: []reconcile.Environment{after}},
		before:  before.Journal,
		changed: !reflect.DeepEqual(before.Journal, after.Journal),
		commit:  e.commits[a.Release.Revision],
		credit:  e.credits[a.Release.Revision],
		rivals:  e.rivals,
		// before it runs: the loop goes on meanwhile
		foretold: c.foretell(a, false),
	}
	if a.Kind == reconcile.ActionVerify {
		j.foretoldPruned = c.foretell(a, true)
	}
	switch a.Kind {
	case reconcile.ActionMove:
		j.file = e.next
	case reconcile.ActionPropose:
		j.upstream = c.upstreamEvidence(e.file.After)
	}
	c.Log.Info("begin", "environment", a.Environment.String(), "action", a.Kind, "revision", a.Release.Revision,
		"digest", a.Release.Digest, "reason", a.Reason)
	run, cancel := context.WithCancel(ctx)
	if a.Kind == reconcile.ActionVerify || a.Kind == reconcile.ActionWatch {
		e.cancel = cancel
	}
	c.spawn(func() {
		defer cancel()
		j.run(run, ctx)
	})
}

// intentWithin bounds the time from a decision to its effect: later it may be
// a freeze, or the verdict that it rests on may be another.
const intentWithin = 30 * time.Second

// run stores the intent, has the effect, stores the outcome and tells the
// loop. life ends with the daemon; ctx may end before, when a verification is
// called off.
func (j *job) run(ctx, life context.Context) {
	soon, cancel := context.WithTimeoutCause(life, intentWithin, errLate)
	err := j.prepare(soon)
	late := context.Cause(soon)
	cancel()
	if err != nil {
		j.fenced(life, errors.Join(err, late))
		return
	}
	if requests := j.recorder.latest().Requests; j.stoppedBy(requests) {
		j.giveBack(life, requests)
		return
	}
	j.evidence = j.recorder.latest().Evidence
	began := j.c.Now()
	end := j.effect(ctx)
	end.result.Action = j.action
	if end.log != "" { // it is told to fewer people than this
		end.note += fmt.Sprintf("; `chaperone why %s` shows what it wrote last", j.action.Environment)
	}
	j.c.Telemetry.Step(string(j.action.Kind), j.c.Now().Sub(began))
	if life.Err() != nil {
		return // stopping: the journal says what was under way
	}
	now := j.c.Now()
	j.world.Now = now
	observed := reconcile.Observe(j.world, end.result).Environments[0].Journal
	var told *shown
	if err := j.recorder.save(life, j.journal(), func(r *state.Record) {
		r.Journal = observed
		if told = j.foretold; end.result.Pruned {
			told = j.foretoldPruned
		}
		told = told.come(end.result.Outcome, now, r)
		if j.action.Kind == reconcile.ActionMove {
			r.Environment = j.file
		}
		if end.result.Reason == promotion.VerificationFailed && end.note != "" {
			r.Evidence = end.note
		}
	}); err != nil {
		j.fenced(life, err)
		return
	}
	if end.result.Pruned && observed.LastGood.Digest == j.action.Release.Digest {
		j.keepBundles(life, observed)
	}
	j.recordRelease(life, observed, end)
	j.c.Telemetry.Ended(j.action.Kind, j.action.Environment, end.result.Outcome)
	j.c.post(life, func() { j.c.observed(end, observed, now, told) })
}

// errLate: what was decided is too old to act on.
var errLate = fmt.Errorf("the intent could not be stored within %s", intentWithin)

// stoppedBy reports whether a pause was stored before the intent was: the
// answer to that write tells, however late the watch is.
func (j *job) stoppedBy(requests state.Requests) bool {
	if requests.Pause == nil || !j.touches() {
		return false
	}
	until := requests.Pause.Until
	return until.IsZero() || until.After(j.c.Now())
}

// giveBack takes an intent back that had no effect.
func (j *job) giveBack(ctx context.Context, requests state.Requests) {
	before := j.before
	if err := j.recorder.save(ctx, j.journal(), func(r *state.Record) { r.Journal = before }); err != nil {
		j.fenced(ctx, err)
		return
	}
	id := j.action.Environment
	j.c.post(ctx, func() {
		j.c.change(id, func(e *reconcile.Environment) { e.Busy, e.Journal = reconcile.ActionNone, before })
		j.c.requested(id, requests)
	})
}

// prepare makes sure that what is about to happen can be taken up again after
// a crash: the bundle first, then the intent.
func (j *job) prepare(ctx context.Context) error {
	if j.action.Kind == reconcile.ActionApply {
		set, err := j.render(ctx)
		if err == nil {
			err = j.c.Store.PutBundle(ctx, j.action.Environment, j.action.Release.Digest, set)
		}
		if err == nil {
			j.c.held.put(j.action.Environment, j.action.Release.Digest, set)
		}
		j.count(ctx)
		if err != nil {
			j.c.Log.Warn("store bundle", "environment", j.action.Environment.String(),
				"revision", j.action.Release.Revision, "reason", promotion.ApplyFailed, "err", err)
		}
	}
	if !j.changed && (!j.touches() || j.recorder.confirmed(ctx, j.before, j.file)) {
		return nil
	}
	journal := j.journal()
	return j.recorder.save(ctx, j.before, func(r *state.Record) {
		r.Journal = journal
		if j.action.Kind != reconcile.ActionMove { // it runs in the old place until it has moved
			r.Environment = j.file
		}
	})
}

// touches reports whether an effect changes what is outside. One that goes on
// from a stage stored earlier changes no journal as it begins: its intent is
// stored. It is made sure of all the same that it is still what is stored: a
// replica whose journal is an old one must not prune, restore or revert by it.
func (j *job) touches() bool {
	switch j.action.Kind {
	case reconcile.ActionAdvance, reconcile.ActionVerify, reconcile.ActionWatch, reconcile.ActionBlame, reconcile.ActionGiveUp,
		reconcile.ActionRetry, reconcile.ActionMove:
		return false
	}
	return true
}

// journal is the one with which the effect began.
func (j *job) journal() reconcile.Journal { return j.world.Environments[0].Journal }

// fenced gives the environment back to the loop as the store has it, after a
// while: two replicas that act again at once would undo each other's writes
// for ever.
func (j *job) fenced(ctx context.Context, err error) {
	if ctx.Err() != nil {
		return
	}
	id := j.action.Environment
	j.c.held.drop(id) // the other writer may have let go of the bundle
	j.c.Log.Warn("not begun, or not stored; reading anew", "environment", id.String(), "revision", j.action.Release.Revision,
		"reason", j.action.Reason, "action", j.action.Kind, "err", err)
	select {
	case <-ctx.Done():
		return
	case <-time.After(j.c.rivalPause(j.rivals)):
	}
	record, err := j.recorder.renew(ctx)
	if err != nil {
		return // stopping
	}
	j.c.post(ctx, func() {
		j.c.change(id, func(e *reconcile.Environment) { e.Busy, e.Journal = reconcile.ActionNone, record.Journal })
		e := j.c.environment(id)
		e.seen(record)
		j.recorder.hide()
		e.rivals++
	})
}

// rivalPause is random, so that of two replicas one goes first, and grows, so
// that it has the time to finish.
func (c *Controller) rivalPause(before int) time.Duration {
	longest := time.Second << min(before, 5)
	return longest/4 + time.Duration(c.Rand()*float64(longest))
}

// change edits one environment of the world; for the loop only, which is the
// only one that looks at it.
func (c *Controller) change(id promotion.ID, f func(*reconcile.Environment)) {
	at, found := slices.BinarySearchFunc(c.world.Environments, id, func(e reconcile.Environment, id promotion.ID) int { return e.ID.Compare(id) })
	if found {
		f(&c.world.Environments[at])
	}
}

// observed folds an outcome that is stored into the world.
func (c *Controller) observed(end ended, stored reconcile.Journal, now time.Time, told *shown) {
	a := end.result.Action
	e := c.environment(a.Environment)
	e.rivals, e.foretold = 0, nil
	if e.recorder.holds(told) { // and not what was shown since
		e.foretold = told
	}
	c.world.Now = now
	before, _ := c.world.Find(a.Environment)
	reconcile.ObserveIn(&c.world, end.result)
	// The file may have changed meanwhile; what is stored was decided by the old one.
	c.change(a.Environment, func(e *reconcile.Environment) { e.Journal = stored })
	if stored.Attempt.Stage == reconcile.StageNone || stored.Attempt.Stage == reconcile.StageBisecting {
		c.held.drop(a.Environment)
	}
	if before.Journal.LastGood != stored.LastGood {
		c.upstreamMoved(a.Environment)
	}
	if before.Fault == promotion.Removed {
		c.takeOver()
	}
	level := c.Log.Info
	if end.result.Outcome != reconcile.OutcomeDone {
		level = c.Log.Warn
	}
	level("end", "environment", a.Environment.String(), "action", a.Kind, "revision", a.Release.Revision,
		"outcome", end.result.Outcome, "reason", end.result.Reason, "detail", end.note)
	e.note(end)
	switch a.Kind {
	case reconcile.ActionVerify, reconcile.ActionWatch:
		e.cancel = nil
	case reconcile.ActionRevert:
		c.Poll() // the revert is the newest commit
	case reconcile.ActionCorrect:
		if e.drift != nil && end.result.Outcome == reconcile.OutcomeDone {
			e.drift.corrected()
		}
	case reconcile.ActionMove:
		e.file, e.next = e.next, promotion.Environment{}
		e.generation++
		c.change(a.Environment, func(world *reconcile.Environment) {
			world.Candidates, world.Spec = nil, c.specOf(e.file)
			world.Drifted, world.Contended, world.Blind = false, false, ""
		})
	}
	c.markRewritten()
}

// upstreamMoved has what comes after an environment judged anew: rules may look
// at what upstream has verified.
func (c *Controller) upstreamMoved(id promotion.ID) {
	for i := range c.world.Environments {
		if e := &c.world.Environments[i]; slices.Contains(e.Spec.After, id) {
			good := e.Journal.LastGood.Digest // stays known: it is at rest on that
			e.Candidates = slices.DeleteFunc(slices.Clone(e.Candidates), func(k reconcile.Candidate) bool { return k.Release.Digest != good })
			c.environment(e.ID).generation++
		}
	}
}

// note keeps what went wrong for the sentence that people read.
func (e *environment) note(end ended) {
	if end.note == "" || end.result.Reason == "" && len(end.result.Suspects) == 0 {
		return
	}
	e.notes[end.result.Reason] = end.note
	if end.result.Action.Kind == reconcile.ActionWatch {
		e.notes[promotion.Regressed] = end.note // whatever is made of it
	}
	if len(end.result.Suspects) > 1 {
		e.notes[promotion.SeveralSuspects] = end.note
	}
}

// effect has the action's effect.
func (j *job) effect(ctx context.Context) ended {
	switch j.action.Kind {
	case reconcile.ActionAdvance, reconcile.ActionGiveUp, reconcile.ActionRetry, reconcile.ActionMove:
		return ended{result: reconcile.Result{Outcome: reconcile.OutcomeDone}} // the journal is all
	case reconcile.ActionPropose:
		return j.propose(ctx)
	case reconcile.ActionWithdraw:
		return j.withdraw(ctx)
	case reconcile.ActionApply:
		return j.apply(ctx)
	case reconcile.ActionVerify:
		return j.alone(ctx, j.verify(ctx))
	case reconcile.ActionWatch:
		return j.watch(ctx)
	case reconcile.ActionPrune:
		return j.prune(ctx)
	case reconcile.ActionUndo:
		return j.undo(ctx)
	case reconcile.ActionRestore:
		if j.journal().Running.Digest == "" {
			// Renamed: it is taken over under the new name. Nothing has failed, and
			// what else is there is pruned after the next release, under the guard.
			return j.withLastGood(ctx, promotion.RestoreFailed, func(ctx context.Context, env promotion.Environment, set manifest.Set) error {
				return j.c.Cluster.Apply(ctx, env, set)
			})
		}
		return j.withLastGood(ctx, promotion.RestoreFailed, j.c.Cluster.Restore)
	case reconcile.ActionCorrect:
		return j.correct(ctx)
	case reconcile.ActionBlame:
		return j.blame(ctx)
	case reconcile.ActionRevert:
		return j.revert(ctx)
	}
	return ended{result: reconcile.Result{Outcome: reconcile.OutcomeFailed},
		note: fmt.Sprintf("unknown action %q", j.action.Kind)}
}

// render builds the release to be applied, and makes sure that it is that
// release and no other.
func (j *job) render(ctx context.Context) (manifest.Set, error) {
	release := j.action.Release
	snapshot, err := j.c.Source.Snapshot(release.Revision)
	if err == nil {
		set, digest, renderErr := j.c.Renderer.Render(ctx, snapshot, j.file.Path)
		if renderErr == nil && reconcile.Digest(digest) == release.Digest {
			return set, nil
		}
		err = renderErr
	}
	stored, bundleErr := j.c.bundle(ctx, j.file, release.Digest)
	if bundleErr == nil {
		return stored, nil
	}
	return manifest.Set{}, errors.Join(fmt.Errorf("render %s again: not the release that was decided on", release.Revision.Short()), err, bundleErr)
}

func (j *job) apply(ctx context.Context) ended {
	set, err := j.c.bundle(ctx, j.file, j.action.Release.Digest)
	if err != nil {
		// Without a stored bundle it could not be restored later: do not begin.
		return applyEnded(fmt.Errorf("read bundle: %w", err))
	}
	if j.journal().Attempt.Step > 0 {
		return j.applyStep(ctx, set)
	}
	return applyEnded(j.c.Cluster.Apply(ctx, j.file, set))
}

// applyEnded tells what an apply's error means for the release.
func applyEnded(err error) ended {
	var refusal *Refusal
	switch {
	case err == nil:
		return ended{result: reconcile.Result{Outcome: reconcile.OutcomeDone}}
	case errors.Is(err, context.Canceled):
		return ended{result: reconcile.Result{Outcome: reconcile.OutcomeInterrupted}}
	case errors.As(err, &refusal) && refusal.Reason == promotion.VerificationFailed:
		end := failed(reconcile.OutcomeFailed, refusal.Reason, err)
		end.log = refusal.Log
		return end
	case errors.As(err, &refusal):
		return failed(reconcile.OutcomeRejected, refusal.Reason, err)
	case fault.IsTerminal(err):
		return failed(reconcile.OutcomeFailed, promotion.ApplyFailed, err)
	}
	return failed(reconcile.OutcomeRetry, promotion.ClusterUnavailable, err)
}

func failed(outcome reconcile.Outcome, reason promotion.Reason, err error) ended {
	return ended{result: reconcile.Result{Outcome: outcome, Reason: reason}, note: err.Error()}
}

// withLastGood applies the stored bundle of last good. Git is not needed.
func (j *job) withLastGood(ctx context.Context, terminal promotion.Reason,
	do func(context.Context, promotion.Environment, manifest.Set) error) ended {
	set, err := j.c.goodSet(ctx, j.file, j.journal().LastGood)
	if err != nil {
		return failed(reconcile.OutcomeFailed, terminal, err)
	}
	return lastGoodEnded(do(ctx, j.file, set), terminal)
}

// lastGoodEnded: what was good once is not rejected like a release.
func lastGoodEnded(err error, terminal promotion.Reason) ended {
	end := applyEnded(err)
	switch end.result.Outcome {
	case reconcile.OutcomeFailed, reconcile.OutcomeRejected:
		end.result.Outcome, end.result.Reason = reconcile.OutcomeFailed, terminal
	}
	return end
}

// correct puts back what drifted.
func (j *job) correct(ctx context.Context) ended {
	good := j.c.lastGood(j.file, j.journal().LastGood.Digest)
	read, unread := good.Read, error(nil)
	good.Read = func(ctx context.Context) (manifest.Set, error) {
		var set manifest.Set
		set, unread = read(ctx)
		return set, unread
	}
	err := j.c.Cluster.Correct(ctx, j.file, good)
	if unread != nil && err != nil {
		return failed(reconcile.OutcomeFailed, promotion.ApplyFailed, err)
	}
	return lastGoodEnded(err, promotion.ApplyFailed)
}
