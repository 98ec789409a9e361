package models

import "net/netip"

// ParseIP takes an address and gives its one spelling, in which it is stored and looked for: without a zone, and an
// IPv4 address that came as IPv6 as what it is.
func ParseIP(text string) (ip string, ok bool) {
	addr, err := netip.ParseAddr(text)
	if err != nil {
		return "", false
	}
	return addr.Unmap().WithZone("").String(), true
}

var (
	nat64      = netip.MustParsePrefix("64:ff9b::/96")   // RFC 6052: a translator, and behind each address an IPv4 one
	nat64Local = netip.MustParsePrefix("64:ff9b:1::/48") // RFC 8215: the same, of a network's own
	sixToFour  = netip.MustParsePrefix("2002::/16")      // RFC 3056: each IPv4 address has 65,536 of these /64
	teredo     = netip.MustParsePrefix("2001::/32")      // RFC 4380: the first half names a server of many
)

// addressPrefix is what one subscriber's addresses have in common: an IPv4 address, or the /64 of an IPv6 one. Of a
// prefix whose addresses stand for those of many people, each is one's own. What is no address is taken as it is.
func addressPrefix(ip string) string {
	addr, err := netip.ParseAddr(ip)
	if err != nil {
		return ip
	}
	addr = addr.Unmap().WithZone("")
	switch b := addr.As16(); {
	case addr.Is4(), nat64Local.Contains(addr):
		return addr.String()
	case nat64.Contains(addr):
		return netip.AddrFrom4([4]byte(b[12:])).String()
	case sixToFour.Contains(addr):
		return netip.AddrFrom4([4]byte(b[2:6])).String()
	case teredo.Contains(addr):
		return netip.AddrFrom4([4]byte{^b[12], ^b[13], ^b[14], ^b[15]}).String()
	}
	return netip.PrefixFrom(addr, 64).Masked().String()
}

// knownIP is an address for the audit log: none if it is only that of a proxy that does not say whose it passes on.
func knownIP(ip string, byProxy bool) string {
	if byProxy {
		return ""
	}
	return ip
}
