package github

import (
	"context"
	"errors"
	"fmt"
	"slices"

	sdk "github.com/google/go-github/v74/github"

	"chaperone.dev/chaperone/internal/forge"
	"chaperone.dev/chaperone/internal/source"
)

// KeepPullRequest sees to it that one pull request is open from a branch of this
// repository, with this title and body. One that a person closed with the same
// head stays so, and is returned as it is.
func (c *Client) KeepPullRequest(ctx context.Context, want forge.Proposal) (forge.PullRequest, error) {
	want = want.Bounded()
	if err := c.take(ctx); err != nil {
		return forge.PullRequest{}, c.fault("keep pull request", err)
	}
	defer c.give()
	pr, err := c.keep(ctx, want)
	return pr, c.fault("keep pull request from "+want.Branch, err)
}

func (c *Client) keep(ctx context.Context, want forge.Proposal) (forge.PullRequest, error) {
	open, found, err := c.openFrom(ctx, want.Branch, want.Base)
	if err != nil {
		return open, err
	}
	if !found {
		if closed, found, err := c.declined(ctx, want); found || err != nil {
			return closed, err
		}
		return c.open(ctx, want)
	}
	if !want.Differs(open) {
		return open, nil
	}
	edited, _, err := c.api.PullRequests.Edit(ctx, c.owner, c.name, int(open.Number), &sdk.PullRequest{Title: &want.Title, Body: &want.Body})
	if err != nil {
		return open, err
	}
	return pullRequest(edited)
}

// open is where two may meet: who is second finds the other's.
func (c *Client) open(ctx context.Context, want forge.Proposal) (forge.PullRequest, error) {
	made, _, refused := c.api.PullRequests.Create(ctx, c.owner, c.name, &sdk.NewPullRequest{
		Head: &want.Branch, Base: &want.Base, Title: &want.Title, Body: &want.Body,
	})
	if refused == nil {
		return pullRequest(made)
	}
	if errors.Is(refused, forge.ErrRejected) {
		if open, found, err := c.openFrom(ctx, want.Branch, want.Base); found && err == nil {
			return open, nil
		}
	}
	return forge.PullRequest{}, refused
}

// openFrom finds the open pull request from our branch: GitHub allows one.
func (c *Client) openFrom(ctx context.Context, branch, base string) (forge.PullRequest, bool, error) {
	return c.find(ctx, sdk.PullRequestListOptions{State: "open", Head: c.owner + ":" + branch, Base: base}, maxPages,
		func(pr forge.PullRequest) bool { return pr.State == forge.Open && ours(pr, branch, base) })
}

// declined looks among those that were changed most recently.
func (c *Client) declined(ctx context.Context, want forge.Proposal) (forge.PullRequest, bool, error) {
	return c.find(ctx, sdk.PullRequestListOptions{
		State: "closed", Head: c.owner + ":" + want.Branch, Base: want.Base, Sort: "updated", Direction: "desc",
	}, 1, func(pr forge.PullRequest) bool {
		return pr.State == forge.Closed && pr.Head == want.Head && ours(pr, want.Branch, want.Base)
	})
}

// ours: an owner may have a fork of its own repository, and a branch there that
// is named as ours are.
func ours(pr forge.PullRequest, branch, base string) bool {
	return !pr.FromFork && pr.Branch == branch && pr.Base == base
}

func (c *Client) find(ctx context.Context, of sdk.PullRequestListOptions, pages int, is func(forge.PullRequest) bool) (forge.PullRequest, bool, error) {
	for page := 1; page <= pages; page++ {
		list, last, err := c.page(ctx, of, page)
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

// page is one page of pull requests. One that cannot be read is left out of it,
// so that no stranger's pull request stands in the way of ours.
func (c *Client) page(ctx context.Context, of sdk.PullRequestListOptions, page int) (list []forge.PullRequest, last bool, err error) {
	of.ListOptions = sdk.ListOptions{Page: page, PerPage: pageSize}
	answer, response, err := c.api.PullRequests.List(ctx, c.owner, c.name, &of)
	if err != nil {
		return nil, false, err
	}
	for _, each := range answer {
		if pr, err := pullRequest(each); err == nil {
			list = append(list, pr)
		}
	}
	return list, len(answer) == 0 || response.NextPage == 0, nil
}

const closing = "closed"

// ClosePullRequest closes the one that is open from the branch to the base, if
// any, and says why in a comment.
func (c *Client) ClosePullRequest(ctx context.Context, branch, base, why string) error {
	op := "close pull request from " + branch
	if err := c.take(ctx); err != nil {
		return c.fault(op, err)
	}
	defer c.give()
	pr, found, err := c.openFrom(ctx, branch, base)
	if !found || err != nil {
		return c.fault(op, err)
	}
	if err := c.comment(ctx, pr.Number, closing, why); err != nil {
		return c.fault(op, err)
	}
	state := "closed"
	_, _, err = c.api.PullRequests.Edit(ctx, c.owner, c.name, int(pr.Number), &sdk.PullRequest{State: &state})
	return c.fault(op, err)
}

// OpenPullRequests are those to the base, the latest changed first.
func (c *Client) OpenPullRequests(ctx context.Context, base string) (open []forge.PullRequest, more bool, err error) {
	seen := map[int64]bool{} // the list moves while it is read
	for page := 1; page <= maxPages; page++ {
		list, last, err := c.page(ctx, sdk.PullRequestListOptions{State: "open", Base: base, Sort: "updated", Direction: "desc"}, page)
		if err != nil {
			return nil, false, c.fault("list pull requests", err)
		}
		for _, pr := range list {
			if pr.Base == base && pr.State == forge.Open && !seen[pr.Number] {
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
	merge, found, err := c.mergedBy(ctx, base, commit)
	return merge, found, c.fault("find who merged "+commit.Short(), err)
}

func (c *Client) mergedBy(ctx context.Context, base string, commit source.Revision) (merge forge.Merge, found bool, err error) {
	list, _, err := c.api.PullRequests.ListPullRequestsWithCommit(ctx, c.owner, c.name, string(commit), &sdk.ListOptions{PerPage: pageSize})
	if errors.Is(err, forge.ErrNotFound) || errors.Is(err, forge.ErrRejected) {
		// A commit that is not there is refused with 422. Where the repository is
		// not to be seen, or is elsewhere, it is refused as well.
		_, _, err = c.api.Repositories.Get(ctx, c.owner, c.name)
		return merge, false, err
	}
	if err != nil {
		return merge, false, err
	}
	for _, each := range list {
		pr, err := pullRequest(each)
		if err != nil || pr.State != forge.Merged || pr.MergeCommit != commit || pr.Base != base {
			continue
		}
		whole, _, err := c.api.PullRequests.Get(ctx, c.owner, c.name, int(pr.Number)) // lists do not say who merged
		if err == nil {
			merge.PullRequest, err = pullRequest(whole)
		}
		if err == nil {
			merge.Reviews, err = c.reviews(ctx, pr.Number)
		}
		return merge, err == nil, err
	}
	return merge, false, nil
}

// reviews are all that are given, the first one first, as GitHub lists them. More
// than there may be is an error: the last words are what counts.
func (c *Client) reviews(ctx context.Context, number int64) ([]forge.Review, error) {
	var reviews []forge.Review
	for page, read := 1, 0; ; page++ {
		list, response, err := c.api.PullRequests.ListReviews(ctx, c.owner, c.name, int(number), &sdk.ListOptions{Page: page, PerPage: pageSize})
		if err != nil {
			return nil, err
		}
		if read += len(list); read > forge.MaxReviews {
			return nil, fmt.Errorf("%w: pull request %d has more than %d reviews", forge.ErrRejected, number, forge.MaxReviews)
		}
		for _, each := range list {
			if r, said := review(each); said {
				reviews = append(reviews, r)
			}
		}
		if len(list) == 0 || response.NextPage == 0 {
			break
		}
	}
	return reviews, c.weigh(ctx, reviews)
}

// review reads one that was given: others are drafts.
func review(from *sdk.PullRequestReview) (forge.Review, bool) {
	r := forge.Review{By: account(from.GetUser())}
	r.At, _ = source.ParseRevision(from.GetCommitID()) // "" is what the forge does not say
	r.Verdict = map[string]forge.Verdict{
		"APPROVED": forge.Approved, "CHANGES_REQUESTED": forge.ChangesRequested, "COMMENTED": forge.Commented, "DISMISSED": forge.Dismissed,
	}[from.GetState()]
	return r, r.Verdict != ""
}

// weigh finds out whose approvals count: of those who may write. What GitHub says
// of a reviewer's association is not enough: a member may only read.
func (c *Client) weigh(ctx context.Context, reviews []forge.Review) error {
	may := map[string]bool{}
	for i, r := range reviews {
		if r.Verdict != forge.Approved || r.By.Login == "" {
			continue
		}
		official, known := may[r.By.Login]
		if !known {
			level, _, err := c.api.Repositories.GetPermissionLevel(ctx, c.owner, c.name, r.By.Login)
			if err != nil && !errors.Is(err, forge.ErrNotFound) { // not found: no account any more
				return err
			}
			official = level.GetPermission() == "admin" || level.GetPermission() == "write"
			may[r.By.Login] = official
		}
		reviews[i].Official = official
	}
	return nil
}
