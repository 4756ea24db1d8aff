package gitea

import (
	"context"
	"errors"
	"fmt"
	"slices"

	sdk "code.gitea.io/sdk/gitea"

	"chaperone.dev/chaperone/internal/forge"
	"chaperone.dev/chaperone/internal/source"
)

// KeepPullRequest sees to it that one pull request is open from a branch of this
// repository, with this title and body. One that a person closed with the same
// head stays so, and is returned as it is.
func (c *Client) KeepPullRequest(ctx context.Context, want forge.Proposal) (forge.PullRequest, error) {
	const op = "keep pull request"
	want = want.Bounded()
	if err := c.take(ctx); err != nil {
		return forge.PullRequest{}, c.fault(op, err)
	}
	defer c.give()
	api, err := c.asking(ctx)
	if err != nil {
		return forge.PullRequest{}, c.fault(op, err)
	}
	pr, err := c.keep(api, want)
	return pr, c.fault(op+" from "+want.Branch, err)
}

func (c *Client) keep(api *sdk.Client, want forge.Proposal) (forge.PullRequest, error) {
	open, found, err := c.openFrom(api, want.Branch, want.Base)
	if err != nil {
		return open, err
	}
	if !found {
		if closed, found, err := c.declined(api, want); found || err != nil {
			return closed, err
		}
		return c.open(api, want)
	}
	if !want.Differs(open) {
		return open, nil
	}
	edited, _, err := api.EditPullRequest(c.owner, c.name, open.Number, sdk.EditPullRequestOption{Title: want.Title, Body: &want.Body})
	if err != nil {
		return open, err
	}
	return c.pullRequest(edited)
}

// open is where two may meet: who is second finds the other's.
func (c *Client) open(api *sdk.Client, want forge.Proposal) (forge.PullRequest, error) {
	made, _, refused := api.CreatePullRequest(c.owner, c.name, sdk.CreatePullRequestOption{
		Head: want.Branch, Base: want.Base, Title: want.Title, Body: want.Body,
	})
	if refused == nil {
		return c.pullRequest(made)
	}
	if errors.Is(refused, forge.ErrRejected) {
		if open, found, err := c.openFrom(api, want.Branch, want.Base); found && err == nil {
			return open, nil
		}
	}
	return forge.PullRequest{}, refused
}

// openFrom finds the open pull request from our branch: Gitea allows one.
func (c *Client) openFrom(api *sdk.Client, branch, base string) (forge.PullRequest, bool, error) {
	return c.find(api, sdk.ListPullRequestsOptions{State: sdk.StateOpen, Sort: "recentupdate"}, maxPages,
		func(pr forge.PullRequest) bool { return pr.State == forge.Open && ours(pr, branch, base) })
}

// declined looks among those that were closed most recently.
func (c *Client) declined(api *sdk.Client, want forge.Proposal) (forge.PullRequest, bool, error) {
	return c.find(api, sdk.ListPullRequestsOptions{State: sdk.StateClosed, Sort: "recentclose"}, 1,
		func(pr forge.PullRequest) bool {
			return pr.State == forge.Closed && pr.Head == want.Head && ours(pr, want.Branch, want.Base)
		})
}

// ours: whoever has a fork can name a branch as ours are named.
func ours(pr forge.PullRequest, branch, base string) bool {
	return !pr.FromFork && pr.Branch == branch && pr.Base == base
}

func (c *Client) find(api *sdk.Client, of sdk.ListPullRequestsOptions, pages int, is func(forge.PullRequest) bool) (forge.PullRequest, bool, error) {
	for page := 1; page <= pages; page++ {
		list, last, err := c.page(api, of, page)
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
func (c *Client) page(api *sdk.Client, of sdk.ListPullRequestsOptions, page int) (list []forge.PullRequest, last bool, err error) {
	of.ListOptions = sdk.ListOptions{Page: page, PageSize: pageSize}
	answer, response, err := api.ListRepoPullRequests(c.owner, c.name, of)
	if err != nil {
		return nil, false, err
	}
	for _, each := range answer {
		if pr, err := c.pullRequest(each); err == nil {
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
	api, err := c.asking(ctx)
	if err != nil {
		return c.fault(op, err)
	}
	pr, found, err := c.openFrom(api, branch, base)
	if !found || err != nil {
		return c.fault(op, err)
	}
	if err := c.comment(api, pr.Number, closing, why); err != nil {
		return c.fault(op, err)
	}
	state := sdk.StateClosed
	_, _, err = api.EditPullRequest(c.owner, c.name, pr.Number, sdk.EditPullRequestOption{State: &state})
	return c.fault(op, err)
}

// OpenPullRequests are those to the base, the latest changed first.
func (c *Client) OpenPullRequests(ctx context.Context, base string) (open []forge.PullRequest, more bool, err error) {
	const op = "list pull requests"
	api, err := c.asking(ctx)
	if err != nil {
		return nil, false, c.fault(op, err)
	}
	seen := map[int64]bool{} // the list moves while it is read
	for page := 1; page <= maxPages; page++ {
		list, last, err := c.page(api, sdk.ListPullRequestsOptions{State: sdk.StateOpen, Sort: "recentupdate"}, page)
		if err != nil {
			return nil, false, c.fault(op, err)
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
func (c *Client) MergedBy(ctx context.Context, base string, commit source.Revision) (merge forge.Merge, found bool, err error) {
	op := "find who merged " + commit.Short()
	var answer sdk.PullRequest
	err = c.read(ctx, &answer, "commits", string(commit), "pull")
	if errors.Is(err, forge.ErrNotFound) {
		// The same answer is given for a repository that is not to be seen.
		return merge, false, c.fault(op, c.read(ctx, &sdk.Repository{}))
	}
	if err == nil {
		merge.PullRequest, err = c.pullRequest(&answer)
	}
	if err != nil {
		return merge, false, c.fault(op, err)
	}
	if pr := merge.PullRequest; pr.State != forge.Merged || pr.MergeCommit != commit || pr.Base != base {
		return forge.Merge{}, false, nil
	}
	api, err := c.asking(ctx)
	if err == nil {
		merge.Reviews, err = c.reviews(api, merge.PullRequest.Number)
	}
	return merge, err == nil, c.fault(op, err)
}

// reviews are all that are given, the first one first. More than there may be is
// an error: the last words are what counts.
func (c *Client) reviews(api *sdk.Client, number int64) ([]forge.Review, error) {
	var given []*sdk.PullReview
	for page := 1; ; page++ {
		list, response, err := api.ListPullReviews(c.owner, c.name, number, sdk.ListPullReviewsOptions{
			ListOptions: sdk.ListOptions{Page: page, PageSize: pageSize},
		})
		if err != nil {
			return nil, err
		}
		given = append(given, list...)
		if len(given) > forge.MaxReviews {
			return nil, fmt.Errorf("%w: pull request %d has more than %d reviews", forge.ErrRejected, number, forge.MaxReviews)
		}
		if len(list) == 0 || response.NextPage == 0 {
			break
		}
	}
	given = slices.DeleteFunc(given, func(r *sdk.PullReview) bool { return r == nil })
	slices.SortStableFunc(given, func(a, b *sdk.PullReview) int { return int(a.ID - b.ID) })
	var reviews []forge.Review
	for _, each := range given {
		if r, said := review(each); said {
			reviews = append(reviews, r)
		}
	}
	return reviews, nil
}

// review reads one that was given: others are drafts, or asked for.
func review(from *sdk.PullReview) (forge.Review, bool) {
	r := forge.Review{By: account(from.Reviewer), Official: from.Official}
	r.At, _ = source.ParseRevision(from.CommitID) // "" is what the forge does not say
	switch {
	case from.Dismissed:
		r.Verdict = forge.Dismissed
	case from.State == sdk.ReviewStateApproved:
		r.Verdict = forge.Approved
	case from.State == sdk.ReviewStateRequestChanges:
		r.Verdict = forge.ChangesRequested
	case from.State == sdk.ReviewStateComment:
		r.Verdict = forge.Commented
	}
	return r, r.Verdict != ""
}
