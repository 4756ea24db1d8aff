package app

import (
	"fmt"

	"chaperone.dev/chaperone/internal/config"
	"chaperone.dev/chaperone/internal/controller"
	"chaperone.dev/chaperone/internal/forge/gitea"
	"chaperone.dev/chaperone/internal/forge/wire"
)

// openForge makes the client of the forge that is configured; nil is none. It
// asks nothing yet: a forge that is down keeps no daemon from starting.
func openForge(c config.Forge) (controller.Forge, error) {
	if c.Kind == "" {
		return nil, nil
	}
	client, err := wire.Client(wire.Config{URL: c.URL, Token: wire.TokenFile(c.TokenFile)})
	if err != nil {
		return nil, fmt.Errorf("forge.url: %w", err)
	}
	made, err := gitea.New(c.URL, c.Repository, client)
	if err != nil {
		return nil, fmt.Errorf("forge.repository: %w", err)
	}
	return made, nil
}
