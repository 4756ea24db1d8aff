package controller

import (
	"context"
	"errors"
	"fmt"
	"strconv"

	"chaperone.dev/chaperone/internal/fault"
	"chaperone.dev/chaperone/internal/promotion"
	"chaperone.dev/chaperone/internal/reconcile"
	"chaperone.dev/chaperone/internal/state"
)

// undo runs the rollback hooks of the failed release: last good does not know
// them. They come from its stored bundle, like last good; Git is not needed.
func (j *job) undo(ctx context.Context) ended {
	undo := j.journal().Undo
	failed, err := j.c.bundle(ctx, j.file, undo.Release.Digest)
	if err != nil {
		return undoEnded(fmt.Errorf("read the failed release: %w", err))
	}
	good, err := j.c.bundle(ctx, j.file, j.journal().LastGood.Digest)
	if err != nil { // before the data are touched: there would be nothing to run on them
		return undoEnded(fmt.Errorf("read last good: %w", err))
	}
	return undoEnded(j.c.Cluster.Undo(ctx, j.file, Rollback{
		Failed: failed, Good: good, Attempt: strconv.FormatInt(undo.Begun.UnixNano(), 36), Round: undo.Round,
	}))
}

func undoEnded(err error) ended {
	var refusal *Refusal
	switch {
	case err == nil:
		return ended{result: reconcile.Result{Outcome: reconcile.OutcomeDone}}
	case errors.Is(err, context.Canceled):
		return ended{result: reconcile.Result{Outcome: reconcile.OutcomeInterrupted}}
	case fault.IsTerminal(err), errors.Is(err, state.ErrNoBundle), errors.Is(err, state.ErrBrokenBundle):
		end := failed(reconcile.OutcomeFailed, promotion.RollbackFailed,
			fmt.Errorf("%w; the data may be half rolled back, so neither last good nor anything newer is put over them", err))
		if errors.As(err, &refusal) {
			end.log = refusal.Log
		}
		return end
	}
	return failed(reconcile.OutcomeRetry, promotion.ClusterUnavailable, err)
}
