// Package gitea asks a Gitea, or a Forgejo, for pull requests, reviews, commit
// statuses and comments. It guarantees that each call looks before it writes,
// so that repeating one after a crash or a lost answer does nothing twice, and
// that it changes only what its own account wrote.
package gitea

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"sync"

	sdk "code.gitea.io/sdk/gitea"

	"chaperone.dev/chaperone/internal/forge"
	"chaperone.dev/chaperone/internal/source"
)

const (
	pageSize = 50 // the most that Gitea gives as it comes
	maxPages = forge.MaxOpen / pageSize
)

// Client is one repository on a Gitea, as one account.
type Client struct {
	url, owner, name string
	http             *http.Client
	writing          chan struct{} // one at a time looks and writes

	mu   sync.Mutex
	self forge.Account
}

// New makes a client for the repository owner/name of the Gitea at an address,
// over an HTTP client that signs requests and turns refusals into errors of
// package forge, as package wire makes them. The token needs the scopes
// write:repository, write:issue and read:user.
func New(address, repository string, client *http.Client) (*Client, error) {
	owner, name, ok := strings.Cut(repository, "/")
	if !ok || !plainName(owner) || !plainName(name) {
		return nil, fmt.Errorf("repository %.80q: want owner/name", repository)
	}
	return &Client{
		url: strings.TrimSuffix(address, "/"), owner: owner, name: name, http: client, writing: make(chan struct{}, 1),
	}, nil
}

// plainName reports whether Gitea could call somebody or something so.
func plainName(s string) bool {
	return s != "" && s != "." && s != ".." && !strings.ContainsFunc(s, func(r rune) bool {
		return !('a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9' || strings.ContainsRune("-_.", r))
	})
}

// asking is the SDK for one call: it takes the context of a client, and not of a
// request. No version is asked for, which would be one more request each time.
func (c *Client) asking(ctx context.Context) (*sdk.Client, error) {
	return sdk.NewClient(c.url, sdk.SetHTTPClient(c.http), sdk.SetContext(ctx), sdk.SetGiteaVersion(""))
}

func (c *Client) repository() string { return c.owner + "/" + c.name }

func (c *Client) fault(op string, err error) error { return forge.Fault(op, c.repository(), err) }

func (c *Client) take(ctx context.Context) error {
	select {
	case c.writing <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (c *Client) give() { <-c.writing }

// account is who we are. It is asked once: an account outlives its tokens.
func (c *Client) account(api *sdk.Client) (forge.Account, error) {
	c.mu.Lock()
	known := c.self
	c.mu.Unlock()
	if known.Login != "" {
		return known, nil
	}
	user, _, err := api.GetMyUserInfo()
	if err != nil {
		return forge.Account{}, fmt.Errorf("ask whose token this is: %w", err)
	}
	self := account(user)
	if self.Login == "" {
		return forge.Account{}, fmt.Errorf("%w: it does not say whose token this is", forge.ErrUnavailable)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.self = self
	return self, nil
}

// read asks for what the SDK has no call for.
func (c *Client) read(ctx context.Context, answer any, path ...string) error {
	address, err := url.JoinPath(c.url, append([]string{"api", "v1", "repos", url.PathEscape(c.owner), url.PathEscape(c.name)}, path...)...)
	if err != nil {
		return err
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return err
	}
	response, err := c.http.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	return json.NewDecoder(response.Body).Decode(answer)
}

func account(user *sdk.User) forge.Account {
	if user == nil {
		return forge.Account{}
	}
	return forge.Account{
		Login: forge.Line(user.UserName, forge.MaxTitle), Name: forge.Line(user.FullName, forge.MaxTitle), Email: forge.Line(user.Email, forge.MaxTitle),
	}
}

// pullRequest checks what an answer holds: decisions are made of it.
func (c *Client) pullRequest(from *sdk.PullRequest) (forge.PullRequest, error) {
	if from == nil || from.Index <= 0 || from.Base == nil || from.Head == nil {
		return forge.PullRequest{}, fmt.Errorf("%w: its answer holds a pull request without number, base or head", forge.ErrUnavailable)
	}
	head, err := source.ParseRevision(from.Head.Sha)
	if err != nil {
		return forge.PullRequest{}, fmt.Errorf("%w: head of pull request %d: %w", forge.ErrUnavailable, from.Index, err)
	}
	pr := forge.PullRequest{
		Number: from.Index, Title: from.Title, Body: from.Body, Branch: from.Head.Name, Base: from.Base.Name, Head: head,
		State: forge.Open, Draft: from.Draft, Author: account(from.Poster), URL: link(from.HTMLURL),
		FromFork: from.Head.RepoID != from.Base.RepoID || from.Base.RepoID <= 0,
	}
	switch {
	case from.HasMerged:
		pr.State, pr.MergedBy = forge.Merged, account(from.MergedBy)
		if from.MergedCommitID != nil {
			if pr.MergeCommit, err = source.ParseRevision(*from.MergedCommitID); err != nil {
				return pr, fmt.Errorf("%w: merge of pull request %d: %w", forge.ErrUnavailable, from.Index, err)
			}
		}
	case from.State != sdk.StateOpen:
		pr.State = forge.Closed
	}
	return pr, nil
}

// link keeps an address that people may be sent to.
func link(text string) string {
	u, err := url.Parse(text)
	if err != nil || u.Scheme != "https" && u.Scheme != "http" || u.User != nil || len(text) > forge.MaxURL {
		return ""
	}
	return text
}
