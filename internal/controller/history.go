package controller

import (
	"context"

	"chaperone.dev/chaperone/internal/promotion"
	"chaperone.dev/chaperone/internal/reconcile"
	"chaperone.dev/chaperone/internal/state"
)

// recordRelease writes how far the attempt has come into its release. It is a
// record for people: nothing is decided from it, so a failure is only logged.
func (j *job) recordRelease(ctx context.Context, after reconcile.Journal, end ended) {
	attempt := j.journal().Attempt
	phase, over := releasePhase(j.action.Kind, end.result, after)
	if j.proving() {
		// It was last good that was verified; the release is the one that failed.
		phase, over = state.ReleaseRestored, after.Hold.Reason != "" || attempt.Probe
	}
	if phase == "" || attempt.Release.Digest == "" || j.rejectedAgain(end.result) {
		return
	}
	release := state.Release{
		Environment: j.action.Environment, Release: attempt.Release, Phase: phase, Reason: end.result.Reason,
		Author: j.commit.Author, Subject: j.commit.Subject(),
		Started: attempt.Started, Guilty: attempt.Guilty, Revert: end.result.Commit,
	}
	release.Log = end.log
	switch {
	case j.proving() && end.result.Outcome != reconcile.OutcomeFailed:
		release.Evidence = j.evidence // of the failure, not of last good
	case end.note != "":
		release.Evidence = end.note
	case attempt.Failure == promotion.VerificationFailed:
		release.Evidence = j.evidence
	}
	if over {
		release.Ended = j.world.Now
	}
	whole := j.c.credited(&release, j.credit)
	if !whole && (over || phase == state.ReleaseVerifying) {
		j.c.askCredit(ctx, release, j.credit)
	}
	if err := j.c.Store.PutRelease(ctx, release); err != nil && ctx.Err() == nil {
		j.c.Log.Warn("record release", "environment", j.action.Environment.String(),
			"revision", attempt.Release.Revision, "reason", end.result.Reason, "err", err)
	}
}

// rejectedAgain reports whether a release met the refusal of last time. It is
// tried every few minutes, and told once: the newest releases are kept, and this
// would push all others out.
func (j *job) rejectedAgain(r reconcile.Result) bool {
	last := j.before.Retry
	return r.Outcome == reconcile.OutcomeRejected && last.Reason == r.Reason && last.Digest == j.action.Release.Digest
}

// releasePhase is what an outcome makes of the attempt, and whether it is over.
func releasePhase(kind reconcile.ActionKind, r reconcile.Result, after reconcile.Journal) (state.ReleasePhase, bool) {
	held := after.Hold.Reason != ""
	switch {
	case r.Outcome == reconcile.OutcomeInterrupted || r.Outcome == reconcile.OutcomeRetry:
		return "", false
	case kind == reconcile.ActionApply && r.Outcome == reconcile.OutcomeDone:
		return state.ReleaseVerifying, false
	case kind == reconcile.ActionApply && r.Outcome == reconcile.OutcomeRejected:
		return state.ReleaseRejected, true
	case r.Outcome == reconcile.OutcomeFailed && (kind == reconcile.ActionApply || kind == reconcile.ActionVerify):
		return state.ReleaseFailed, held
	case kind == reconcile.ActionVerify && r.Outcome == reconcile.OutcomeDone && after.Attempt.Stage == reconcile.StageApplying:
		return state.ReleaseVerifying, false // there are steps to come
	case kind == reconcile.ActionVerify && r.Outcome == reconcile.OutcomeDone:
		return state.ReleaseVerified, true
	case kind == reconcile.ActionVerify:
		return state.ReleaseHeld, false
	case kind == reconcile.ActionUndo && r.Outcome == reconcile.OutcomeFailed:
		return state.ReleaseHeld, false
	case kind == reconcile.ActionRestore && r.Outcome == reconcile.OutcomeDone:
		return state.ReleaseRestored, after.Attempt.Stage == reconcile.StageNone
	case kind == reconcile.ActionBlame && held:
		return state.ReleaseHeld, true
	case kind == reconcile.ActionRevert && (r.Outcome == reconcile.OutcomeDone || r.Outcome == reconcile.OutcomeAlready):
		return state.ReleaseReverted, true
	case kind == reconcile.ActionRevert:
		return state.ReleaseHeld, true
	}
	return "", false
}

// announce tells of a change of status where operators look: the log, and an
// Event on the environment.
func (c *Controller) announce(ctx context.Context, id promotion.ID, status reconcile.Status, message string) {
	warning := warnings[status.Reason] || status.Phase == reconcile.PhaseHeld || status.Phase == reconcile.PhaseInvalid
	level := c.Log.Info
	if warning {
		level = c.Log.Warn
	}
	level("status", "environment", id.String(), "revision", status.Wanted.Revision, "phase", status.Phase,
		"reason", status.Reason, "message", message)
	c.spawn(func() {
		if err := c.Store.Event(ctx, id, warning, status.Reason, message); err != nil && ctx.Err() == nil {
			c.Log.Debug("write event", "environment", id.String(), "reason", status.Reason, "err", err)
		}
	})
}

// warnings are the reasons that an operator should see even though the daemon
// goes on by itself.
var warnings = map[promotion.Reason]bool{
	promotion.PolicyDenied: true, promotion.PolicyError: true, promotion.RenderFailed: true, promotion.EmptyRender: true,
	promotion.StrategyImpossible: true,
	promotion.RollingBack:        true, promotion.RollbackFailed: true, promotion.Restoring: true, promotion.Reverting: true, promotion.Reverted: true, promotion.RestoreFailed: true,
	promotion.ApplyRejected: true, promotion.ApplyFailed: true, promotion.ClusterUnavailable: true,
	promotion.SourceUnavailable: true, promotion.BranchGone: true, promotion.Drifted: true, promotion.Contended: true, promotion.Regressed: true,
	promotion.MassDeletion: true, promotion.ConflictingOwner: true, promotion.Quarantined: true,
	promotion.UnverifiedRevision: true, promotion.UnknownRevision: true, promotion.HistoryRewritten: true,
	promotion.PromotionRejected: true, promotion.Overridden: true, promotion.IrreversibleUnapproved: true,
}
