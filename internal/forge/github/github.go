// Package github asks GitHub, or a GitHub Enterprise Server, for pull requests,
// reviews, commit statuses and comments, by its SDK. It decides nothing: package
// client does. What it hands out was checked. Its tests ask what answers as the
// public documentation shows, not GitHub itself.
package github

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"

	sdk "github.com/google/go-github/v74/github"

	"chaperone.dev/chaperone/internal/forge"
	"chaperone.dev/chaperone/internal/source"
)

const (
	pageSize    = 100 // the most that GitHub gives
	maxStatuses = 10  // pages: GitHub keeps 1000 statuses of a commit
)

// Self says whose token is used: its login. Asking GitHub works for people alone;
// a GitHub App is called after its slug, such as chaperone[bot].
type Self func(context.Context) (string, error)

// API is one repository on a GitHub, as one account.
type API struct {
	owner, name string
	api         *sdk.Client
	self        Self
}

// Address is where a GitHub of that address answers: GitHub itself and its Enterprise
// Cloud on a host beside it, an Enterprise Server under a path.
func Address(address string) string {
	u, err := url.Parse(strings.TrimSuffix(address, "/"))
	if err != nil || u.Host == "" {
		return address
	}
	switch host := strings.ToLower(u.Host); {
	case host == "github.com", host == "www.github.com":
		return "https://api.github.com"
	case host == "api.github.com":
		return u.String()
	case strings.HasSuffix(host, ".ghe.com") && !strings.HasPrefix(host, "api."):
		u.Host = "api." + u.Host
		return u.String()
	case strings.HasSuffix(u.Path, "/api/v3"), strings.HasSuffix(host, ".ghe.com"):
		return u.String()
	}
	return u.JoinPath("api", "v3").String()
}

// New makes an API for the repository owner/name of the GitHub at an address,
// over an HTTP client for what Address makes of it, that signs requests and turns
// refusals into errors of package forge, as package wire makes them. The token
// needs to read metadata, and to write pull requests, issues and commit statuses.
// A nil self asks GitHub.
func New(address, repository string, client *http.Client, self Self) (*API, error) {
	owner, name, ok := strings.Cut(repository, "/")
	if !ok || !forge.IsName(owner) || !forge.IsName(name) {
		return nil, fmt.Errorf("repository %.80q: want owner/name", repository)
	}
	base, err := url.Parse(Address(address) + "/")
	if err != nil || base.Host == "" {
		return nil, fmt.Errorf("address %.80q: want such as https://github.com", address)
	}
	whole := *client
	if whole.Transport == nil {
		whole.Transport = http.DefaultTransport
	}
	whole.Transport = something{whole.Transport}
	a := &API{owner: owner, name: name, api: sdk.NewClient(&whole), self: self}
	a.api.BaseURL = base
	a.api.DisableRateLimitCheck = true // the HTTP client heeds limits
	return a, nil
}

// Manners are GitHub's.
func (a *API) Manners() forge.Manners {
	return forge.Manners{Repository: a.owner + "/" + a.name, PullRequest: "pull request", PageSize: pageSize, HeadRef: "refs/pull/%d/head"}
}

// something refuses an answer of success that holds nothing: the SDK would take
// it for an empty list, and we for a pull request that is not there.
type something struct{ next http.RoundTripper }

func (s something) RoundTrip(request *http.Request) (*http.Response, error) {
	response, err := s.next.RoundTrip(request)
	if err != nil || response.StatusCode == http.StatusNoContent {
		return response, err
	}
	body := bufio.NewReader(response.Body)
	if _, err := body.Peek(1); err != nil {
		response.Body.Close()
		if err == io.EOF {
			err = fmt.Errorf("%w: its answer is empty", forge.ErrUnavailable)
		}
		return nil, err
	}
	response.Body = struct {
		io.Reader
		io.Closer
	}{body, response.Body}
	return response, nil
}

// Self is whose token is used.
func (a *API) Self(ctx context.Context) (forge.Account, error) {
	if a.self != nil {
		login, err := a.self(ctx)
		return forge.Account{Login: login}, err
	}
	user, _, err := a.api.Users.Get(ctx, "")
	return account(user), err
}

func account(user *sdk.User) forge.Account {
	return forge.Account{
		Login: forge.Line(user.GetLogin(), forge.MaxTitle), Name: forge.Line(user.GetName(), forge.MaxTitle), Email: forge.Line(user.GetEmail(), forge.MaxTitle),
	}
}

// pullRequest checks what an answer holds: decisions are made of it.
func pullRequest(from *sdk.PullRequest) (forge.PullRequest, error) {
	if from.GetNumber() <= 0 || from.GetBase().GetRef() == "" || from.Head == nil {
		return forge.PullRequest{}, fmt.Errorf("%w: its answer holds a pull request without number, base or head", forge.ErrUnavailable)
	}
	head, err := source.ParseRevision(from.Head.GetSHA())
	if err != nil {
		return forge.PullRequest{}, fmt.Errorf("%w: head of pull request %d: %w", forge.ErrUnavailable, from.GetNumber(), err)
	}
	of, to := from.Head.GetRepo().GetID(), from.Base.GetRepo().GetID() // the first is not there when the fork is gone
	pr := forge.PullRequest{
		Number: int64(from.GetNumber()), Title: from.GetTitle(), Body: from.GetBody(), Branch: from.Head.GetRef(), Base: from.Base.GetRef(),
		Head: head, State: forge.Open, Draft: from.GetDraft(), Author: account(from.User), URL: forge.Link(from.GetHTMLURL()), FromFork: of != to || to <= 0,
	}
	switch {
	case from.GetMerged() || from.MergedAt != nil: // lists have the second only
		pr.State, pr.MergedBy = forge.Merged, account(from.MergedBy)
		if pr.MergeCommit, err = source.ParseRevision(from.GetMergeCommitSHA()); err != nil {
			return pr, fmt.Errorf("%w: merge of pull request %d: %w", forge.ErrUnavailable, from.GetNumber(), err)
		}
	case from.GetState() != "open":
		pr.State = forge.Closed
	}
	return pr, nil
}
