package client

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"chaperone.dev/chaperone/internal/forge"
	"chaperone.dev/chaperone/internal/source"
)

// KeepPullRequest sees to it that one pull request is open from a branch of this
// repository, with this title and body. One that a person closed or merged with
// the same head stays so, and is returned as it is.
func (c *Client) KeepPullRequest(ctx context.Context, want forge.Proposal) (pr forge.PullRequest, err error) {
	want = want.Bounded()
	want.Body = c.is.Safe(want.Body)
	err = c.alone(ctx, "keep "+c.is.PullRequest+" from "+want.Branch, func() error {
		pr, err = c.keep(ctx, want)
		return err
	})
	return pr, err
}

func (c *Client) keep(ctx context.Context, want forge.Proposal) (forge.PullRequest, error) {
	open, found, err := c.openFrom(ctx, want.Branch, want.Base)
	if err != nil {
		return open, err
	}
	if !found {
		if decided, found, err := c.decided(ctx, want); found || err != nil {
			return decided, err
		}
		return c.open(ctx, want)
	}
	if !want.Differs(open) {
		return open, nil
	}
	edited, err := c.api.EditPullRequest(ctx, open.Number, want.Title, want.Body)
	if err != nil {
		return open, err
	}
	return edited, nil
}

// open is where two may meet: who is second finds the other's.
func (c *Client) open(ctx context.Context, want forge.Proposal) (forge.PullRequest, error) {
	made, refused := c.api.OpenPullRequest(ctx, want)
	if errors.Is(refused, forge.ErrRejected) {
		if open, found, err := c.openFrom(ctx, want.Branch, want.Base); found && err == nil {
			return open, nil
		}
	}
	return made, refused
}

// openFrom finds the open pull request from our branch: every forge allows one.
func (c *Client) openFrom(ctx context.Context, branch, base string) (forge.PullRequest, bool, error) {
	return c.find(ctx, forge.Listing{State: forge.Open, Branch: branch, Base: base}, c.pages(forge.MaxOpen),
		func(pr forge.PullRequest) bool { return pr.State == forge.Open && ours(pr, branch, base) })
}

// decided looks among those that were changed most recently: what was merged a
// moment ago need not be known from Git yet.
func (c *Client) decided(ctx context.Context, want forge.Proposal) (forge.PullRequest, bool, error) {
	return c.find(ctx, forge.Listing{State: forge.Closed, Branch: want.Branch, Base: want.Base}, 1,
		func(pr forge.PullRequest) bool {
			return pr.State != forge.Open && pr.Head == want.Head && ours(pr, want.Branch, want.Base)
		})
}

// ours: whoever has a fork can name a branch as ours are named.
func ours(pr forge.PullRequest, branch, base string) bool {
	return !pr.FromFork && pr.Branch == branch && pr.Base == base
}

// pages are as many as hold that many entries.
func (c *Client) pages(entries int) int { return max(entries/c.is.PageSize, 1) }

func (c *Client) find(ctx context.Context, of forge.Listing, pages int, is func(forge.PullRequest) bool) (forge.PullRequest, bool, error) {
	for page := 1; page <= pages; page++ {
		list, last, err := c.api.PullRequests(ctx, of, page)
		if err != nil {
			return forge.PullRequest{}, false, err
		}
		if at := slices.IndexFunc(list, is); at >= 0 {
			return list[at], true, nil
		}
		if last {
			break
		}
	}
	return forge.PullRequest{}, false, nil
}

const closing = "closed"

// ClosePullRequest closes the one that is open from the branch to the base, if
// any, and says why in a comment.
func (c *Client) ClosePullRequest(ctx context.Context, branch, base, why string) error {
	return c.alone(ctx, "close "+c.is.PullRequest+" from "+branch, func() error {
		pr, found, err := c.openFrom(ctx, branch, base)
		if !found || err != nil {
			return err
		}
		if err := c.comment(ctx, pr.Number, closing, why); err != nil {
			return err
		}
		return c.api.EndPullRequest(ctx, pr.Number)
	})
}

// OpenPullRequests are those to the base, the latest changed first.
func (c *Client) OpenPullRequests(ctx context.Context, base string) (open []forge.PullRequest, more bool, err error) {
	seen := map[int64]bool{} // the list moves while it is read
	for page := range c.pages(forge.MaxOpen) {
		list, last, err := c.api.PullRequests(ctx, forge.Listing{State: forge.Open, Base: base}, page+1)
		if err != nil {
			return nil, false, c.fault("list "+c.is.PullRequest+"s", err)
		}
		for _, pr := range list {
			if pr.Base == base && pr.State == forge.Open && !seen[pr.Number] {
				pr.Ref = fmt.Sprintf(c.is.HeadRef, pr.Number)
				open, seen[pr.Number] = append(open, pr), true
			}
		}
		if last {
			return open, false, nil
		}
	}
	return open, true, nil
}

// MergedBy is the merged pull request that made this commit of the base what it
// is: its merge, its squashed commit, or the last one of a rebase.
func (c *Client) MergedBy(ctx context.Context, base string, commit source.Revision) (forge.Merge, bool, error) {
	merge, found, err := c.api.MergedBy(ctx, base, commit)
	if pr := merge.PullRequest; err != nil || pr.State != forge.Merged || pr.MergeCommit != commit || pr.Base != base {
		return forge.Merge{}, false, c.fault("find who merged "+commit.Short(), err)
	}
	return merge, found, nil
}
