// Package client keeps what the daemon has to say on a forge: one pull request
// from a branch, one comment of each kind, the newest status of a context. It
// guarantees, whichever forge it is, that each call looks before it writes, so
// that repeating one after a crash or a lost answer does nothing twice, and that
// it changes only what its own account wrote. How a forge is asked is the
// business of an API: the packages gitea, github and gitlab have one each.
package client

import (
	"context"
	"fmt"
	"sync"

	"chaperone.dev/chaperone/internal/forge"
	"chaperone.dev/chaperone/internal/source"
)

// API is one repository of a forge, as one account. Its errors wrap those of
// package forge. Its methods ask once, and decide nothing.
type API interface {
	Manners() forge.Manners
	// Self is whose token is used.
	Self(ctx context.Context) (forge.Account, error)
	// PullRequests is a page of those that are listed, from 1, the latest changed
	// first. Others than were asked for may be among them. One that cannot be read is
	// left out, so that no stranger's pull request stands in the way of ours.
	PullRequests(ctx context.Context, of forge.Listing, page int) (list []forge.PullRequest, last bool, err error)
	OpenPullRequest(ctx context.Context, want forge.Proposal) (forge.PullRequest, error)
	EditPullRequest(ctx context.Context, number int64, title, body string) (forge.PullRequest, error)
	// EndPullRequest closes it without a merge.
	EndPullRequest(ctx context.Context, number int64) error
	// MergedBy is the merged pull request that made this commit of the base what it
	// is: its merge, its squashed commit, or the last one of a rebase.
	MergedBy(ctx context.Context, base string, commit source.Revision) (merge forge.Merge, found bool, err error)
	// Status is the newest of a context; the zero Status is none.
	Status(ctx context.Context, commit source.Revision, of string) (forge.Status, error)
	// Statuses are the newest ones, one of each context.
	Statuses(ctx context.Context, commit source.Revision) ([]forge.Status, error)
	// WriteStatus sets one where another, or none, stands.
	WriteStatus(ctx context.Context, commit source.Revision, stands, want forge.Status) error
	// Comments is a page of a pull request's comments by people, from 1, the first
	// one first.
	Comments(ctx context.Context, number int64, page int) (list []forge.Comment, last bool, err error)
	WriteComment(ctx context.Context, number int64, body string) error
	EditComment(ctx context.Context, number, comment int64, body string) error
}

const maxComments = 3000 // that are read of one pull request

// Client is one repository on a forge, as one account. It is safe for concurrent
// use.
type Client struct {
	api     API
	is      forge.Manners
	writing chan struct{} // one at a time looks and writes

	mu   sync.Mutex
	self forge.Account
}

// New makes a client; it asks nothing yet.
func New(api API) *Client {
	c := &Client{api: api, is: api.Manners(), writing: make(chan struct{}, 1)}
	if c.is.Safe == nil {
		c.is.Safe = func(text string) string { return text }
	}
	if c.is.MaxLink == 0 {
		c.is.MaxLink = forge.MaxURL
	}
	return c
}

func (c *Client) fault(op string, err error) error { return forge.Fault(op, c.is.Repository, err) }

// alone lets one at a time look and write, and names what was done where that did
// not succeed.
func (c *Client) alone(ctx context.Context, op string, do func() error) error {
	select {
	case c.writing <- struct{}{}:
		defer func() { <-c.writing }()
		return c.fault(op, do())
	case <-ctx.Done():
		return c.fault(op, ctx.Err())
	}
}

// account is who we are. It is asked once: an account outlives its tokens.
func (c *Client) account(ctx context.Context) (forge.Account, error) {
	c.mu.Lock()
	known := c.self
	c.mu.Unlock()
	if known.Login != "" {
		return known, nil
	}
	self, err := c.api.Self(ctx)
	switch {
	case err != nil:
		return forge.Account{}, fmt.Errorf("ask whose token this is: %w", err)
	case self.Login == "":
		return forge.Account{}, fmt.Errorf("%w: it does not say whose token this is", forge.ErrUnavailable)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.self = self
	return self, nil
}
