package verify

import (
	"crypto/tls"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"syscall"
	"time"

	"chaperone.dev/chaperone/internal/promotion"
)

// NewClient returns a client for checks. With a proxy, every request goes
// through it; without, the usual proxy settings of the process are honoured.
func NewClient(proxy *url.URL) *http.Client {
	dialer := &net.Dialer{Timeout: 10 * time.Second, Control: refuseForbidden}
	transport := &http.Transport{
		Proxy:                  http.ProxyFromEnvironment,
		DialContext:            dialer.DialContext,
		TLSHandshakeTimeout:    10 * time.Second,
		TLSClientConfig:        &tls.Config{MinVersion: tls.VersionTLS12},
		MaxResponseHeaderBytes: 64 << 10,
	}
	if proxy != nil {
		transport.Proxy = http.ProxyURL(proxy)
	}
	return &http.Client{Transport: transport}
}

// refuseForbidden sees the address that a name resolved to, at the moment of
// connecting: checking the name alone could be tricked by DNS.
func refuseForbidden(_, address string, _ syscall.RawConn) error {
	target, err := netip.ParseAddrPort(address)
	if err != nil {
		return fmt.Errorf("connect to %q: %w", address, err)
	}
	if promotion.Forbidden(target.Addr()) {
		return fmt.Errorf("connect to %s: %w", target.Addr(), promotion.ErrForbiddenAddress)
	}
	return nil
}

// maxRedirects is how far a check follows an endpoint on its own host.
const maxRedirects = 3

// follow returns the redirect rule of one check: stay on the host, at most
// maxRedirects times, and never past an answer that is one of those expected.
// Where it stops, the redirect itself is the answer.
func follow(expected func(status int) bool) func(*http.Request, []*http.Request) error {
	return func(next *http.Request, via []*http.Request) error {
		first := via[0].URL
		if next.Response != nil && expected(next.Response.StatusCode) ||
			len(via) > maxRedirects || !sameHost(first, next.URL) {
			return http.ErrUseLastResponse
		}
		return nil
	}
}

// sameHost allows the step from http to https on the default ports.
func sameHost(from, to *url.URL) bool {
	if !strings.EqualFold(from.Hostname(), to.Hostname()) {
		return false
	}
	if from.Scheme == to.Scheme {
		return port(from) == port(to)
	}
	return from.Scheme == "http" && to.Scheme == "https" && port(from) == "80" && port(to) == "443"
}

func port(u *url.URL) string {
	switch {
	case u.Port() != "":
		return u.Port()
	case u.Scheme == "https":
		return "443"
	}
	return "80"
}
