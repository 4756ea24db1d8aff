package verify

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"syscall"
	"time"
)

// ErrForbiddenAddress refuses where a check must never reach: cloud metadata
// services hand out the node's credentials to whoever asks from inside.
var ErrForbiddenAddress = errors.New("link-local and metadata addresses are not asked")

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
	if forbidden(target.Addr()) {
		return fmt.Errorf("connect to %s: %w", target.Addr(), ErrForbiddenAddress)
	}
	return nil
}

var (
	nat64 = netip.MustParsePrefix("64:ff9b::/96")
	// metadata services that live outside the link-local ranges: of AWS (IPv6),
	// Alibaba, Azure and Oracle.
	metadata = []netip.Addr{
		netip.MustParseAddr("fd00:ec2::254"),
		netip.MustParseAddr("100.100.100.200"),
		netip.MustParseAddr("168.63.129.16"),
		netip.MustParseAddr("192.0.0.192"),
	}
)

func forbidden(addr netip.Addr) bool {
	addr = addr.Unmap().WithZone("")
	if nat64.Contains(addr) {
		b := addr.As16()
		addr = netip.AddrFrom4([4]byte(b[12:]))
	}
	if addr.IsLinkLocalUnicast() || addr.IsLinkLocalMulticast() {
		return true
	}
	for _, m := range metadata {
		if addr == m {
			return true
		}
	}
	return false
}

// checkHost refuses what can be told from the URL alone. Behind a proxy this is
// all there is, since the proxy resolves names.
func checkHost(host string) error {
	name := strings.TrimSuffix(strings.ToLower(host), ".")
	if name == "" {
		return errors.New("url has no host")
	}
	if addr, err := netip.ParseAddr(name); err == nil {
		if forbidden(addr) {
			return fmt.Errorf("%s: %w", addr, ErrForbiddenAddress)
		}
		return nil
	}
	// Resolvers also read 0xa9fea9fe, 2852039166 and 0251.0376.0.1 as addresses.
	last := name[strings.LastIndexByte(name, '.')+1:]
	if strings.Trim(last, "0123456789") == "" || strings.HasPrefix(last, "0x") {
		return fmt.Errorf("%q: want a name, or an address as four decimal numbers", host)
	}
	if name == "metadata.google.internal" || name == "metadata" {
		return fmt.Errorf("%q: %w", host, ErrForbiddenAddress)
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
