package github

import (
	"net/http"
	"testing"

	"chaperone.dev/chaperone/internal/forge/client"
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
	transport := http.DefaultTransport.(*http.Transport).Clone()
	httpClient, err := wire.Client(wire.Config{
		URL: Address(site.URL), Token: wire.TokenFile(site.TokenFile), Base: wire.Remember(transport),
	})
	if err != nil {
		t.Fatal(err)
	}
	api, err := New(site.URL, site.Repository, httpClient, nil)
	if err != nil {
		t.Fatal(err)
	}
	site.Client = client.New(api)
	return site
}
