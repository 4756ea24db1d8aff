package gitea

import (
	"context"

	sdk "code.gitea.io/sdk/gitea"

	"chaperone.dev/chaperone/internal/forge"
	"chaperone.dev/chaperone/internal/source"
)

// Status is the newest of a context. The list begins with the newest second,
// which may have more than one.
func (a *API) Status(ctx context.Context, commit source.Revision, of string) (forge.Status, error) {
	api, err := a.asking(ctx)
	if err != nil {
		return forge.Status{}, err
	}
	for page := 1; page <= maxPages; page++ {
		list, response, err := api.ListStatuses(a.owner, a.name, string(commit), sdk.ListStatusesOption{
			ListOptions: sdk.ListOptions{Page: page, PageSize: pageSize},
		})
		if err != nil {
			return forge.Status{}, err
		}
		var newest *sdk.Status
		for _, each := range list {
			if each != nil && each.Context == of && (newest == nil || each.ID > newest.ID) {
				newest = each
			}
		}
		if newest != nil {
			return forge.Status{
				Context: of, State: forge.StatusState(newest.State), Description: newest.Description, URL: newest.TargetURL,
			}, nil
		}
		if len(list) == 0 || response.NextPage == 0 {
			break
		}
	}
	return forge.Status{}, nil
}

// Statuses are the newest ones, one of each context.
func (a *API) Statuses(ctx context.Context, commit source.Revision) ([]forge.Status, error) {
	api, err := a.asking(ctx)
	if err != nil {
		return nil, err
	}
	newest := map[string]*sdk.Status{}
	for page := 1; page <= maxPages; page++ {
		list, response, err := api.ListStatuses(a.owner, a.name, string(commit), sdk.ListStatusesOption{
			ListOptions: sdk.ListOptions{Page: page, PageSize: pageSize},
		})
		if err != nil {
			return nil, err
		}
		for _, each := range list {
			if each != nil && (newest[each.Context] == nil || each.ID > newest[each.Context].ID) {
				newest[each.Context] = each
			}
		}
		if len(list) == 0 || response.NextPage == 0 {
			break
		}
	}
	statuses := make([]forge.Status, 0, len(newest))
	for of, each := range newest {
		statuses = append(statuses, forge.Status{
			Context: of, State: forge.StatusState(each.State), Description: each.Description, URL: each.TargetURL,
		})
	}
	return statuses, nil
}

// WriteStatus adds one; the newest counts.
func (a *API) WriteStatus(ctx context.Context, commit source.Revision, _, want forge.Status) error {
	api, err := a.asking(ctx)
	if err != nil {
		return err
	}
	_, _, err = api.CreateStatus(a.owner, a.name, string(commit), sdk.CreateStatusOption{
		Context: want.Context, State: sdk.StatusState(want.State), Description: want.Description, TargetURL: want.URL,
	})
	return err
}

// Comments are all: this list has no pages.
func (a *API) Comments(ctx context.Context, number int64, _ int) (list []forge.Comment, last bool, err error) {
	api, err := a.asking(ctx)
	if err != nil {
		return nil, false, err
	}
	all, _, err := api.ListIssueComments(a.owner, a.name, number, sdk.ListIssueCommentOptions{})
	for _, each := range all {
		if each != nil {
			list = append(list, forge.Comment{ID: each.ID, By: account(each.Poster), Body: each.Body})
		}
	}
	return list, true, err
}

// WriteComment writes another one.
func (a *API) WriteComment(ctx context.Context, number int64, body string) error {
	api, err := a.asking(ctx)
	if err == nil {
		_, _, err = api.CreateIssueComment(a.owner, a.name, number, sdk.CreateIssueCommentOption{Body: body})
	}
	return err
}

// EditComment changes one.
func (a *API) EditComment(ctx context.Context, _, comment int64, body string) error {
	api, err := a.asking(ctx)
	if err == nil {
		_, _, err = api.EditIssueComment(a.owner, a.name, comment, sdk.EditIssueCommentOption{Body: body})
	}
	return err
}
