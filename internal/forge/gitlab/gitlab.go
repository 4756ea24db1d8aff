// Package gitlab asks a GitLab for merge requests, approvals, commit statuses and
// notes, by its SDK. It decides nothing: package client does. What it hands out
// was checked, and no text that went through Manners.Safe is a command to GitLab.
// Its tests ask what answers as the public documentation shows, not GitLab itself.
package gitlab

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"strings"

	sdk "gitlab.com/gitlab-org/api/client-go"

	"chaperone.dev/chaperone/internal/forge"
	"chaperone.dev/chaperone/internal/source"
)

const (
	pageSize = 100 // the most that GitLab gives
	maxPages = 10  // of the versions of a merge request, and of a commit's statuses
)

// API is one project on a GitLab, as one account.
type API struct {
	project string
	api     *sdk.Client
}

// New makes an API for the project group/name, or group/subgroup/name, of the
// GitLab at an address, over an HTTP client that signs requests and turns refusals
// into errors of package forge, as package wire makes them. The token needs the
// scope api and, in the project, the role Developer.
func New(address, project string, client *http.Client) (*API, error) {
	parts := strings.Split(project, "/")
	for _, part := range parts {
		if len(parts) < 2 || !forge.IsName(part) {
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
	return &API{project: project, api: api}, nil
}

// Manners are GitLab's.
func (a *API) Manners() forge.Manners {
	return forge.Manners{Repository: a.project, PullRequest: "merge request", PageSize: pageSize, HeadRef: "refs/merge-requests/%d/head", MaxLink: maxLink, Safe: harmless}
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

// Self is whose token is used.
func (a *API) Self(ctx context.Context) (forge.Account, error) {
	user, _, err := a.api.Users.CurrentUser(sdk.WithContext(ctx))
	if err != nil {
		return forge.Account{}, err
	}
	return forge.Account{Login: user.Username}, nil
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
