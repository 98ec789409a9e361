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

// addressPrefix is what one subscriber's addresses have in common: an IPv4 address, or the /64 of an IPv6 one. What is
// no address is taken as it is.
func addressPrefix(ip string) string {
	addr, err := netip.ParseAddr(ip)
	if err != nil {
		return ip
	}
	if addr = addr.Unmap().WithZone(""); addr.Is4() {
		return addr.String()
	}
	return netip.PrefixFrom(addr, 64).Masked().String()
}
