package github

import (
	"context"
	"fmt"

	sdk "github.com/google/go-github/v74/github"

	"chaperone.dev/chaperone/internal/forge"
	"chaperone.dev/chaperone/internal/source"
)

// SetStatus writes where the newest status of that context says something else.
func (c *Client) SetStatus(ctx context.Context, commit source.Revision, status forge.Status) error {
	op := fmt.Sprintf("set status %s of %s", status.Context, commit.Short())
	if err := c.take(ctx); err != nil {
		return c.fault(op, err)
	}
	defer c.give()
	status = status.Bounded()
	stands, err := c.status(ctx, commit, status.Context)
	if err != nil || stands == status {
		return c.fault(op, err)
	}
	state := string(status.State)
	write := &sdk.RepoStatus{Context: &status.Context, State: &state, Description: &status.Description}
	if status.URL != "" {
		write.TargetURL = &status.URL
	}
	_, _, err = c.api.Repositories.CreateStatus(ctx, c.owner, c.name, string(commit), write)
	return c.fault(op, err)
}

// status is the newest of a context: GitHub's combined status has one of each.
func (c *Client) status(ctx context.Context, commit source.Revision, of string) (forge.Status, error) {
	for page := 1; page <= maxStatuses; page++ {
		combined, response, err := c.api.Repositories.GetCombinedStatus(ctx, c.owner, c.name, string(commit), &sdk.ListOptions{Page: page, PerPage: pageSize})
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

// Comment keeps one comment of our own on a pull request, found by its marker.
func (c *Client) Comment(ctx context.Context, number int64, marker, body string) error {
	op := fmt.Sprintf("comment on pull request %d", number)
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
	body = forge.Marked(marker, body)
	ours, err := c.commentOf(ctx, number, self, marker)
	switch {
	case err != nil:
		return err
	case ours == nil:
		_, _, err = c.api.Issues.CreateComment(ctx, c.owner, c.name, int(number), &sdk.IssueComment{Body: &body})
	case !forge.SameText(ours.GetBody(), body):
		_, _, err = c.api.Issues.EditComment(ctx, c.owner, c.name, ours.GetID(), &sdk.IssueComment{Body: &body})
	}
	return err
}

// commentOf is somebody's comment with that marker; nil is none. Where there are
// more comments than are read, one more is not written: it would be another one
// each time.
func (c *Client) commentOf(ctx context.Context, number int64, who forge.Account, marker string) (*sdk.IssueComment, error) {
	for page := 1; page <= maxComments; page++ {
		list, response, err := c.api.Issues.ListComments(ctx, c.owner, c.name, int(number), &sdk.IssueListCommentsOptions{
			ListOptions: sdk.ListOptions{Page: page, PerPage: pageSize},
		})
		if err != nil {
			return nil, err
		}
		for _, each := range list {
			if account(each.GetUser()).Same(who) && forge.HasMarker(marker, each.GetBody()) {
				return each, nil
			}
		}
		if len(list) == 0 || response.NextPage == 0 {
			return nil, nil
		}
	}
	return nil, fmt.Errorf("%w: pull request %d has more than %d comments", forge.ErrRejected, number, maxComments*pageSize)
}
