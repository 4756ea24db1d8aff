package github

import (
	"net/http"
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
	client, err := wire.Client(wire.Config{
		URL: API(site.URL), Token: wire.TokenFile(site.TokenFile), Base: wire.Remember(http.DefaultTransport.(*http.Transport).Clone()),
	})
	if err != nil {
		t.Fatal(err)
	}
	if site.Client, err = New(site.URL, site.Repository, client, nil); err != nil {
		t.Fatal(err)
	}
	return site
}
