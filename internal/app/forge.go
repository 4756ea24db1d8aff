package app

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"chaperone.dev/chaperone/internal/config"
	"chaperone.dev/chaperone/internal/controller"
	"chaperone.dev/chaperone/internal/forge"
	"chaperone.dev/chaperone/internal/forge/client"
	"chaperone.dev/chaperone/internal/forge/gitea"
	"chaperone.dev/chaperone/internal/forge/github"
	"chaperone.dev/chaperone/internal/forge/gitlab"
	"chaperone.dev/chaperone/internal/forge/wire"
	"chaperone.dev/chaperone/internal/source/githubapp"
)

// openForge makes the client of the forge that is configured; nil is none. Without
// a token of its own it is asked with those of the source's App. It
// asks nothing yet: a forge that is down keeps no daemon from starting.
func openForge(c config.Forge, app config.GitHubApp) (controller.Forge, error) {
	if c.Kind == "" {
		return nil, nil
	}
	address := c.URL
	if c.Kind == config.KindGitHub {
		address = github.Address(c.URL)
	}
	settings := wire.Config{URL: address, Token: wire.TokenFile(c.TokenFile)}
	var self github.Self
	if c.TokenFile == "" && app.ID != "" {
		tokens, err := forgeTokens(app, address)
		if err != nil {
			return nil, err
		}
		settings.Token, settings.Refused, self = told(tokens.Token), tokens.Forget, told(tokens.Account)
	}
	http, err := wire.Client(settings)
	if err != nil {
		return nil, fmt.Errorf("forge.url: %w", err)
	}
	made, err := forgeOf(c, http, self)
	if err != nil {
		return nil, fmt.Errorf("forge.repository: %w", err)
	}
	return made, nil
}

// forgeTokens are those of the source's App, which go to the GitHub that gave
// them alone.
func forgeTokens(app config.GitHubApp, address string) (*githubapp.Tokens, error) {
	given := app.API
	if given == "" {
		given = githubapp.DefaultAPI
	}
	if strings.TrimSuffix(given, "/") != address {
		return nil, fmt.Errorf("forge.url: source.githubAPI %s gives tokens for another GitHub than %s; want the same one, or forge.tokenFile", given, address)
	}
	return githubapp.New(githubapp.Options{API: app.API, App: app.ID, Installation: app.Installation, KeyFile: app.KeyFile})
}

// told says what an App's error means to who asks the forge.
func told(ask func(context.Context) (string, error)) func(context.Context) (string, error) {
	return func(ctx context.Context) (string, error) {
		answer, err := ask(ctx)
		switch {
		case err == nil:
			return answer, nil
		case errors.Is(err, githubapp.ErrRefused):
			return "", fmt.Errorf("%w: %w", forge.ErrUnauthorised, err)
		}
		return "", fmt.Errorf("%w: %w", forge.ErrUnavailable, err)
	}
}

func forgeOf(c config.Forge, http *http.Client, self github.Self) (controller.Forge, error) {
	var (
		api client.API
		err error
	)
	switch c.Kind {
	case config.KindGitHub:
		api, err = github.New(c.URL, c.Repository, http, self)
	case config.KindGitLab:
		api, err = gitlab.New(c.URL, c.Repository, http)
	case config.KindGitea:
		api, err = gitea.New(c.URL, c.Repository, http)
	default:
		err = fmt.Errorf("forge.kind %q is not known", c.Kind)
	}
	if err != nil {
		return nil, err
	}
	return client.New(api), nil
}
