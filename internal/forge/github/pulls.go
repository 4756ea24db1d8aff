package github

import (
	"context"
	"errors"
	"fmt"

	sdk "github.com/google/go-github/v74/github"

	"chaperone.dev/chaperone/internal/forge"
	"chaperone.dev/chaperone/internal/source"
)

// PullRequests is a page of those from a branch of the same owner, to the base.
func (a *API) PullRequests(ctx context.Context, of forge.Listing, page int) (list []forge.PullRequest, last bool, err error) {
	which := sdk.PullRequestListOptions{
		State: "open", Base: of.Base, Sort: "updated", Direction: "desc", ListOptions: sdk.ListOptions{Page: page, PerPage: pageSize},
	}
	if of.State != forge.Open {
		which.State = "closed"
	}
	if of.Branch != "" {
		which.Head = a.owner + ":" + of.Branch
	}
	answer, response, err := a.api.PullRequests.List(ctx, a.owner, a.name, &which)
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

// OpenPullRequest opens one.
func (a *API) OpenPullRequest(ctx context.Context, want forge.Proposal) (forge.PullRequest, error) {
	made, _, err := a.api.PullRequests.Create(ctx, a.owner, a.name, &sdk.NewPullRequest{
		Head: &want.Branch, Base: &want.Base, Title: &want.Title, Body: &want.Body,
	})
	if err != nil {
		return forge.PullRequest{}, err
	}
	return pullRequest(made)
}

// EditPullRequest changes the texts of one.
func (a *API) EditPullRequest(ctx context.Context, number int64, title, body string) (forge.PullRequest, error) {
	edited, _, err := a.api.PullRequests.Edit(ctx, a.owner, a.name, int(number), &sdk.PullRequest{Title: &title, Body: &body})
	if err != nil {
		return forge.PullRequest{}, err
	}
	return pullRequest(edited)
}

// EndPullRequest closes one.
func (a *API) EndPullRequest(ctx context.Context, number int64) error {
	state := "closed"
	_, _, err := a.api.PullRequests.Edit(ctx, a.owner, a.name, int(number), &sdk.PullRequest{State: &state})
	return err
}

// MergedBy looks among the pull requests that have the commit.
func (a *API) MergedBy(ctx context.Context, base string, commit source.Revision) (merge forge.Merge, found bool, err error) {
	list, _, err := a.api.PullRequests.ListPullRequestsWithCommit(ctx, a.owner, a.name, string(commit), &sdk.ListOptions{PerPage: pageSize})
	if errors.Is(err, forge.ErrNotFound) || errors.Is(err, forge.ErrRejected) {
		// A commit that is not there is refused with 422. Where the repository is
		// not to be seen, or is elsewhere, it is refused as well.
		_, _, err = a.api.Repositories.Get(ctx, a.owner, a.name)
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
		whole, _, err := a.api.PullRequests.Get(ctx, a.owner, a.name, int(pr.Number)) // lists do not say who merged
		if err == nil {
			merge.PullRequest, err = pullRequest(whole)
		}
		if err == nil {
			merge.Reviews, err = a.reviews(ctx, pr.Number)
		}
		return merge, err == nil, err
	}
	return merge, false, nil
}

// reviews are all that are given, the first one first, as GitHub lists them. More
// than there may be is an error: the last words are what counts.
func (a *API) reviews(ctx context.Context, number int64) ([]forge.Review, error) {
	var reviews []forge.Review
	for page, read := 1, 0; ; page++ {
		list, response, err := a.api.PullRequests.ListReviews(ctx, a.owner, a.name, int(number), &sdk.ListOptions{Page: page, PerPage: pageSize})
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
	return reviews, a.weigh(ctx, reviews)
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
func (a *API) weigh(ctx context.Context, reviews []forge.Review) error {
	may := map[string]bool{}
	for i, r := range reviews {
		if r.Verdict != forge.Approved || r.By.Login == "" {
			continue
		}
		official, known := may[r.By.Login]
		if !known {
			level, _, err := a.api.Repositories.GetPermissionLevel(ctx, a.owner, a.name, r.By.Login)
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
