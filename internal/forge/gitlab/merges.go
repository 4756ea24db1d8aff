package gitlab

import (
	"context"
	"errors"
	"slices"

	sdk "gitlab.com/gitlab-org/api/client-go"

	"chaperone.dev/chaperone/internal/forge"
	"chaperone.dev/chaperone/internal/source"
)

// KeepPullRequest sees to it that one merge request is open from a branch of this
// project, with this title and description. One that a person closed with the
// same head stays so, and is returned as it is.
func (c *Client) KeepPullRequest(ctx context.Context, want forge.Proposal) (forge.PullRequest, error) {
	want = want.Bounded()
	want.Body = harmless(want.Body)
	if err := c.take(ctx); err != nil {
		return forge.PullRequest{}, c.fault("keep merge request", err)
	}
	defer c.give()
	mr, err := c.keep(ctx, want)
	return mr, c.fault("keep merge request from "+want.Branch, err)
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
	edited, _, err := c.api.MergeRequests.UpdateMergeRequest(c.project, open.Number,
		&sdk.UpdateMergeRequestOptions{Title: &want.Title, Description: &want.Body}, sdk.WithContext(ctx))
	if err != nil {
		return open, err
	}
	return mergeRequest(&edited.BasicMergeRequest)
}

// open is where two may meet: who is second finds the other's.
func (c *Client) open(ctx context.Context, want forge.Proposal) (forge.PullRequest, error) {
	made, _, refused := c.api.MergeRequests.CreateMergeRequest(c.project, &sdk.CreateMergeRequestOptions{
		SourceBranch: &want.Branch, TargetBranch: &want.Base, Title: &want.Title, Description: &want.Body,
	}, sdk.WithContext(ctx))
	if refused == nil {
		return mergeRequest(&made.BasicMergeRequest)
	}
	if errors.Is(refused, forge.ErrRejected) {
		if open, found, err := c.openFrom(ctx, want.Branch, want.Base); found && err == nil {
			return open, nil
		}
	}
	return forge.PullRequest{}, refused
}

// openFrom finds the open merge request from our branch: GitLab allows one.
func (c *Client) openFrom(ctx context.Context, branch, base string) (forge.PullRequest, bool, error) {
	state := "opened"
	return c.find(ctx, sdk.ListProjectMergeRequestsOptions{State: &state, SourceBranch: &branch, TargetBranch: &base}, maxPages,
		func(mr forge.PullRequest) bool { return mr.State == forge.Open && ours(mr, branch, base) })
}

// declined looks among those that were changed most recently.
func (c *Client) declined(ctx context.Context, want forge.Proposal) (forge.PullRequest, bool, error) {
	state, order, sort := "closed", "updated_at", "desc"
	return c.find(ctx, sdk.ListProjectMergeRequestsOptions{
		State: &state, SourceBranch: &want.Branch, TargetBranch: &want.Base, OrderBy: &order, Sort: &sort,
	}, 1, func(mr forge.PullRequest) bool {
		return mr.State == forge.Closed && mr.Head == want.Head && ours(mr, want.Branch, want.Base)
	})
}

// ours: whoever has a fork can name a branch as ours are named.
func ours(mr forge.PullRequest, branch, base string) bool {
	return !mr.FromFork && mr.Branch == branch && mr.Base == base
}

func (c *Client) find(ctx context.Context, of sdk.ListProjectMergeRequestsOptions, pages int64, is func(forge.PullRequest) bool) (forge.PullRequest, bool, error) {
	for page := int64(1); page <= pages; page++ {
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

// page is one page of merge requests. One that cannot be read is left out of it,
// so that no stranger's merge request stands in the way of ours.
func (c *Client) page(ctx context.Context, of sdk.ListProjectMergeRequestsOptions, page int64) (list []forge.PullRequest, last bool, err error) {
	of.ListOptions = sdk.ListOptions{Page: page, PerPage: pageSize}
	answer, response, err := c.api.MergeRequests.ListProjectMergeRequests(c.project, &of, sdk.WithContext(ctx))
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

const closing = "closed"

// ClosePullRequest closes the one that is open from the branch to the base, if
// any, and says why in a note.
func (c *Client) ClosePullRequest(ctx context.Context, branch, base, why string) error {
	op := "close merge request from " + branch
	if err := c.take(ctx); err != nil {
		return c.fault(op, err)
	}
	defer c.give()
	mr, found, err := c.openFrom(ctx, branch, base)
	if !found || err != nil {
		return c.fault(op, err)
	}
	if err := c.comment(ctx, mr.Number, closing, why); err != nil {
		return c.fault(op, err)
	}
	event := "close"
	_, _, err = c.api.MergeRequests.UpdateMergeRequest(c.project, mr.Number, &sdk.UpdateMergeRequestOptions{StateEvent: &event}, sdk.WithContext(ctx))
	return c.fault(op, err)
}

// OpenPullRequests are those to the base, the latest changed first.
func (c *Client) OpenPullRequests(ctx context.Context, base string) (open []forge.PullRequest, more bool, err error) {
	state, order, sort := "opened", "updated_at", "desc"
	seen := map[int64]bool{} // the list moves while it is read
	for page := int64(1); page <= maxPages; page++ {
		list, last, err := c.page(ctx, sdk.ListProjectMergeRequestsOptions{State: &state, TargetBranch: &base, OrderBy: &order, Sort: &sort}, page)
		if err != nil {
			return nil, false, c.fault("list merge requests", err)
		}
		for _, mr := range list {
			if mr.Base == base && mr.State == forge.Open && !seen[mr.Number] {
				open, seen[mr.Number] = append(open, mr), true
			}
		}
		if last {
			return open, false, nil
		}
	}
	return open, true, nil
}

// MergedBy is the merged merge request that made this commit of the base what it
// is: its merge, its squashed commit, or the last one of a rebase.
func (c *Client) MergedBy(ctx context.Context, base string, commit source.Revision) (forge.Merge, bool, error) {
	merge, found, err := c.mergedBy(ctx, base, commit)
	return merge, found, c.fault("find who merged "+commit.Short(), err)
}

func (c *Client) mergedBy(ctx context.Context, base string, commit source.Revision) (merge forge.Merge, found bool, err error) {
	list, _, err := c.api.Commits.ListMergeRequestsByCommit(c.project, string(commit), sdk.WithContext(ctx))
	if errors.Is(err, forge.ErrNotFound) {
		// The same answer is given for a project that is not to be seen.
		_, _, err = c.api.Projects.GetProject(c.project, nil, sdk.WithContext(ctx))
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
		merge.Reviews, err = c.reviews(ctx, mr.Number)
		return merge, err == nil, err
	}
	return merge, false, nil
}
