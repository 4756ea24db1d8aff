package controller

import (
	"context"
	"fmt"
	"strings"
	"time"

	"chaperone.dev/chaperone/internal/fault"
	"chaperone.dev/chaperone/internal/promotion"
	"chaperone.dev/chaperone/internal/reconcile"
	"chaperone.dev/chaperone/internal/source"
)

// propose keeps the promotion branch of a pinned environment.
func (j *job) propose(ctx context.Context) ended {
	result, err := j.c.Source.Propose(ctx, j.action.Environment, j.file.File, source.PromoteNote{
		Environment: j.action.Environment.String(), From: j.file.Revision, To: j.action.Release.Revision, Evidence: j.upstream,
	})
	return proposeEnded(result, err)
}

func (j *job) withdraw(ctx context.Context) ended {
	result, err := j.c.Source.Withdraw(ctx, j.action.Environment)
	return proposeEnded(result, err)
}

func proposeEnded(result ProposeResult, err error) ended {
	switch {
	case fault.IsTerminal(err):
		return failed(reconcile.OutcomeRejected, promotion.PromotionRejected, err)
	case err != nil:
		return failed(reconcile.OutcomeRetry, promotion.PromotionRejected, err)
	}
	end := ended{result: reconcile.Result{Outcome: result.Outcome, Commit: result.Commit}}
	if result.Outcome == reconcile.OutcomeRejected {
		end.result.Reason, end.note = promotion.PromotionRejected, result.Detail
	}
	return end
}

// upstreamEvidence says where and since when the upstream environments have
// verified what they run.
func (c *Controller) upstreamEvidence(after []promotion.ID) string {
	var verified []string
	for _, id := range after {
		e, found := c.world.Find(id)
		if !found {
			continue
		}
		for _, v := range e.Journal.Verified {
			if v.Digest == e.Journal.LastGood.Digest {
				verified = append(verified, fmt.Sprintf("%s verified %s at %s", id, v.Revision.Short(), v.At.UTC().Format(time.RFC3339)))
			}
		}
	}
	return strings.Join(verified, "; ")
}
