package controller

import (
	"context"
	"errors"

	"chaperone.dev/chaperone/internal/promotion"
	"chaperone.dev/chaperone/internal/reconcile"
)

// alone looks, once a release has passed, whether there is anything beside it to be
// pruned: mostly there is not, and all that is to be done is done. Where that
// cannot be told, the prune finds out.
func (j *job) alone(ctx context.Context, end ended) ended {
	a := j.journal().Attempt
	if end.result.Outcome != reconcile.OutcomeDone || a.Stage != reconcile.StageVerifying || a.Midway() {
		return end
	}
	set, err := j.c.bundle(ctx, j.file, j.action.Release.Digest)
	if err != nil {
		return end
	}
	surplus, err := j.c.Cluster.Surplus(ctx, j.file, set)
	end.result.Pruned = err == nil && !surplus
	return end
}

// keepBundles lets go of what nothing goes back to any more. What is left of it
// goes with the next release.
func (j *job) keepBundles(ctx context.Context, after reconcile.Journal) {
	if err := j.c.Store.KeepBundles(ctx, j.action.Environment, j.keeps(after)...); err != nil && ctx.Err() == nil {
		j.c.Log.Warn("let go of bundles", "environment", j.action.Environment.String(), "revision", j.action.Release.Revision,
			"reason", promotion.Pruning, "err", err)
	}
}

func (j *job) prune(ctx context.Context) ended {
	set, err := j.c.bundle(ctx, j.file, j.action.Release.Digest)
	if err == nil {
		err = j.c.Cluster.Prune(ctx, j.file, set)
	}
	if err == nil {
		err = j.c.Store.KeepBundles(ctx, j.action.Environment, j.keeps(j.journal())...)
	}
	var refusal *Refusal
	switch {
	case errors.As(err, &refusal):
		return failed(reconcile.OutcomeRetry, refusal.Reason, err)
	case err != nil:
		return failed(reconcile.OutcomeRetry, promotion.Pruning, err)
	}
	return ended{result: reconcile.Result{Outcome: reconcile.OutcomeDone}}
}

// keeps are the bundles that something may go back to: last good, and what passed
// before it for as long as last good is watched. Whether it may be taken back then
// is for the file to say that is there by that time.
func (j *job) keeps(journal reconcile.Journal) []reconcile.Digest {
	keep := []reconcile.Digest{j.action.Release.Digest}
	if before := journal.Watched.Before.Digest; before != "" {
		keep = append(keep, before)
	}
	return keep
}
