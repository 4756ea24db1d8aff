package gitlab

import (
	"testing"

	"chaperone.dev/chaperone/internal/forge/client"
	"chaperone.dev/chaperone/internal/forge/contract"
	"chaperone.dev/chaperone/internal/forge/wire"
	"chaperone.dev/chaperone/internal/testkit/shapes"
)

// On the shapes of GitLab's documentation, not on GitLab.
func TestContract(t *testing.T) {
	t.Parallel()
	contract.Run(t, func(t *testing.T) contract.World { return newWorld(t) })
}

func newWorld(t *testing.T) *shapes.Site {
	t.Helper()
	site := shapes.NewGitLab(t)
	http, err := wire.Client(wire.Config{URL: site.URL, Token: wire.TokenFile(site.TokenFile)})
	if err != nil {
		t.Fatal(err)
	}
	api, err := New(site.URL, site.Repository, http)
	if err != nil {
		t.Fatal(err)
	}
	site.Client = client.New(api)
	return site
}
