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

// PullRequests is a page of all in that state: Gitea looks for no branch.
func (a *API) PullRequests(ctx context.Context, of forge.Listing, page int) (list []forge.PullRequest, last bool, err error) {
	api, err := a.asking(ctx)
	if err != nil {
		return nil, false, err
	}
	which := sdk.ListPullRequestsOptions{ListOptions: sdk.ListOptions{Page: page, PageSize: pageSize}, State: sdk.StateOpen, Sort: "recentupdate"}
	if of.State != forge.Open {
		which.State, which.Sort = sdk.StateClosed, "recentclose"
	}
	answer, response, err := api.ListRepoPullRequests(a.owner, a.name, which)
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
	api, err := a.asking(ctx)
	if err != nil {
		return forge.PullRequest{}, err
	}
	made, _, err := api.CreatePullRequest(a.owner, a.name, sdk.CreatePullRequestOption{
		Head: want.Branch, Base: want.Base, Title: want.Title, Body: want.Body,
	})
	if err != nil {
		return forge.PullRequest{}, err
	}
	return pullRequest(made)
}

// EditPullRequest changes the texts of one.
func (a *API) EditPullRequest(ctx context.Context, number int64, title, body string) (forge.PullRequest, error) {
	api, err := a.asking(ctx)
	if err != nil {
		return forge.PullRequest{}, err
	}
	edited, _, err := api.EditPullRequest(a.owner, a.name, number, sdk.EditPullRequestOption{Title: title, Body: &body})
	if err != nil {
		return forge.PullRequest{}, err
	}
	return pullRequest(edited)
}

// EndPullRequest closes one.
func (a *API) EndPullRequest(ctx context.Context, number int64) error {
	api, err := a.asking(ctx)
	if err != nil {
		return err
	}
	state := sdk.StateClosed
	_, _, err = api.EditPullRequest(a.owner, a.name, number, sdk.EditPullRequestOption{State: &state})
	return err
}

// MergedBy is the pull request that Gitea remembers for a commit.
func (a *API) MergedBy(ctx context.Context, _ string, commit source.Revision) (merge forge.Merge, found bool, err error) {
	var answer sdk.PullRequest
	err = a.read(ctx, &answer, "commits", string(commit), "pull")
	if errors.Is(err, forge.ErrNotFound) {
		// The same answer is given for a repository that is not to be seen.
		return merge, false, a.read(ctx, &sdk.Repository{})
	}
	if err == nil {
		merge.PullRequest, err = pullRequest(&answer)
	}
	if err != nil || merge.PullRequest.State != forge.Merged {
		return merge, false, err
	}
	merge.Reviews, err = a.reviews(ctx, merge.PullRequest.Number)
	return merge, err == nil, err
}

// reviews are all that are given, the first one first. More than there may be is
// an error: the last words are what counts.
func (a *API) reviews(ctx context.Context, number int64) ([]forge.Review, error) {
	api, err := a.asking(ctx)
	if err != nil {
		return nil, err
	}
	var given []*sdk.PullReview
	for page := 1; ; page++ {
		list, response, err := api.ListPullReviews(a.owner, a.name, number, sdk.ListPullReviewsOptions{
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
