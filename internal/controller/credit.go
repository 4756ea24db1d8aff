package controller

import (
	"context"
	"fmt"
	"slices"

	"chaperone.dev/chaperone/internal/fault"
	"chaperone.dev/chaperone/internal/forge"
	"chaperone.dev/chaperone/internal/policy"
	"chaperone.dev/chaperone/internal/source"
	"chaperone.dev/chaperone/internal/state"
)

const (
	// maxCrediting bounds the releases that wait for the forge to be told of.
	maxCrediting = 32
	// maxCredited bounds the people that one release names.
	maxCredited = 20
	// maxCreditTries is how often it is asked about one: for about a day.
	maxCreditTries = 150
)

// credit is who stands behind a release.
type credit struct {
	approved []policy.Approver // whose word counted
	commit   source.Commit     // that brought it: the release itself, or the one that moved the pin to it
}

// credited writes who stands behind a release, as far as is known without
// asking anybody; whole is false where the forge may know more.
func (c *Controller) credited(r *state.Release, by credit) (whole bool) {
	for _, a := range by.approved[:min(len(by.approved), maxCredited)] {
		person := source.Person{Name: a.Name, Email: a.Email}
		r.ApprovedBy = append(r.ApprovedBy, person.String())
	}
	if c.Forge == nil || by.commit.Revision == "" {
		return true
	}
	c.merges.mu.Lock()
	seen, known := c.merges.known[by.commit.Revision]
	c.merges.mu.Unlock()
	if !seen.found {
		return known
	}
	pr := seen.PullRequest
	r.MergedBy, r.PullRequest = pr.MergedBy.String(), pr.URL
	if r.PullRequest == "" {
		r.PullRequest = fmt.Sprintf("%d", pr.Number)
	}
	if len(r.ApprovedBy) == 0 { // nobody's word was asked for: these are given all the same
		for _, review := range seen.Approvals() {
			if review.At == pr.Head && !review.By.Same(pr.Author) && len(r.ApprovedBy) < maxCredited {
				r.ApprovedBy = append(r.ApprovedBy, review.By.String())
			}
		}
	}
	return true
}

// askCredit asks the forge who merged what brought a release, beside everything
// else. One that is over by then is written once more.
func (c *Controller) askCredit(ctx context.Context, release state.Release, by credit) {
	select {
	case c.crediting <- struct{}{}:
	default:
		return // the forge is away for long; that is not what releases wait for
	}
	c.spawn(func() {
		defer func() { <-c.crediting }()
		pause := pullsAgain
		for range maxCreditTries {
			_, _, err := c.mergedBy(ctx, by.commit)
			if err == nil || fault.IsTerminal(err) || ctx.Err() != nil {
				break
			}
			wait(ctx, max(pause, forge.Waits(err)))
			pause = min(2*pause, pullsAnew)
		}
		release.ApprovedBy = nil
		if !c.credited(&release, by) || ctx.Err() != nil || release.Ended.IsZero() || release.MergedBy == "" {
			return
		}
		if err := c.Store.PutRelease(ctx, release); err != nil && ctx.Err() == nil {
			c.Log.Warn("record who merged a release", "environment", release.Environment.String(), "revision", release.Release.Revision, "err", err)
		}
	})
}

// creditOf is what an evaluation found out about who stands behind its release.
func (v *evaluation) creditOf(commit source.Commit) credit {
	by := credit{approved: slices.Clone(v.approval.By), commit: commit}
	if v.mover.Revision != "" {
		by.commit = v.mover
	}
	return by
}

// movedTo are the commits that moved the pin to some revisions; what follows the
// branch has none.
func (e *environment) movedTo(revisions ...source.Revision) map[source.Revision]source.Revision {
	var movers map[source.Revision]source.Revision
	for _, revision := range revisions {
		mover := e.credits[revision].commit.Revision
		if mover == "" || mover == revision {
			continue
		}
		if movers == nil {
			movers = map[source.Revision]source.Revision{}
		}
		movers[revision] = mover
	}
	return movers
}
