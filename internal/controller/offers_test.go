package controller

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"chaperone.dev/chaperone/internal/promotion"
	"chaperone.dev/chaperone/internal/reconcile"
	"chaperone.dev/chaperone/internal/source"
)

// branches counts how often reverts are withdrawn, and may refuse or hang.
type branches struct {
	asked, ended int
	refuses      error
	hangs        bool
}

func (b *branches) OfferRevert(context.Context, source.Revision, source.RevertNote) (ProposeResult, error) {
	return ProposeResult{}, errors.New("not asked for here")
}

func (b *branches) WithdrawReverts(ctx context.Context, before func(string) error) ([]string, error) {
	b.asked++
	if b.hangs {
		<-ctx.Done()
		b.ended++
		return nil, ctx.Err()
	}
	return nil, b.refuses
}

// The branches that offer a revert go once nobody waits for one, also after a
// start; and a withdrawal ends before the next revert is offered.
func TestOffersAreWithdrawn(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		git := &branches{}
		c := New(Ports{Reverts: git}, Config{})
		see := func(when string, want int, view View) {
			t.Helper()
			c.withdrawOffers(ctx, view)
			synctest.Wait()
			c.takeWaiting()
			if git.asked != want {
				t.Errorf("%s: asked %d times, want %d", when, git.asked, want)
			}
		}
		rests := View{Polled: true, Environments: []EnvironmentView{{}}}
		waits := View{Polled: true, Environments: []EnvironmentView{{}, {Journal: reconcile.Journal{Hold: reconcile.Hold{Reason: promotion.RevertRejected}}}}}
		reverting := View{Polled: true, Environments: []EnvironmentView{{Journal: reconcile.Journal{Attempt: reconcile.Attempt{Stage: reconcile.StageReverting}}}}}

		see("before the first poll", 0, View{Environments: rests.Environments})
		see("without a source", 0, View{Polled: true, SourceFault: promotion.SourceUnavailable})
		see("after a start", 1, rests)
		see("at rest", 1, rests)
		see("while one waits", 1, waits)
		see("while one is taken back", 1, reverting)
		git.refuses = errors.New("no")
		see("once nobody waits", 2, rests)
		see("soon after it failed", 2, rests)
		time.Sleep(offersAnew + time.Second)
		c.takeWaiting()
		git.refuses, git.hangs = nil, true
		see("a while after it failed", 3, rests)
		see("while it hangs", 3, rests)
		see("as the next revert begins", 3, reverting)
		if git.ended != 1 {
			t.Error("it goes on beside the next revert")
		}
		git.hangs = false
		see("once nobody waits again", 4, rests)
	})
}
