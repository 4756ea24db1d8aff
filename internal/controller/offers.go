package controller

import (
	"context"
	"time"

	"chaperone.dev/chaperone/internal/promotion"
	"chaperone.dev/chaperone/internal/reconcile"
)

// offers are the branches that offer a revert, as the loop knows of them.
type offers struct {
	none bool               // there are none of ours
	stop context.CancelFunc // ends the withdrawal that is under way
}

// offersAnew is how long after a withdrawal that failed the next is tried.
const offersAnew = 10 * time.Minute

// noLonger says why they go.
const noLonger = "No environment waits for this revert any more."

// waitsForRevert reports whether people are to merge a revert, or one is on its way.
func waitsForRevert(j reconcile.Journal) bool {
	return j.Hold.Reason == promotion.RevertConflict || j.Hold.Reason == promotion.RevertRejected || j.Attempt.Stage == reconcile.StageReverting
}

// withdrawOffers deletes the branches that offer a revert once nobody waits for
// one: after they were merged, or a fix came instead. One look after each start
// finds what was left by then. A revert that begins meanwhile ends it first: its
// branch is offered after.
func (c *Controller) withdrawOffers(ctx context.Context, view View) {
	if c.Reverts == nil {
		return
	}
	for _, e := range view.Environments {
		if waitsForRevert(e.Journal) {
			if c.offers.none = false; c.offers.stop != nil {
				c.offers.stop()
			}
			return
		}
	}
	if !view.Polled || view.SourceFault != "" || c.offers.none || c.offers.stop != nil {
		return
	}
	within, stop := context.WithCancel(ctx)
	c.offers.none, c.offers.stop = true, stop
	c.spawn(func() {
		defer stop()
		err := c.withdrawAll(within)
		if err != nil && within.Err() == nil {
			c.Log.Warn("branches of reverts are not withdrawn", "again", offersAnew, "err", err)
			select {
			case <-within.Done():
			case <-time.After(offersAnew):
			}
		}
		c.post(ctx, func() {
			c.offers.stop = nil
			c.offers.none = c.offers.none && err == nil
		})
	})
}

func (c *Controller) withdrawAll(ctx context.Context) error {
	withdrawn, err := c.Reverts.WithdrawReverts(ctx, func(branch string) error {
		if c.Forge == nil {
			return nil
		}
		return c.Forge.ClosePullRequest(ctx, branch, c.Base, noLonger) // or the forge would, and not say why
	})
	for _, branch := range withdrawn {
		c.Log.Info("branch is withdrawn", "branch", branch, "detail", noLonger)
	}
	return err
}
