package controller

import (
	"context"
	"fmt"
	"maps"
	"strings"
	"sync"
	"time"

	"chaperone.dev/chaperone/internal/fault"
	"chaperone.dev/chaperone/internal/forge"
	"chaperone.dev/chaperone/internal/preview"
	"chaperone.dev/chaperone/internal/promotion"
	"chaperone.dev/chaperone/internal/reconcile"
	"chaperone.dev/chaperone/internal/source"
)

const (
	// pullsAnew is how often pull requests are looked at where nothing has changed:
	// people close and edit them.
	pullsAnew = 10 * time.Minute
	// pullsAgain is the first pause after a failure; it doubles up to pullsAnew.
	pullsAgain = 5 * time.Second
)

// pulls keeps pull requests as the journals say, beside the loop: a forge that
// is slow or down delays nothing but them. What is to be there is told anew with
// each view, and so nothing is lost with a crash.
type pulls struct {
	c    *Controller
	wake chan struct{}

	mu       sync.Mutex
	wanted   pullsWanted
	statuses statuses
	head     source.Revision // of the followed branch
	records  map[promotion.ID]preview.Record

	unanswered error // why a text lacks its preview; the worker's alone
}

// pullsWanted is what the pull requests are to be.
type pullsWanted struct {
	known     bool
	proposals map[promotion.ID]source.Revision // on promotion branches; "" is none
	reverting bool                             // some environment waits for a revert
}

func (w pullsWanted) equal(o pullsWanted) bool {
	return w.known == o.known && w.reverting == o.reverting && maps.Equal(w.proposals, o.proposals)
}

// pull is the pull request of a promotion branch.
type pull struct {
	head source.Revision
	forge.PullRequest
}

// of names, for people, what is to be merged.
func (p pull) of(head source.Revision, branch string) string {
	switch {
	case p.head != head || p.Number == 0:
		return branch
	case p.State == forge.Closed:
		return fmt.Sprintf("%s; pull request %d for it was closed: open it again, or merge the branch", branch, p.Number)
	case p.URL == "":
		return fmt.Sprintf("pull request %d (%s)", p.Number, branch)
	}
	return fmt.Sprintf("pull request %d (%s)", p.Number, p.URL)
}

func newPulls(c *Controller) *pulls { return &pulls{c: c, wake: make(chan struct{}, 1)} }

// offer takes the newest view. It does not block.
func (p *pulls) offer(view View) {
	wanted := pullsWanted{known: view.Polled, proposals: make(map[promotion.ID]source.Revision, len(view.Environments))}
	for _, e := range view.Environments {
		j := e.Journal
		if j.Proposal.Revision == "" || j.Proposal.Commit != "" { // while it is being pushed, the old one stands
			wanted.proposals[e.ID] = j.Proposal.Commit
		}
		wanted.reverting = wanted.reverting || waitsForRevert(j)
	}
	p.mu.Lock()
	changed := !wanted.equal(p.wanted)
	p.wanted, p.head = wanted, view.Head
	if p.c.Previews != nil {
		p.records = recordsOf(view)
	}
	for _, e := range view.Environments {
		p.statuses.tell(e)
	}
	changed = changed || len(p.statuses.due()) > 0 || len(p.statuses.overtaken()) > 0
	p.mu.Unlock()
	if p.c.previews != nil {
		p.c.previews.offer(view)
	}
	if changed {
		select {
		case p.wake <- struct{}{}:
		default:
		}
	}
}

// run keeps them until ctx ends.
func (p *pulls) run(ctx context.Context) {
	pause, wake := pullsAnew, p.wake
	for {
		timer := time.NewTimer(pause)
		select {
		case <-ctx.Done():
			timer.Stop()
			return
		case <-wake:
			timer.Stop()
		case <-timer.C:
		}
		err := p.sync(ctx)
		if err == nil {
			err = p.setStatuses(ctx)
		}
		if err == nil {
			err = p.unanswered
		}
		switch {
		case ctx.Err() != nil:
			return
		case err == nil:
			pause, wake = pullsAnew, p.wake
			continue
		case pause == pullsAnew:
			pause = pullsAgain
		default:
			pause = min(2*pause, pullsAnew-1)
		}
		pause, wake = max(pause, forge.Waits(err)), nil // whatever happens meanwhile
		p.c.Log.Warn("pull requests and statuses are not kept", "reason", promotion.WaitingForPromotion, "again", pause, "err", err)
	}
}

// sync looks at what is open, and makes it what it is to be. The first error
// ends it: what one call meets the next one would meet as well.
func (p *pulls) sync(ctx context.Context) error {
	p.mu.Lock()
	wanted := p.wanted
	p.mu.Unlock()
	if !wanted.known {
		return nil
	}
	p.unanswered = nil
	list, more, err := p.c.Forge.OpenPullRequests(ctx, p.c.Base)
	if err != nil {
		return err
	}
	open := map[string]forge.PullRequest{}
	for _, pr := range list {
		if !pr.FromFork {
			open[pr.Branch] = pr
		}
	}
	for id, head := range wanted.proposals {
		if err := p.keep(ctx, id, head, open, more); err != nil {
			return err
		}
	}
	for branch := range open {
		if !wanted.reverting && strings.HasPrefix(branch, source.RevertBranches) {
			if err := p.close(ctx, branch, noLonger); err != nil {
				return err
			}
		}
	}
	return nil
}

// keep is of one promotion branch. One of those that are not listed is asked for
// by itself.
func (p *pulls) keep(ctx context.Context, id promotion.ID, head source.Revision, open map[string]forge.PullRequest, more bool) error {
	branch := source.PromotionBranch(id.String())
	pr, found := open[branch]
	if head == "" {
		if !found && !more {
			return nil
		}
		return p.close(ctx, branch, fmt.Sprintf("There is nothing to promote to %s any more: what this proposed is there already, or upstream has moved on.", id))
	}
	commit, err := p.c.Source.Commit(head)
	if err != nil {
		return fmt.Errorf("read proposal %s: %w", head.Short(), err)
	}
	want, err := p.promotes(ctx, id, commit, branch, pr.Body)
	if err != nil {
		p.unanswered = err
	}
	want = want.Bounded()
	if !found || want.Differs(pr) {
		if pr, err = p.c.Forge.KeepPullRequest(ctx, want); err != nil {
			return err
		}
		p.c.Log.Info("pull request is kept", "environment", id.String(), "number", pr.Number, "state", pr.State, "revision", head)
	}
	p.c.post(ctx, func() {
		if e := p.c.environments[id]; e != nil {
			e.pull = pull{head, pr}
		}
	})
	return nil
}

func (p *pulls) close(ctx context.Context, branch, why string) error {
	if err := p.c.Forge.ClosePullRequest(ctx, branch, p.c.Base, why); err != nil {
		return err
	}
	p.c.Log.Info("pull request is closed", "branch", branch, "detail", why)
	return nil
}

// proposalOf tells what a commit's message tells. It quotes what others wrote, so
// that on the forge it is shown as it is, and nobody is called by it.
func proposalOf(commit source.Commit, branch, base, intro string) forge.Proposal {
	_, message, _ := strings.Cut(strings.TrimSpace(commit.Message), "\n")
	fence := "```"
	for strings.Contains(message, fence) {
		fence += "`"
	}
	return forge.Proposal{
		Branch: branch, Base: base, Head: commit.Revision, Title: commit.Subject(),
		Body: fmt.Sprintf("%s\n\n%stext\n%s\n%s\n", intro, fence, strings.TrimSpace(message), fence),
	}
}

// offerRevert leaves a revert that could not be pushed to people: on a branch,
// and in a pull request where there is a forge. It is tried again until the
// source and the forge can be asked.
func (j *job) offerRevert(ctx context.Context, note source.RevertNote, refused ended) ended {
	if j.c.Reverts == nil {
		return refused
	}
	offered, err := j.c.Reverts.OfferRevert(ctx, j.action.Guilty, note)
	if err != nil {
		return j.notOffered(refused, promotion.SourceUnavailable, fmt.Errorf("%s; it is not on a branch yet: %w", refused.note, err))
	}
	if offered.Outcome != reconcile.OutcomeDone {
		refused.note += "; no branch offers it: " + offered.Detail
		return refused
	}
	branch := source.RevertBranch(j.action.Guilty)
	if j.c.Forge == nil {
		refused.note += "; branch " + branch + " takes it back: merge that"
		return refused
	}
	commit, err := j.c.Source.Commit(offered.Commit)
	if err != nil {
		return j.notOffered(refused, promotion.SourceUnavailable, fmt.Errorf("read revert %s: %w", offered.Commit.Short(), err))
	}
	intro := fmt.Sprintf("**%s** runs what it ran before, and waits for this to be merged.", j.action.Environment)
	if refused.result.Outcome == reconcile.OutcomeConflict {
		intro += " It conflicts with later commits: whoever merges decides on those lines."
	}
	pr, err := j.c.Forge.KeepPullRequest(ctx, proposalOf(commit, branch, j.c.Base, intro))
	switch {
	case err != nil:
		return j.notOffered(refused, refused.result.Reason, fmt.Errorf("%s; branch %s takes it back, without a pull request yet: %w", refused.note, branch, err))
	case pr.State == forge.Closed:
		refused.note += fmt.Sprintf("; pull request %d takes it back, and was closed: open it again, or push a fix (%s)", pr.Number, pr.URL)
	case pr.State == forge.Merged:
		refused.note += fmt.Sprintf("; pull request %d that takes it back is merged (%s)", pr.Number, pr.URL)
	default:
		refused.note += fmt.Sprintf("; pull request %d takes it back: merge it (%s)", pr.Number, pr.URL)
	}
	return refused
}

// notOffered: what may pass by itself is tried again, from the push on; for the
// rest people are told how far it came.
func (j *job) notOffered(refused ended, reason promotion.Reason, err error) ended {
	if fault.IsTerminal(err) {
		refused.note = err.Error()
		return refused
	}
	return failed(reconcile.OutcomeRetry, reason, err)
}
