package app

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"
)

func TestPitfall41_ProxiesAreNotQuoted(t *testing.T) {
	t.Parallel()
	if err := proxies(func(*http.Request) (*url.URL, error) { return url.Parse("http://proxy.example.org:3128") }); err != nil {
		t.Errorf("an address: %v", err)
	}
	for scheme, want := range map[string]string{"http": "HTTP_PROXY: ", "https": "HTTPS_PROXY: "} {
		err := proxies(func(r *http.Request) (*url.URL, error) {
			if r.URL.Scheme != scheme {
				return nil, nil
			}
			return nil, fmt.Errorf("invalid proxy address %q", "http://chaperone:hunter2@proxy:99999x")
		})
		if err == nil || !strings.HasPrefix(err.Error(), want) || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: %v", scheme, err)
		}
	}
}
