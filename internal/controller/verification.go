package controller

import (
	"context"
	"fmt"

	"chaperone.dev/chaperone/internal/manifest"
	"chaperone.dev/chaperone/internal/promotion"
	"chaperone.dev/chaperone/internal/reconcile"
)

// watch looks whether what passed still does.
func (j *job) watch(ctx context.Context) ended {
	end := j.verify(ctx)
	if end.result.Outcome == reconcile.OutcomeFailed && !end.result.Tied {
		end.result.Reason = promotion.Regressed
		end.note = "it passed before, and nothing ties this to the release: " + end.note
	}
	return end
}

func (j *job) verify(ctx context.Context) ended {
	set, err := j.c.bundle(ctx, j.file, j.action.Release.Digest)
	if err != nil {
		return failed(reconcile.OutcomeError, promotion.VerificationError, fmt.Errorf("read bundle: %w", err))
	}
	attempt := j.journal().Attempt
	if attempt.Step == 0 || attempt.Stage != reconcile.StageVerifying {
		return j.verified(ctx, set, j.against())
	}
	p, err := j.steps(ctx, set)
	if err != nil {
		return failed(reconcile.OutcomeError, promotion.VerificationError, err)
	}
	against := j.against()
	against.Step = j.stepToVerify(p)
	return j.inStep(p, j.verified(ctx, against.Step.Set, against))
}

func (j *job) verified(ctx context.Context, set manifest.Set, against Against) ended {
	verdict, err := j.c.Cluster.Verify(ctx, j.file, set, against)
	switch {
	case ctx.Err() != nil:
		// A cancelled check says nothing, whatever it returned: its answer and the
		// cancellation race.
		return ended{result: reconcile.Result{Outcome: reconcile.OutcomeInterrupted}}
	case err != nil:
		return failed(reconcile.OutcomeError, promotion.VerificationError, err)
	}
	reasons := map[reconcile.Outcome]promotion.Reason{
		reconcile.OutcomeDone:   "",
		reconcile.OutcomeFailed: promotion.VerificationFailed,
		reconcile.OutcomeNoData: promotion.VerificationNoData,
	}
	reason, known := reasons[verdict.Outcome]
	if !known {
		verdict.Outcome, reason = reconcile.OutcomeError, promotion.VerificationError
	}
	if j.proving() && verdict.Outcome == reconcile.OutcomeFailed {
		reason = promotion.RestoreFailed
		verdict.Evidence = "last good was applied again and fails its checks as well, so nothing is reverted: " + verdict.Evidence
	}
	return ended{result: reconcile.Result{Outcome: verdict.Outcome, Reason: reason, Tied: verdict.Tied}, note: verdict.Evidence, log: verdict.Log}
}

// against: how it was before the attempt, and when last good passed. While last
// good is proved, that is before what failed was applied. An attempt that took the
// place of others is not held against these, and neither is one that came after
// something other than last good.
func (j *job) against() Against {
	journal := j.journal()
	a := journal.Attempt
	before, good := Against{Begun: a.Started, Without: a.Since}, journal.LastGood.Digest
	if j.action.Kind == reconcile.ActionWatch {
		before, good = Against{Begun: journal.Watched.Begun, Watching: true}, journal.Watched.Before.Digest
	}
	if before.Without.IsZero() {
		before.Without = before.Begun
	}
	for _, v := range journal.Verified {
		if v.Digest == good {
			before.Good = v.At
		}
	}
	if !before.Watching && good != "" && a.Before.Digest != "" && a.Before.Digest != good {
		before.Without = before.Good
	}
	return before
}

// proving reports whether it is last good that is verified, after a failure.
func (j *job) proving() bool { return j.journal().Attempt.Stage == reconcile.StageProving }
