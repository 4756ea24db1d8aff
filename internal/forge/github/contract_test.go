package github

import (
	"testing"

	"chaperone.dev/chaperone/internal/forge/contract"
	"chaperone.dev/chaperone/internal/forge/wire"
	"chaperone.dev/chaperone/internal/testkit/shapes"
)

// On the shapes of GitHub's documentation, not on GitHub.
func TestContract(t *testing.T) {
	t.Parallel()
	contract.Run(t, func(t *testing.T) contract.World { return newWorld(t) })
}

func newWorld(t *testing.T) *shapes.Site {
	t.Helper()
	site := shapes.NewGitHub(t)
	http, err := wire.Client(wire.Config{URL: API(site.URL), Token: wire.TokenFile(site.TokenFile)})
	if err != nil {
		t.Fatal(err)
	}
	client, err := New(site.URL, site.Repository, http, nil)
	if err != nil {
		t.Fatal(err)
	}
	site.Client = client
	return site
}
