package github

import (
	"context"

	sdk "github.com/google/go-github/v74/github"

	"chaperone.dev/chaperone/internal/forge"
	"chaperone.dev/chaperone/internal/source"
)

// Status is the newest of a context: GitHub's combined status has one of each.
func (a *API) Status(ctx context.Context, commit source.Revision, of string) (forge.Status, error) {
	for page := 1; page <= maxStatuses; page++ {
		combined, response, err := a.api.Repositories.GetCombinedStatus(ctx, a.owner, a.name, string(commit), &sdk.ListOptions{Page: page, PerPage: pageSize})
		if err != nil {
			return forge.Status{}, err
		}
		for _, each := range combined.Statuses {
			if each.GetContext() == of {
				return forge.Status{
					Context: of, State: forge.StatusState(each.GetState()), Description: each.GetDescription(), URL: each.GetTargetURL(),
				}, nil
			}
		}
		if len(combined.Statuses) == 0 || response.NextPage == 0 {
			break
		}
	}
	return forge.Status{}, nil
}

// Statuses are the newest ones, one of each context.
func (a *API) Statuses(ctx context.Context, commit source.Revision) (statuses []forge.Status, err error) {
	for page := 1; page <= maxStatuses; page++ {
		combined, response, err := a.api.Repositories.GetCombinedStatus(ctx, a.owner, a.name, string(commit), &sdk.ListOptions{Page: page, PerPage: pageSize})
		if err != nil {
			return nil, err
		}
		for _, each := range combined.Statuses {
			statuses = append(statuses, forge.Status{
				Context: each.GetContext(), State: forge.StatusState(each.GetState()), Description: each.GetDescription(), URL: each.GetTargetURL(),
			})
		}
		if len(combined.Statuses) == 0 || response.NextPage == 0 {
			break
		}
	}
	return statuses, nil
}

// WriteStatus adds one; the newest counts.
func (a *API) WriteStatus(ctx context.Context, commit source.Revision, _, want forge.Status) error {
	state := string(want.State)
	write := &sdk.RepoStatus{Context: &want.Context, State: &state, Description: &want.Description}
	if want.URL != "" {
		write.TargetURL = &want.URL
	}
	_, _, err := a.api.Repositories.CreateStatus(ctx, a.owner, a.name, string(commit), write)
	return err
}

// Comments is a page of those on a pull request, which is an issue to GitHub.
func (a *API) Comments(ctx context.Context, number int64, page int) (list []forge.Comment, last bool, err error) {
	answer, response, err := a.api.Issues.ListComments(ctx, a.owner, a.name, int(number), &sdk.IssueListCommentsOptions{
		ListOptions: sdk.ListOptions{Page: page, PerPage: pageSize},
	})
	if err != nil {
		return nil, false, err
	}
	for _, each := range answer {
		list = append(list, forge.Comment{ID: each.GetID(), By: account(each.GetUser()), Body: each.GetBody()})
	}
	return list, len(answer) == 0 || response.NextPage == 0, nil
}

// WriteComment writes another one.
func (a *API) WriteComment(ctx context.Context, number int64, body string) error {
	_, _, err := a.api.Issues.CreateComment(ctx, a.owner, a.name, int(number), &sdk.IssueComment{Body: &body})
	return err
}

// EditComment changes one.
func (a *API) EditComment(ctx context.Context, _, comment int64, body string) error {
	_, _, err := a.api.Issues.EditComment(ctx, a.owner, a.name, comment, &sdk.IssueComment{Body: &body})
	return err
}
