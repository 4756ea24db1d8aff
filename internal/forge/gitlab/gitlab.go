// Package gitlab asks a GitLab for merge requests, approvals, commit statuses and
// notes. It guarantees that each call looks before it writes, so that repeating
// one after a crash or a lost answer does nothing twice, that it changes only
// what its own account wrote, and that no text that it writes is a command to
// GitLab. Its tests ask what answers as the public documentation shows, not GitLab
// itself.
package gitlab

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"sync"

	sdk "gitlab.com/gitlab-org/api/client-go"

	"chaperone.dev/chaperone/internal/forge"
	"chaperone.dev/chaperone/internal/source"
)

const (
	pageSize    = 100 // the most that GitLab gives
	maxPages    = forge.MaxOpen / pageSize
	maxComments = 30 // pages of notes on one merge request
)

// Client is one project on a GitLab, as one account.
type Client struct {
	project string
	api     *sdk.Client
	writing chan struct{} // one at a time looks and writes

	mu   sync.Mutex
	self forge.Account
}

// New makes a client for the project group/name, or group/subgroup/name, of the
// GitLab at an address, over an HTTP client that signs requests and turns refusals
// into errors of package forge, as package wire makes them. The token needs the
// scope api and, in the project, the role Developer.
func New(address, project string, client *http.Client) (*Client, error) {
	parts := strings.Split(project, "/")
	for _, part := range parts {
		if len(parts) < 2 || !plainName(part) {
			return nil, fmt.Errorf("project %.200q: want group/name, or group/subgroup/name", project)
		}
	}
	whole := *client
	if whole.Transport == nil {
		whole.Transport = http.DefaultTransport
	}
	whole.Transport = unpaced{whole.Transport}
	api, err := sdk.NewAuthSourceClient(sdk.Unauthenticated{}, sdk.WithBaseURL(address), sdk.WithHTTPClient(&whole), sdk.WithoutRetries(),
		sdk.WithURLWarningLogger(slog.New(slog.DiscardHandler)))
	if err != nil {
		return nil, fmt.Errorf("address %.80q: %w", address, err)
	}
	return &Client{project: project, api: api, writing: make(chan struct{}, 1)}, nil
}

// plainName reports whether GitLab could call a group or a project so.
func plainName(s string) bool {
	return s != "" && s != "." && s != ".." && !strings.ContainsFunc(s, func(r rune) bool {
		return !('a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9' || strings.ContainsRune("-_.", r))
	})
}

// unpaced keeps a header from the SDK, which would set its own pace after it, in
// the midst of other requests. The HTTP client heeds limits.
type unpaced struct{ next http.RoundTripper }

func (u unpaced) RoundTrip(request *http.Request) (*http.Response, error) {
	response, err := u.next.RoundTrip(request)
	if err == nil {
		response.Header.Del("RateLimit-Limit")
	}
	return response, err
}

func (c *Client) fault(op string, err error) error { return forge.Fault(op, c.project, err) }

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
func (c *Client) account(ctx context.Context) (forge.Account, error) {
	c.mu.Lock()
	known := c.self
	c.mu.Unlock()
	if known.Login != "" {
		return known, nil
	}
	user, _, err := c.api.Users.CurrentUser(sdk.WithContext(ctx))
	if err != nil {
		return forge.Account{}, fmt.Errorf("ask whose token this is: %w", err)
	}
	if user.Username == "" {
		return forge.Account{}, fmt.Errorf("%w: it does not say whose token this is", forge.ErrUnavailable)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.self = forge.Account{Login: user.Username}
	return c.self, nil
}

func account(user *sdk.BasicUser) forge.Account {
	if user == nil {
		return forge.Account{}
	}
	return forge.Account{Login: forge.Line(user.Username, forge.MaxTitle), Name: forge.Line(user.Name, forge.MaxTitle)}
}

// mergeRequest checks what an answer holds: decisions are made of it.
func mergeRequest(from *sdk.BasicMergeRequest) (forge.PullRequest, error) {
	if from == nil || from.IID <= 0 || from.TargetBranch == "" {
		return forge.PullRequest{}, fmt.Errorf("%w: its answer holds a merge request without number or target", forge.ErrUnavailable)
	}
	head, err := source.ParseRevision(from.SHA)
	if err != nil {
		return forge.PullRequest{}, fmt.Errorf("%w: head of merge request %d: %w", forge.ErrUnavailable, from.IID, err)
	}
	mr := forge.PullRequest{
		Number: from.IID, Title: from.Title, Body: from.Description, Branch: from.SourceBranch, Base: from.TargetBranch, Head: head,
		State: forge.Closed, Draft: from.Draft, Author: account(from.Author), URL: forge.Link(from.WebURL),
		FromFork: from.SourceProjectID != from.TargetProjectID || from.TargetProjectID <= 0,
	}
	switch from.State {
	case "opened", "locked": // locked while it is merged
		mr.State = forge.Open
	case "merged":
		mr.State, mr.MergedBy = forge.Merged, account(from.MergeUser)
		if from.MergeUser == nil {
			mr.MergedBy = account(from.MergedBy)
		}
		mr.MergeCommit, err = mergeCommit(from)
	}
	return mr, err
}

// mergeCommit is what the target got: a merge, a squashed commit, or without
// either the source's own commits, of which the last one counts.
func mergeCommit(from *sdk.BasicMergeRequest) (source.Revision, error) {
	for _, text := range []string{from.MergeCommitSHA, from.SquashCommitSHA, from.SHA} {
		if text == "" {
			continue
		}
		commit, err := source.ParseRevision(text)
		if err != nil {
			return "", fmt.Errorf("%w: merge of merge request %d: %w", forge.ErrUnavailable, from.IID, err)
		}
		return commit, nil
	}
	return "", nil
}

// harmless keeps lines from being quick actions, which GitLab carries out in the
// name of who writes them: a text holds what others wrote. It comes after what
// people cannot see was taken out, which may stand before a slash.
func harmless(text string) string {
	text = strings.ReplaceAll(forge.Text(text, forge.MaxBody), "\n/", "\n /")
	if rest, first := strings.CutPrefix(text, "/"); first {
		text = "&#47;" + rest
	}
	return forge.Text(text, forge.MaxBody)
}
