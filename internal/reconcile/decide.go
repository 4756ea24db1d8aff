package reconcile

import (
	"slices"
	"time"

	"chaperone.dev/chaperone/internal/promotion"
	"chaperone.dev/chaperone/internal/source"
)

// Decide says what to do next for every environment, each by itself: one that
// is stuck delays no other. Equal worlds give equal decisions.
func Decide(w World) Decision {
	d := Decision{Statuses: make([]Status, 0, len(w.Environments))}
	for _, e := range w.Environments {
		v := verdict{w: w, e: e, status: Status{Environment: e.ID}}
		v.decide()
		d.Actions = append(d.Actions, v.actions...)
		d.Statuses = append(d.Statuses, v.status)
		for _, at := range []time.Time{v.status.Until, v.again} {
			if at.After(w.Now) && (d.LookAgain.IsZero() || at.Before(d.LookAgain)) {
				d.LookAgain = at
			}
		}
	}
	return d
}

// verdict is the decision about one environment while it is being made.
type verdict struct {
	w       World
	e       Environment
	c       choice
	actions []Action
	status  Status
	again   time.Time
}

func (v *verdict) decide() {
	attempt := v.e.Journal.Attempt
	switch {
	case v.e.Fault != "" && attempt.Stage == StageRestoring:
		// Recovery goes on with the last valid file: a typo pushed in the middle
		// of it must not leave a failed release running.
		v.effect(ActionRestore, attempt.Release, promotion.Restoring)
		return
	case v.e.Fault == promotion.SourceUnavailable:
		// Its file was not read yet, so what was begun goes on with the last one.
	case v.e.Fault == promotion.Removed:
		v.is(PhaseHeld, v.e.Fault)
		return
	case v.e.Fault != "":
		v.is(PhaseInvalid, v.e.Fault)
		return
	case v.e.Spec.Paused:
		v.is(PhaseHeld, promotion.Paused)
		return
	}
	v.c = choose(v.w, v.e)
	v.status.Wanted = v.c.wanted.Release
	v.evaluate()
	switch attempt.Stage {
	case StageNone:
		v.idle()
	case StageApplying:
		v.finishApply()
	case StageVerifying:
		v.verifying()
	case StagePruning:
		v.unlessPreempted(ActionPrune, attempt.Release, promotion.Pruning)
	case StageRestoring:
		v.restoring()
	case StageBlaming:
		v.effect(ActionBlame, attempt.Release, promotion.Reverting)
	case StageReverting:
		v.effect(ActionRevert, attempt.Release, promotion.Reverting)
	case StageCorrecting:
		v.correct()
	}
}

func (v *verdict) is(phase Phase, reason promotion.Reason) {
	v.status.Phase, v.status.Reason = phase, reason
}

// evaluate asks for a candidate beside whatever else goes on: a newer commit
// must be able to preempt a verification.
func (v *verdict) evaluate() {
	switch {
	case v.c.evaluate == "":
		v.again = v.c.wanted.Until
	case v.w.Policy == "" || v.e.Evaluating != "":
	case v.e.EvaluateAt.After(v.w.Now):
		v.again = v.e.EvaluateAt
	default:
		v.act(ActionEvaluate, Release{Revision: v.c.evaluate}, promotion.Evaluating)
	}
}

func (v *verdict) act(kind ActionKind, release Release, reason promotion.Reason) {
	v.actions = append(v.actions, Action{
		Kind: kind, Environment: v.e.ID, Reason: reason, Release: release,
		LastGood: v.e.Journal.LastGood, Guilty: v.guilty(kind),
	})
}

func (v *verdict) guilty(kind ActionKind) (none source.Revision) {
	if kind == ActionRevert {
		return v.e.Journal.Attempt.Guilty
	}
	return none
}

// effect starts an action unless one is under way, or the same one was tried
// a moment ago.
func (v *verdict) effect(kind ActionKind, release Release, reason promotion.Reason) {
	v.is(PhaseProgressing, reason)
	retry := v.e.Journal.Retry
	switch {
	case v.e.Busy != ActionNone:
	case retry.At.After(v.w.Now) && retry.Digest == release.Digest:
		v.is(PhaseWaiting, retry.Reason)
		v.status.Until = retry.At
	default:
		v.act(kind, release, reason)
	}
}

// idle: nothing is under way.
func (v *verdict) idle() {
	switch {
	case v.e.Busy != ActionNone:
		v.is(PhaseProgressing, promotion.Evaluating)
	case v.c.found && v.c.current && v.e.settled():
		v.settledAt()
	case v.c.found && v.c.current:
		// Last good is wanted and something else was left running.
		v.effect(ActionRestore, v.e.Journal.Running, promotion.Restoring)
	case v.c.found && v.w.SourceFault == "" && !v.held():
		v.effect(ActionApply, v.c.candidate.Release, promotion.Applying)
	default:
		v.wait()
	}
}

// settledAt: what runs is last good, and nothing newer may run.
func (v *verdict) settledAt() {
	running := v.e.Journal.LastGood
	allowed := v.c.candidate.Verdict == VerdictAllow
	switch {
	case v.c.newest && allowed && v.c.candidate.Release != running:
		// The same content under a newer commit, or allowed by newer policies.
		v.quiet()
		v.act(ActionAdvance, v.c.candidate.Release, promotion.UpToDate)
	case !v.e.Drifted:
		v.quiet()
	case v.e.Spec.Drift != promotion.DriftCorrect || v.held() || !allowed:
		v.quiet()
		if v.status.Phase == PhaseReady {
			v.status.Reason = promotion.Drifted
		}
	default:
		v.effect(ActionCorrect, v.c.candidate.Release, promotion.Drifted)
	}
}

// quiet: nothing to do; say why the environment is not further.
func (v *verdict) quiet() {
	switch {
	case !v.c.newest:
		v.wait()
	case v.w.SourceFault != "":
		v.is(PhaseReady, v.w.SourceFault)
	case v.c.candidate.Verdict == VerdictDeny:
		v.is(PhaseReady, promotion.PolicyDenied)
	default:
		v.is(PhaseReady, promotion.UpToDate)
	}
}

// held reports whether the hold is about what is wanted now.
func (v *verdict) held() bool {
	hold := v.e.Journal.Hold
	return hold.Reason != "" && v.c.wanted.Release.Digest == hold.Digest
}

// wait: a gate is closed, or there is nothing to run.
func (v *verdict) wait() {
	switch {
	case v.held():
		v.is(PhaseHeld, v.e.Journal.Hold.Reason)
	case v.w.SourceFault != "":
		v.is(PhaseWaiting, v.w.SourceFault)
	case v.w.Policy == "":
		v.is(PhaseWaiting, promotion.PolicyError)
	case v.c.reason == promotion.Quarantined && v.revertComes():
		v.is(PhaseProgressing, promotion.Reverted)
	case v.c.reason != "":
		v.is(PhaseWaiting, v.c.reason)
		v.status.Until = v.c.until
	case v.e.Spec.Pinned && v.e.Spec.Pin == "":
		v.is(PhaseWaiting, promotion.WaitingForPromotion)
	default:
		v.is(PhaseWaiting, promotion.SourceUnavailable)
	}
}

// revertComes reports whether what is wanted was taken back by a commit that
// is not on our line yet. One that is there already was overtaken: somebody
// brought the failed content back, and nothing is on its way.
func (v *verdict) revertComes() bool {
	last := v.e.Journal.LastRevert
	return last.Commit != "" && last.Digest == v.c.wanted.Release.Digest && !slices.Contains(v.w.History, last.Commit)
}

// finishApply: an apply was begun, and its end is not known or was not good.
func (v *verdict) finishApply() {
	attempt := v.e.Journal.Attempt
	switch {
	case v.e.Busy != ActionNone:
		v.is(PhaseProgressing, promotion.Applying)
	case v.undecided():
		v.is(PhaseProgressing, promotion.Evaluating)
	case v.c.found && !v.c.current:
		v.effect(ActionApply, v.c.candidate.Release, promotion.Applying)
	case v.e.Journal.LastGood.Digest != "":
		// What was begun may not run any more, so what it left is taken back.
		v.effect(ActionRestore, attempt.Release, promotion.Restoring)
	default:
		v.wait()
	}
}

// undecided reports whether it is worth waiting for a verdict that is asked
// for. It is not where it cannot be had (no policies, or no Git to read the
// release from), nor where a rule has answered with an error, which counts as
// deny: a cluster that holds half a release is not left so until it can.
func (v *verdict) undecided() bool {
	unreadable := v.w.SourceFault != "" && v.e.EvaluateAt.After(v.w.Now)
	return v.c.pending && v.w.Policy != "" && !unreadable
}

// verifying: applied, and judged by its checks, or held without a verdict.
func (v *verdict) verifying() {
	attempt := v.e.Journal.Attempt
	next := ActionVerify
	release, reason := attempt.Release, promotion.Verifying
	switch {
	case !v.c.found || v.c.candidate.Release.Digest == attempt.Release.Digest || v.w.SourceFault != "":
	case v.c.current && v.c.newest:
		next, reason = ActionRestore, promotion.Restoring
	case !v.c.current:
		next, release, reason = ActionApply, v.c.candidate.Release, promotion.Applying
	}
	switch {
	case v.e.Busy == ActionVerify && next != ActionVerify:
		v.is(PhaseProgressing, promotion.Verifying)
		v.act(ActionCancel, attempt.Release, reason)
	case next == ActionVerify && v.e.Journal.Hold.Reason != "":
		v.askAgain(release)
	default:
		v.effect(next, release, reason)
	}
}

// askAgain: a check could not be asked, or had nothing to go by. It holds, and
// is asked again: an outage of what is asked must not need a commit to end.
func (v *verdict) askAgain(release Release) {
	retry := v.e.Journal.Retry
	v.is(PhaseHeld, v.e.Journal.Hold.Reason)
	switch {
	case v.e.Busy != ActionNone:
	case retry.At.After(v.w.Now) && retry.Digest == release.Digest:
		v.status.Until = retry.At
	default:
		v.act(ActionVerify, release, promotion.Verifying)
	}
}

// preempted reports whether a release other than the attempt's may be applied.
func (v *verdict) preempted() bool {
	return v.c.found && !v.c.current && v.c.newest && v.w.SourceFault == "" &&
		v.c.candidate.Release.Digest != v.e.Journal.Attempt.Release.Digest
}

// unlessPreempted goes on with an effect that has been tried in vain only
// until there is something newer to run: a finalizer that never ends must not
// keep a fix away.
func (v *verdict) unlessPreempted(kind ActionKind, release Release, reason promotion.Reason) {
	if v.preempted() && v.e.Busy == ActionNone && v.e.Journal.Retry.Tries > 0 {
		v.effect(ActionApply, v.c.candidate.Release, promotion.Applying)
		return
	}
	v.effect(kind, release, reason)
}

// restoring goes on until last good runs again; only when that proved
// impossible may a newer commit take its place.
func (v *verdict) restoring() {
	release := v.e.Journal.Attempt.Release
	if v.e.Journal.Retry.Reason == promotion.RestoreFailed {
		v.unlessPreempted(ActionRestore, release, promotion.Restoring)
		return
	}
	v.effect(ActionRestore, release, promotion.Restoring)
}

// correct: a correction was begun. It is last good that is applied again, so
// the policies in force must still allow it.
func (v *verdict) correct() {
	lastGood := v.e.Journal.LastGood
	allowed := v.c.found && v.c.current && v.c.candidate.Verdict == VerdictAllow
	switch {
	case v.undecided() && v.e.Busy == ActionNone:
		v.is(PhaseProgressing, promotion.Evaluating)
	case !allowed && v.e.Busy == ActionNone && !v.preempted():
		v.effect(ActionRestore, lastGood, promotion.Restoring)
	default:
		v.unlessPreempted(ActionCorrect, lastGood, promotion.Drifted)
	}
}
