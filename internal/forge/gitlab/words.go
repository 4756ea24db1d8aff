package gitlab

import (
	"context"
	"fmt"

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

// SetStatus writes where the newest status of that context says something else.
// It appears in an external pipeline.
func (c *Client) SetStatus(ctx context.Context, commit source.Revision, status forge.Status) error {
	op := fmt.Sprintf("set status %s of %s", status.Context, commit.Short())
	if err := c.take(ctx); err != nil {
		return c.fault(op, err)
	}
	defer c.give()
	status = status.Bounded()
	if len(status.URL) > maxLink {
		status.URL = ""
	}
	stands, err := c.status(ctx, commit, status.Context)
	if err != nil || stands == status {
		return c.fault(op, err)
	}
	if stands.State == forge.Pending && status.State == forge.Pending {
		// A status moves from one state to another, and its words with it: one that
		// waits cannot wait for something else, but end and begin again.
		if err := c.set(ctx, commit, forge.Status{Context: status.Context, State: forge.Error, Description: status.Description}); err != nil {
			return c.fault(op, err)
		}
	}
	return c.fault(op, c.set(ctx, commit, status))
}

func (c *Client) set(ctx context.Context, commit source.Revision, status forge.Status) error {
	write := &sdk.SetCommitStatusOptions{State: states[status.State], Name: &status.Context, Description: &status.Description}
	if status.URL != "" {
		write.TargetURL = &status.URL
	}
	_, _, err := c.api.Commits.SetCommitStatus(c.project, string(commit), write, sdk.WithContext(ctx))
	return err
}

// status is the newest of a context: there may be one for each branch.
func (c *Client) status(ctx context.Context, commit source.Revision, of string) (forge.Status, error) {
	var newest *sdk.CommitStatus
	for page := int64(1); page <= maxPages; page++ {
		list, response, err := c.api.Commits.GetCommitStatuses(c.project, string(commit), &sdk.GetCommitStatusesOptions{
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
	said := forge.Status{Context: of, State: forge.StatusState(newest.Status), Description: newest.Description, URL: newest.TargetURL}
	for state, word := range states {
		if string(word) == newest.Status {
			said.State = state
		}
	}
	return said, nil
}

// Comment keeps one note of our own on a merge request, found by its marker.
func (c *Client) Comment(ctx context.Context, number int64, marker, body string) error {
	op := fmt.Sprintf("comment on merge request %d", number)
	if err := c.take(ctx); err != nil {
		return c.fault(op, err)
	}
	defer c.give()
	return c.fault(op, c.comment(ctx, number, marker, body))
}

func (c *Client) comment(ctx context.Context, number int64, marker, body string) error {
	self, err := c.account(ctx)
	if err != nil {
		return err
	}
	body = forge.Marked(marker, harmless(body))
	ours, err := c.noteOf(ctx, number, self, marker)
	switch {
	case err != nil:
		return err
	case ours == nil:
		_, _, err = c.api.Notes.CreateMergeRequestNote(c.project, number, &sdk.CreateMergeRequestNoteOptions{Body: &body}, sdk.WithContext(ctx))
	case !forge.SameText(ours.Body, body):
		_, _, err = c.api.Notes.UpdateMergeRequestNote(c.project, number, ours.ID, &sdk.UpdateMergeRequestNoteOptions{Body: &body}, sdk.WithContext(ctx))
	}
	return err
}

// noteOf is somebody's note with that marker; nil is none. Where there are more
// notes than are read, one more is not written: it would be another one each time.
func (c *Client) noteOf(ctx context.Context, number int64, who forge.Account, marker string) (*sdk.Note, error) {
	order, sort := "created_at", "asc"
	for page := int64(1); page <= maxComments; page++ {
		list, response, err := c.api.Notes.ListMergeRequestNotes(c.project, number, &sdk.ListMergeRequestNotesOptions{
			ListOptions: sdk.ListOptions{Page: page, PerPage: pageSize}, OrderBy: &order, Sort: &sort,
		}, sdk.WithContext(ctx))
		if err != nil {
			return nil, err
		}
		for _, each := range list {
			if each != nil && !each.System && (forge.Account{Login: each.Author.Username}).Same(who) && forge.HasMarker(marker, each.Body) {
				return each, nil
			}
		}
		if len(list) == 0 || response.NextPage == 0 {
			return nil, nil
		}
	}
	return nil, fmt.Errorf("%w: merge request %d has more than %d notes", forge.ErrRejected, number, maxComments*pageSize)
}
