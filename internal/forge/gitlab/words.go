package gitlab

import (
	"context"

	sdk "gitlab.com/gitlab-org/api/client-go"

	"chaperone.dev/chaperone/internal/forge"
	"chaperone.dev/chaperone/internal/source"
)

const maxLink = 255 // bytes of a status' address

// GitLab knows no error beside failure. What is cancelled is neither yes nor no,
// and lets nobody merge where pipelines have to succeed.
var states = map[forge.StatusState]sdk.BuildStateValue{
	forge.Pending: sdk.Pending, forge.Success: sdk.Success, forge.Failure: sdk.Failed, forge.Error: sdk.Canceled,
}

// WriteStatus sets one, which appears in an external pipeline. A status moves from
// one state to another, and its words with it: one that waits cannot wait for
// something else, but end and begin again.
func (a *API) WriteStatus(ctx context.Context, commit source.Revision, stands, want forge.Status) error {
	if stands.State == forge.Pending && want.State == forge.Pending {
		if err := a.set(ctx, commit, forge.Status{Context: want.Context, State: forge.Error, Description: want.Description}); err != nil {
			return err
		}
	}
	return a.set(ctx, commit, want)
}

func (a *API) set(ctx context.Context, commit source.Revision, status forge.Status) error {
	write := &sdk.SetCommitStatusOptions{State: states[status.State], Name: &status.Context, Description: &status.Description}
	if status.URL != "" {
		write.TargetURL = &status.URL
	}
	_, _, err := a.api.Commits.SetCommitStatus(a.project, string(commit), write, sdk.WithContext(ctx))
	return err
}

// Status is the newest of a context: there may be one for each branch.
func (a *API) Status(ctx context.Context, commit source.Revision, of string) (forge.Status, error) {
	var newest *sdk.CommitStatus
	for page := int64(1); page <= maxPages; page++ {
		list, response, err := a.api.Commits.GetCommitStatuses(a.project, string(commit), &sdk.GetCommitStatusesOptions{
			ListOptions: sdk.ListOptions{Page: page, PerPage: pageSize}, Name: &of,
		}, sdk.WithContext(ctx))
		if err != nil {
			return forge.Status{}, err
		}
		for _, each := range list {
			if each != nil && each.Name == of && (newest == nil || each.ID > newest.ID) {
				newest = each
			}
		}
		if len(list) == 0 || response.NextPage == 0 {
			break
		}
	}
	if newest == nil {
		return forge.Status{}, nil
	}
	return statusOf(newest), nil
}

func statusOf(from *sdk.CommitStatus) forge.Status {
	said := forge.Status{Context: from.Name, State: forge.StatusState(from.Status), Description: from.Description, URL: from.TargetURL}
	for state, word := range states {
		if string(word) == from.Status {
			said.State = state
		}
	}
	return said
}

// Statuses are the newest ones, one of each context.
func (a *API) Statuses(ctx context.Context, commit source.Revision) ([]forge.Status, error) {
	newest := map[string]*sdk.CommitStatus{}
	for page := int64(1); page <= maxPages; page++ {
		list, response, err := a.api.Commits.GetCommitStatuses(a.project, string(commit), &sdk.GetCommitStatusesOptions{
			ListOptions: sdk.ListOptions{Page: page, PerPage: pageSize},
		}, sdk.WithContext(ctx))
		if err != nil {
			return nil, err
		}
		for _, each := range list {
			if each != nil && (newest[each.Name] == nil || each.ID > newest[each.Name].ID) {
				newest[each.Name] = each
			}
		}
		if len(list) == 0 || response.NextPage == 0 {
			break
		}
	}
	statuses := make([]forge.Status, 0, len(newest))
	for _, each := range newest {
		statuses = append(statuses, statusOf(each))
	}
	return statuses, nil
}

// Comments is a page of the notes that people and the daemon wrote.
func (a *API) Comments(ctx context.Context, number int64, page int) (list []forge.Comment, last bool, err error) {
	order, sort := "created_at", "asc"
	answer, response, err := a.api.Notes.ListMergeRequestNotes(a.project, number, &sdk.ListMergeRequestNotesOptions{
		ListOptions: sdk.ListOptions{Page: int64(page), PerPage: pageSize}, OrderBy: &order, Sort: &sort,
	}, sdk.WithContext(ctx))
	if err != nil {
		return nil, false, err
	}
	for _, each := range answer {
		if each != nil && !each.System {
			list = append(list, forge.Comment{ID: each.ID, By: forge.Account{Login: each.Author.Username}, Body: each.Body})
		}
	}
	return list, len(answer) == 0 || response.NextPage == 0, nil
}

// WriteComment writes another note.
func (a *API) WriteComment(ctx context.Context, number int64, body string) error {
	_, _, err := a.api.Notes.CreateMergeRequestNote(a.project, number, &sdk.CreateMergeRequestNoteOptions{Body: &body}, sdk.WithContext(ctx))
	return err
}

// EditComment changes a note.
func (a *API) EditComment(ctx context.Context, number, comment int64, body string) error {
	_, _, err := a.api.Notes.UpdateMergeRequestNote(a.project, number, comment, &sdk.UpdateMergeRequestNoteOptions{Body: &body}, sdk.WithContext(ctx))
	return err
}
