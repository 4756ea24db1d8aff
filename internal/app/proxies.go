package app

import (
	"fmt"
	"net/http"
	"net/url"
)

// proxies refuses settings of the process's proxies that are no addresses. Go finds
// that out at each request, and quotes them in its error, passwords and all.
func proxies(find func(*http.Request) (*url.URL, error)) error {
	for scheme, variable := range map[string]string{"http": "HTTP_PROXY", "https": "HTTPS_PROXY"} {
		asked := &http.Request{URL: &url.URL{Scheme: scheme, Host: "chaperone.invalid"}}
		if _, err := find(asked); err != nil {
			return fmt.Errorf("%s: not an address; want one such as http://proxy.example.org:3128", variable)
		}
	}
	return nil
}
