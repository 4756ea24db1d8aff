package client

import (
	"context"
	"fmt"

	"chaperone.dev/chaperone/internal/forge"
	"chaperone.dev/chaperone/internal/source"
)

// SetStatus writes where the newest status of that context says something else.
func (c *Client) SetStatus(ctx context.Context, commit source.Revision, want forge.Status) error {
	want = want.Bounded()
	if len(want.URL) > c.is.MaxLink {
		want.URL = ""
	}
	return c.alone(ctx, fmt.Sprintf("set status %s of %s", want.Context, commit.Short()), func() error {
		stands, err := c.api.Status(ctx, commit, want.Context)
		if err != nil || stands == want {
			return err
		}
		return c.api.WriteStatus(ctx, commit, stands, want)
	})
}

// Statuses are the newest ones of a commit, one of each context, whoever set them.
func (c *Client) Statuses(ctx context.Context, commit source.Revision) ([]forge.Status, error) {
	statuses, err := c.api.Statuses(ctx, commit)
	return statuses, c.fault("read statuses of "+commit.Short(), err)
}

// Comment keeps one comment of our own on a pull request, found by its marker.
func (c *Client) Comment(ctx context.Context, number int64, marker, body string) error {
	return c.alone(ctx, fmt.Sprintf("comment on %s %d", c.is.PullRequest, number), func() error {
		return c.comment(ctx, number, marker, body)
	})
}

// Amend is Comment where there is one already; else nothing is written.
func (c *Client) Amend(ctx context.Context, number int64, marker, body string) error {
	return c.alone(ctx, fmt.Sprintf("amend comment on %s %d", c.is.PullRequest, number), func() error {
		return c.write(ctx, number, marker, body, func() error { return nil })
	})
}

func (c *Client) comment(ctx context.Context, number int64, marker, body string) error {
	return c.write(ctx, number, marker, body, func() error {
		return c.api.WriteComment(ctx, number, forge.Marked(marker, c.is.Safe(body)))
	})
}

// write changes the comment of our own; without one, it is begun, or left.
func (c *Client) write(ctx context.Context, number int64, marker, body string, begin func() error) error {
	self, err := c.account(ctx)
	if err != nil {
		return err
	}
	body = forge.Marked(marker, c.is.Safe(body))
	ours, found, err := c.commentOf(ctx, number, self, marker)
	switch {
	case err != nil:
		return err
	case !found:
		return begin()
	case forge.SameText(ours.Body, body):
		return nil
	}
	return c.api.EditComment(ctx, number, ours.ID, body)
}

// commentOf is somebody's comment with that marker. Where there are more comments
// than are read, one more is not written: it would be another one each time.
func (c *Client) commentOf(ctx context.Context, number int64, who forge.Account, marker string) (forge.Comment, bool, error) {
	for page := range c.pages(maxComments) {
		list, last, err := c.api.Comments(ctx, number, page+1)
		if err != nil {
			return forge.Comment{}, false, err
		}
		for _, each := range list {
			if each.By.Same(who) && forge.HasMarker(marker, each.Body) {
				return each, true, nil
			}
		}
		if last {
			return forge.Comment{}, false, nil
		}
	}
	return forge.Comment{}, false, fmt.Errorf("%w: %s %d has more than %d comments", forge.ErrRejected, c.is.PullRequest, number, maxComments)
}
