package gitea

import (
	"context"
	"fmt"

	sdk "code.gitea.io/sdk/gitea"

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
	api, err := c.asking(ctx)
	if err != nil {
		return c.fault(op, err)
	}
	status = status.Bounded()
	stands, err := c.status(api, commit, status.Context)
	if err != nil || stands == status {
		return c.fault(op, err)
	}
	_, _, err = api.CreateStatus(c.owner, c.name, string(commit), sdk.CreateStatusOption{
		Context: status.Context, State: sdk.StatusState(status.State), Description: status.Description, TargetURL: status.URL,
	})
	return c.fault(op, err)
}

// status is the newest of a context. The list begins with the newest second,
// which may have more than one.
func (c *Client) status(api *sdk.Client, commit source.Revision, of string) (forge.Status, error) {
	for page := 1; page <= maxPages; page++ {
		list, response, err := api.ListStatuses(c.owner, c.name, string(commit), sdk.ListStatusesOption{
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

// Comment keeps one comment of our own on a pull request, found by its marker.
func (c *Client) Comment(ctx context.Context, number int64, marker, body string) error {
	op := fmt.Sprintf("comment on pull request %d", number)
	if err := c.take(ctx); err != nil {
		return c.fault(op, err)
	}
	defer c.give()
	api, err := c.asking(ctx)
	if err == nil {
		err = c.comment(api, number, marker, body)
	}
	return c.fault(op, err)
}

func (c *Client) comment(api *sdk.Client, number int64, marker, body string) error {
	self, err := c.account(api)
	if err != nil {
		return err
	}
	body = forge.Marked(marker, body)
	all, _, err := api.ListIssueComments(c.owner, c.name, number, sdk.ListIssueCommentOptions{}) // it has no pages
	if err != nil {
		return err
	}
	for _, each := range all {
		if each == nil || !account(each.Poster).Same(self) || !forge.HasMarker(marker, each.Body) {
			continue
		}
		if forge.SameText(each.Body, body) {
			return nil
		}
		_, _, err = api.EditIssueComment(c.owner, c.name, each.ID, sdk.EditIssueCommentOption{Body: body})
		return err
	}
	_, _, err = api.CreateIssueComment(c.owner, c.name, number, sdk.CreateIssueCommentOption{Body: body})
	return err
}
