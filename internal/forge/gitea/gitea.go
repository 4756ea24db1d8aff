// Package gitea asks a Gitea, or a Forgejo, for pull requests, reviews, commit
// statuses and comments, by Gitea's own SDK. It decides nothing: package client
// does. What it hands out was checked.
package gitea

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	sdk "code.gitea.io/sdk/gitea"

	"chaperone.dev/chaperone/internal/forge"
	"chaperone.dev/chaperone/internal/source"
)

const (
	pageSize = 50 // the most that Gitea gives as it comes
	maxPages = 10 // of the statuses of one commit
)

// API is one repository on a Gitea, as one account.
type API struct {
	url, owner, name string
	http             *http.Client
}

// New makes an API for the repository owner/name of the Gitea at an address,
// over an HTTP client that signs requests and turns refusals into errors of
// package forge, as package wire makes them. The token needs the scopes
// write:repository, write:issue and read:user.
func New(address, repository string, client *http.Client) (*API, error) {
	owner, name, ok := strings.Cut(repository, "/")
	if !ok || !forge.IsName(owner) || !forge.IsName(name) {
		return nil, fmt.Errorf("repository %.80q: want owner/name", repository)
	}
	return &API{url: strings.TrimSuffix(address, "/"), owner: owner, name: name, http: client}, nil
}

// Manners are Gitea's.
func (a *API) Manners() forge.Manners {
	return forge.Manners{Repository: a.owner + "/" + a.name, PullRequest: "pull request", PageSize: pageSize, HeadRef: "refs/pull/%d/head"}
}

// asking is the SDK for one call: it takes the context of a client, and not of a
// request. No version is asked for, which would be one more request each time.
func (a *API) asking(ctx context.Context) (*sdk.Client, error) {
	return sdk.NewClient(a.url, sdk.SetHTTPClient(a.http), sdk.SetContext(ctx), sdk.SetGiteaVersion(""))
}

// Self is whose token is used.
func (a *API) Self(ctx context.Context) (forge.Account, error) {
	api, err := a.asking(ctx)
	if err != nil {
		return forge.Account{}, err
	}
	user, _, err := api.GetMyUserInfo()
	return account(user), err
}

// read asks for what the SDK has no call for.
func (a *API) read(ctx context.Context, answer any, path ...string) error {
	address, err := url.JoinPath(a.url, append([]string{"api", "v1", "repos", url.PathEscape(a.owner), url.PathEscape(a.name)}, path...)...)
	if err != nil {
		return err
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return err
	}
	response, err := a.http.Do(request)
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
func pullRequest(from *sdk.PullRequest) (forge.PullRequest, error) {
	if from == nil || from.Index <= 0 || from.Base == nil || from.Head == nil {
		return forge.PullRequest{}, fmt.Errorf("%w: its answer holds a pull request without number, base or head", forge.ErrUnavailable)
	}
	head, err := source.ParseRevision(from.Head.Sha)
	if err != nil {
		return forge.PullRequest{}, fmt.Errorf("%w: head of pull request %d: %w", forge.ErrUnavailable, from.Index, err)
	}
	pr := forge.PullRequest{
		Number: from.Index, Title: from.Title, Body: from.Body, Branch: from.Head.Name, Base: from.Base.Name, Head: head,
		State: forge.Open, Draft: from.Draft, Author: account(from.Poster), URL: forge.Link(from.HTMLURL),
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
