package gitlab

import (
	"context"
	"errors"

	sdk "gitlab.com/gitlab-org/api/client-go"

	"chaperone.dev/chaperone/internal/forge"
	"chaperone.dev/chaperone/internal/source"
)

// PullRequests is a page of merge requests.
func (a *API) PullRequests(ctx context.Context, of forge.Listing, page int) (list []forge.PullRequest, last bool, err error) {
	state, order, sort := "opened", "updated_at", "desc"
	if of.State != forge.Open {
		state = "all" // GitLab has those that were merged by themselves
	}
	which := sdk.ListProjectMergeRequestsOptions{
		ListOptions: sdk.ListOptions{Page: int64(page), PerPage: pageSize}, State: &state, OrderBy: &order, Sort: &sort,
	}
	if of.Branch != "" {
		which.SourceBranch = &of.Branch
	}
	if of.Base != "" {
		which.TargetBranch = &of.Base
	}
	answer, response, err := a.api.MergeRequests.ListProjectMergeRequests(a.project, &which, sdk.WithContext(ctx))
	if err != nil {
		return nil, false, err
	}
	for _, each := range answer {
		if mr, err := mergeRequest(each); err == nil {
			list = append(list, mr)
		}
	}
	return list, len(answer) == 0 || response.NextPage == 0, nil
}

// OpenPullRequest opens one.
func (a *API) OpenPullRequest(ctx context.Context, want forge.Proposal) (forge.PullRequest, error) {
	made, _, err := a.api.MergeRequests.CreateMergeRequest(a.project, &sdk.CreateMergeRequestOptions{
		SourceBranch: &want.Branch, TargetBranch: &want.Base, Title: &want.Title, Description: &want.Body,
	}, sdk.WithContext(ctx))
	if err != nil {
		return forge.PullRequest{}, err
	}
	return mergeRequest(&made.BasicMergeRequest)
}

// EditPullRequest changes the texts of one.
func (a *API) EditPullRequest(ctx context.Context, number int64, title, body string) (forge.PullRequest, error) {
	edited, _, err := a.api.MergeRequests.UpdateMergeRequest(a.project, number,
		&sdk.UpdateMergeRequestOptions{Title: &title, Description: &body}, sdk.WithContext(ctx))
	if err != nil {
		return forge.PullRequest{}, err
	}
	return mergeRequest(&edited.BasicMergeRequest)
}

// EndPullRequest closes one.
func (a *API) EndPullRequest(ctx context.Context, number int64) error {
	event := "close"
	_, _, err := a.api.MergeRequests.UpdateMergeRequest(a.project, number, &sdk.UpdateMergeRequestOptions{StateEvent: &event}, sdk.WithContext(ctx))
	return err
}

// MergedBy looks among the merge requests that have the commit.
func (a *API) MergedBy(ctx context.Context, base string, commit source.Revision) (merge forge.Merge, found bool, err error) {
	list, _, err := a.api.Commits.ListMergeRequestsByCommit(a.project, string(commit), sdk.WithContext(ctx))
	if errors.Is(err, forge.ErrNotFound) {
		// The same answer is given for a project that is not to be seen.
		_, _, err = a.api.Projects.GetProject(a.project, nil, sdk.WithContext(ctx))
		return merge, false, err
	}
	if err != nil {
		return merge, false, err
	}
	for _, each := range list {
		mr, err := mergeRequest(each)
		if err != nil || mr.State != forge.Merged || mr.MergeCommit != commit || mr.Base != base {
			continue
		}
		merge.PullRequest = mr
		merge.Reviews, err = a.reviews(ctx, mr.Number)
		return merge, err == nil, err
	}
	return merge, false, nil
}
