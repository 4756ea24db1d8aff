package reconcile

import (
	"chaperone.dev/chaperone/internal/promotion"
)

// finishApply: an apply was begun, and its end is not known or was not good.
func (v *verdict) finishApply() {
	attempt := &v.e.Journal.Attempt
	switch {
	case v.e.Busy != ActionNone && attempt.Probe:
		v.is(PhaseProgressing, promotion.Bisecting)
	case v.e.Busy != ActionNone:
		v.trying(attempt.Release.Digest, promotion.Applying)
	case attempt.Probe:
		v.finishProbe()
	case v.undecided():
		v.is(PhaseProgressing, promotion.Evaluating)
	case v.c.candidate != nil && !v.c.current && v.mayTakeOver(v.c.candidate):
		v.apply(v.c.candidate)
	case v.e.Journal.LastGood.Digest != "":
		// What was begun may not run any more, so what it left is taken back.
		v.takeBack(attempt.Release, promotion.Restoring)
	default:
		v.wait()
	}
}

// mayTakeOver reports whether a release may be applied over what was begun: that
// itself, and another only while the source can be read.
func (v *verdict) mayTakeOver(c *Candidate) bool {
	return c.Release.Digest == v.e.Journal.Attempt.Release.Digest || (v.w.SourceFault == "" || !on(guardSource)) && v.carriesOn(c)
}

// undecided reports whether it is worth waiting for a verdict that is asked
// for. It is not where it cannot be had (no policies, or no Git to read the
// release from), nor where a rule has answered with an error, which counts as
// deny: a cluster that holds half a release is not left so until it can.
func (v *verdict) undecided() bool {
	return v.c.pending && v.canLook() && on(guardUndecided)
}

func (v *verdict) canLook() bool {
	unreadable := v.w.SourceFault != "" && v.e.EvaluateAt.After(v.w.Now)
	return v.w.Policy != "" && !unreadable
}

// verifying: applied, and judged by its checks, or held without a verdict.
func (v *verdict) verifying() {
	attempt := &v.e.Journal.Attempt
	next, reason := ActionVerify, promotion.Verifying
	switch {
	case attempt.Probe && v.e.Journal.Hold.Reason == "":
		reason = promotion.Bisecting // what was begun is finished, unless it is stuck
	case v.otherCourse():
		next, reason = ActionApply, promotion.Applying
	case v.c.candidate == nil || v.c.candidate.Release.Digest == attempt.Release.Digest || v.w.SourceFault != "":
	case v.c.current && v.c.newest && (!attempt.Irreversible || !on(guardNoWayBack)):
		next, reason = ActionRestore, promotion.Restoring
	case !v.c.current && !v.carriesOn(v.c.candidate):
		next, reason = ActionRestore, promotion.Restoring
	case !v.c.current:
		next, reason = ActionApply, promotion.Applying
	}
	switch {
	case v.e.Busy == ActionVerify && next != ActionVerify:
		v.is(PhaseProgressing, promotion.Verifying)
		v.act(ActionCancel, attempt.Release, reason)
	case next == ActionApply:
		v.apply(v.c.candidate)
	case next == ActionRestore:
		v.takeBack(attempt.Release, reason)
	case next == ActionVerify && v.e.Journal.Hold.Reason != "":
		v.askAgain(attempt.Release)
	default:
		v.effect(next, attempt.Release, reason)
	}
}

// askAgain: a check could not be asked, or had nothing to go by. It holds, and
// is asked again: an outage of what is asked must not need a commit to end.
func (v *verdict) askAgain(release Release) {
	v.is(PhaseHeld, v.e.Journal.Hold.Reason)
	switch {
	case v.e.Busy != ActionNone:
	case v.waits(release.Digest):
		v.status.Until = v.e.Journal.Retry.At
	default:
		v.act(ActionVerify, release, promotion.Verifying)
	}
}

// pruning: verified, and what it leaves behind is to be deleted. Between two tries
// of that, it is kept as it is like one at rest.
func (v *verdict) pruning() {
	attempt := &v.e.Journal.Attempt
	reason := promotion.Pruning
	if attempt.Probe {
		reason = promotion.Bisecting
	}
	v.unlessPreempted(ActionPrune, attempt.Release, reason)
	correcting := v.e.Busy == ActionCorrect
	if !correcting && v.mayCorrect() && (v.waits(attempt.Release.Digest) || !on(guardPruneFirst)) {
		v.act(ActionCorrect, v.c.candidate.Release, promotion.Drifted)
		correcting = true
	}
	if correcting && v.e.Uncorrected == 0 { // that it is tried again is no news
		v.is(PhaseProgressing, promotion.Drifted)
	}
}

// mayCorrect reports whether what drifted may be put back while a prune waits.
func (v *verdict) mayCorrect() bool {
	again := v.e.Uncorrected < v.e.Journal.Retry.Tries || !on(guardUncorrected)
	return v.e.Drifted && v.e.Rests() && again && v.e.Spec.Drift == promotion.DriftCorrect && !v.held() && v.still == "" &&
		v.c.candidate != nil && v.c.current && v.allows(v.c.candidate)
}

// restoring goes on until last good runs again; only when that proved
// impossible may a newer commit take its place.
func (v *verdict) restoring() {
	release := v.e.Journal.Attempt.Release
	if v.e.Journal.Retry.Reason == promotion.RestoreFailed || !on(guardRestore) {
		v.unlessPreempted(ActionRestore, release, promotion.Restoring)
		return
	}
	v.effect(ActionRestore, release, v.restoringReason(release))
}

// restoringReason: where nothing ran before, as after a rename, nothing failed.
func (v *verdict) restoringReason(before Release) promotion.Reason {
	if before.Digest == "" && v.e.Journal.Attempt.Failure == "" {
		return promotion.Moving
	}
	return promotion.Restoring
}

// proving: last good runs again after a failure. Where it fails its checks too,
// the fault is not the release's, and no commit is blamed.
func (v *verdict) proving() {
	lastGood := v.e.Journal.LastGood
	switch {
	case v.e.Journal.Hold.Reason == "":
		v.effect(ActionVerify, lastGood, promotion.Restoring)
	case v.preempted() && v.e.Busy == ActionNone:
		v.apply(v.c.candidate)
	default:
		v.askAgain(lastGood)
	}
}

// reverting: the guilty commit is known.
func (v *verdict) reverting() {
	attempt := &v.e.Journal.Attempt
	tripped := v.e.revertsToday(v.w.Now) >= v.e.Spec.MaxReverts && on(guardBreaker)
	if tripped && v.e.Busy == ActionNone && v.e.Journal.Retry.Tries == 0 {
		v.is(PhaseHeld, promotion.TooManyReverts)
		v.act(ActionGiveUp, attempt.Release, promotion.TooManyReverts)
		return
	}
	v.effect(ActionRevert, attempt.Release, promotion.Reverting)
}

// correct: a correction was begun. It is last good that is applied again, so
// the policies in force must still allow it.
func (v *verdict) correct() {
	lastGood := v.e.Journal.LastGood
	allowed := v.c.candidate != nil && v.c.current && (v.allows(v.c.candidate) || !on(guardCorrect))
	switch {
	case v.undecided() && v.e.Busy == ActionNone:
		v.is(PhaseProgressing, promotion.Evaluating)
	case !allowed && v.e.Busy == ActionNone && v.preempted():
		v.apply(v.c.candidate)
	case (!allowed || v.still != "") && v.e.Busy == ActionNone:
		v.effect(ActionRestore, lastGood, promotion.Restoring)
	case allowed:
		// As it is allowed now, which may be by other policies than when it passed.
		v.unlessPreempted(ActionCorrect, v.c.candidate.Release, promotion.Drifted)
	default:
		v.unlessPreempted(ActionCorrect, lastGood, promotion.Drifted)
	}
}
