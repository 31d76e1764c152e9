package parse

import (
	"net/netip"
	"slices"
)

// special lists the address blocks that IANA's registries of special-purpose addresses do not mark
// as globally reachable, and multicast. Documentation addresses (RFC 5737, RFC 3849, RFC 9637) are
// missing on purpose: callers use them in tests. IPv6 addresses outside 2000::/3 need no block
// here.
var special = prefixes(
	"0.0.0.0/8",
	"10.0.0.0/8",
	"100.64.0.0/10", // shared (RFC 6598)
	"127.0.0.0/8",
	"169.254.0.0/16",
	"172.16.0.0/12",
	"192.0.0.0/24", // protocol assignments (RFC 6890)
	"192.168.0.0/16",
	"198.18.0.0/15", // benchmarks (RFC 2544)
	"224.0.0.0/4",
	"240.0.0.0/4",
	"2001::/23", // protocol assignments (RFC 2928)
)

// reachable lists the globally reachable parts of special.
var reachable = prefixes(
	"192.0.0.9/32", "192.0.0.10/32", // PCP and TURN anycast (RFC 7723, RFC 8155)
	"2001:1::1/128", "2001:1::2/128", "2001:1::3/128", // PCP, TURN and DNS-SD anycast (RFC 7723, RFC 8155, RFC 9665)
	"2001:3::/32",     // AMT (RFC 7450)
	"2001:4:112::/48", // AS112 (RFC 7535)
	"2001:20::/28",    // ORCHIDv2 (RFC 7343)
	"2001:30::/28",    // drone remote identification (RFC 9374)
)

var (
	global = netip.MustParsePrefix("2000::/3")
	nat64  = netip.MustParsePrefix("64:ff9b::/96") // RFC 6052
	sixTo4 = netip.MustParsePrefix("2002::/16")    // RFC 3056
	teredo = netip.MustParsePrefix("2001::/32")    // RFC 4380
)

// public reports whether ip can be the address of a user on the internet. For NAT64, 6to4 and
// Teredo it checks the embedded IPv4 address.
func public(ip netip.Addr) bool {
	if ip.Is6() {
		b := ip.As16()
		switch {
		case nat64.Contains(ip):
			return public(netip.AddrFrom4([4]byte(b[12:])))
		case sixTo4.Contains(ip):
			return public(netip.AddrFrom4([4]byte(b[2:6])))
		case teredo.Contains(ip): // stored with all bits inverted
			return public(netip.AddrFrom4([4]byte{^b[12], ^b[13], ^b[14], ^b[15]}))
		case !global.Contains(ip):
			return false
		}
	}
	in := func(p netip.Prefix) bool { return p.Contains(ip) }
	return !slices.ContainsFunc(special, in) || slices.ContainsFunc(reachable, in)
}

// prefixes parses address blocks; it panics if one is invalid.
func prefixes(texts ...string) []netip.Prefix {
	list := make([]netip.Prefix, len(texts))
	for i, text := range texts {
		list[i] = netip.MustParsePrefix(text)
	}
	return list
}
