package web

import (
	"fmt"
	"log/slog"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/gin-gonic/gin"
)

// source is where a request came from.
type source struct {
	ip    string // stored and logged; empty if it is not known
	limit string // what limits count: ip, or in its place the proxy that did not say whose request it was
}

// proxies are those whose X-Forwarded-For is believed.
type proxies struct {
	trusted []netip.Prefix
	log     *slog.Logger

	unreadable atomic.Int64 // entries since the last line of the log
	logged     atomic.Int64 // when that was, Unix nanoseconds
}

// unreadableEvery is how often the log is told of addresses that cannot be read, at most.
const unreadableEvery = time.Minute

func newProxies(list []string, log *slog.Logger) (*proxies, error) {
	p := &proxies{log: log}
	for _, text := range list {
		prefix, err := netip.ParsePrefix(text)
		if err != nil {
			addr, err := netip.ParseAddr(text)
			if err != nil {
				return nil, fmt.Errorf("trusted proxies: %q is neither an address nor a prefix", text)
			}
			addr = addr.Unmap()
			prefix = netip.PrefixFrom(addr, addr.BitLen())
		}
		if bits := prefix.Bits() - 96; prefix.Addr().Is4In6() && bits >= 0 {
			prefix = netip.PrefixFrom(prefix.Addr().Unmap(), bits)
		}
		p.trusted = append(p.trusted, prefix)
	}
	return p, nil
}

func (p *proxies) trust(addr netip.Addr) bool {
	for _, prefix := range p.trusted {
		if prefix.Contains(addr) {
			return true
		}
	}
	return false
}

// source finds where a request came from: the peer, unless that is a trusted proxy. Then X-Forwarded-For is read from
// its end, where that proxy wrote, up to the first address that is no trusted proxy's. What lies before it anybody may
// have written. So an entry that cannot be read ends the search: the address is not known.
func (p *proxies) source(r *http.Request) source {
	peer, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return source{}
	}
	addr := peer.Addr().Unmap().WithZone("")
	// A proxy may add a line of its own below the client's (HAProxy does): they are one list, RFC 9110 section 5.3.
	lines := r.Header.Values("X-Forwarded-For")
	if len(lines) == 0 || !p.trust(addr) {
		return source{addr.String(), addr.String()}
	}
	for _, entry := range slices.Backward(strings.Split(strings.Join(lines, ","), ",")) {
		before, ok := parseForwarded(entry)
		if !ok {
			p.tell(addr, entry)
			return source{"", addr.String()}
		}
		if addr = before; !p.trust(addr) {
			break
		}
	}
	return source{addr.String(), addr.String()}
}

// parseForwarded reads one entry of X-Forwarded-For as proxies write it: an address, of IPv6 also in brackets, with a
// port or without.
func parseForwarded(entry string) (netip.Addr, bool) {
	entry = strings.Trim(entry, " \t")
	if with, err := netip.ParseAddrPort(entry); err == nil {
		return with.Addr().Unmap().WithZone(""), true
	}
	if inner, ok := strings.CutPrefix(entry, "["); ok {
		if entry, ok = strings.CutSuffix(inner, "]"); !ok || !strings.Contains(entry, ":") {
			return netip.Addr{}, false
		}
	}
	addr, err := netip.ParseAddr(entry)
	return addr.Unmap().WithZone(""), err == nil
}

// tell logs an entry that cannot be read, now and then.
func (p *proxies) tell(proxy netip.Addr, entry string) {
	n, now, last := p.unreadable.Add(1), time.Now().UnixNano(), p.logged.Load()
	if (last != 0 && now-last < int64(unreadableEvery)) || !p.logged.CompareAndSwap(last, now) {
		return
	}
	p.unreadable.Add(-n)
	p.log.Warn("a trusted proxy sends an X-Forwarded-For that cannot be read: such requests have no address, and all "+
		"of them share the limits of the proxy's", "proxy", proxy.String(), "entry", shorten(strings.TrimSpace(entry)),
		"requests", n)
}

// ClientIP is the address that the request came from, in its one spelling; empty if it is not known.
func ClientIP(c *gin.Context) string { return sourceOf(c).ip }

// LimitIP is the address that limits count the request for: [ClientIP], or the proxy's that did not say whose it is.
func LimitIP(c *gin.Context) string { return sourceOf(c).limit }

func sourceOf(c *gin.Context) source {
	s, _ := c.Value(sourceKey).(source)
	return s
}
