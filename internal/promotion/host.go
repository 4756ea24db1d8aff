package promotion

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
)

// ErrForbiddenAddress refuses where a check must never reach: cloud metadata
// services hand out the node's credentials to whoever asks from inside.
var ErrForbiddenAddress = errors.New("link-local and metadata addresses are not asked")

var (
	nat64 = netip.MustParsePrefix("64:ff9b::/96")
	// metadataServices are those that live outside the link-local ranges: of AWS (IPv6),
	// Alibaba, Azure and Oracle.
	metadataServices = []netip.Addr{
		netip.MustParseAddr("fd00:ec2::254"),
		netip.MustParseAddr("100.100.100.200"),
		netip.MustParseAddr("168.63.129.16"),
		netip.MustParseAddr("192.0.0.192"),
	}
)

// Forbidden reports whether an address is one that a check must never reach.
func Forbidden(addr netip.Addr) bool {
	addr = addr.Unmap().WithZone("")
	if nat64.Contains(addr) {
		b := addr.As16()
		addr = netip.AddrFrom4([4]byte(b[12:]))
	}
	if addr.IsLinkLocalUnicast() || addr.IsLinkLocalMulticast() {
		return true
	}
	for _, m := range metadataServices {
		if addr == m {
			return true
		}
	}
	return false
}

// CheckHost refuses what can be told from the URL alone. Behind a proxy this is
// all there is, since the proxy resolves names.
func CheckHost(host string) error {
	name := strings.TrimSuffix(strings.ToLower(host), ".")
	if name == "" {
		return errors.New("url has no host")
	}
	if addr, err := netip.ParseAddr(name); err == nil {
		if Forbidden(addr) {
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
