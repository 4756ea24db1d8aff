package app

import (
	"fmt"
	"net/http"

	"chaperone.dev/chaperone/internal/config"
	"chaperone.dev/chaperone/internal/controller"
	"chaperone.dev/chaperone/internal/forge/client"
	"chaperone.dev/chaperone/internal/forge/gitea"
	"chaperone.dev/chaperone/internal/forge/github"
	"chaperone.dev/chaperone/internal/forge/gitlab"
	"chaperone.dev/chaperone/internal/forge/wire"
)

// openForge makes the client of the forge that is configured; nil is none. It
// asks nothing yet: a forge that is down keeps no daemon from starting.
func openForge(c config.Forge) (controller.Forge, error) {
	if c.Kind == "" {
		return nil, nil
	}
	address := c.URL
	if c.Kind == config.KindGitHub {
		address = github.Address(c.URL)
	}
	http, err := wire.Client(wire.Config{URL: address, Token: wire.TokenFile(c.TokenFile)})
	if err != nil {
		return nil, fmt.Errorf("forge.url: %w", err)
	}
	made, err := forgeOf(c, http)
	if err != nil {
		return nil, fmt.Errorf("forge.repository: %w", err)
	}
	return made, nil
}

func forgeOf(c config.Forge, http *http.Client) (controller.Forge, error) {
	var (
		api client.API
		err error
	)
	switch c.Kind {
	case config.KindGitHub:
		api, err = github.New(c.URL, c.Repository, http, nil)
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
