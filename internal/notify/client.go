package notify

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"syscall"
	"time"
)

const (
	// requestTimeout bounds one try, from the look-up of the name to the end of the answer.
	requestTimeout = 10 * time.Second
	dialTimeout    = 5 * time.Second
	// maxAnswer is how much of an answer's body is read.
	maxAnswer  = 1 << 10
	maxHeaders = 16 << 10
)

// ClientConfig is what a [Client] needs. The zero value reaches https addresses of other machines.
type ClientConfig struct {
	Allow     []netip.Prefix // networks in which plain http, this machine and link-local addresses are allowed
	TLS       *tls.Config    // nil: the system's certificates
	Resolver  *net.Resolver  // nil: the system's
	UserAgent string
}

// Client makes the requests. It is safe for concurrent use.
type Client struct {
	http  *http.Client
	allow []netip.Prefix
	agent string
}

// NewClient makes a client.
func NewClient(cfg ClientConfig) *Client {
	c := &Client{allow: cfg.Allow, agent: cfg.UserAgent}
	dial := func(allowOnly bool) func(ctx context.Context, network, addr string) (net.Conn, error) {
		d := &net.Dialer{
			Timeout: dialTimeout, Resolver: cfg.Resolver,
			// The address that is dialled, after the look-up: a name that answers differently the second time gains
			// nothing.
			ControlContext: func(_ context.Context, _, address string, _ syscall.RawConn) error {
				return c.check(address, allowOnly)
			},
		}
		return d.DialContext
	}
	transport := &http.Transport{
		Proxy:           nil, // nor one from the environment: it would look names up where nobody checks
		TLSClientConfig: cfg.TLS, DisableCompression: true, ForceAttemptHTTP2: false,
		MaxIdleConns: 200, MaxIdleConnsPerHost: 2, IdleConnTimeout: 30 * time.Second,
		TLSHandshakeTimeout: dialTimeout, ResponseHeaderTimeout: requestTimeout, MaxResponseHeaderBytes: maxHeaders,
		DialContext: dial(false),
	}
	plain := transport.Clone()
	plain.DialContext = dial(true)
	c.http = &http.Client{
		Transport:     bothSchemes{secure: transport, plain: plain},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		Timeout:       requestTimeout,
	}
	return c
}

// Close ends the connections that are kept.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// bothSchemes keeps plain http to its own dialler.
type bothSchemes struct{ secure, plain *http.Transport }

func (b bothSchemes) RoundTrip(r *http.Request) (*http.Response, error) {
	switch r.URL.Scheme {
	case "https":
		return b.secure.RoundTrip(r)
	case "http":
		return b.plain.RoundTrip(r)
	}
	return nil, errors.New("the address is not https")
}

func (b bothSchemes) CloseIdleConnections() {
	b.secure.CloseIdleConnections()
	b.plain.CloseIdleConnections()
}

var (
	errPlain = errors.New("plain http is only for the networks of CURFEW_OUTBOUND_ALLOW")
	errSelf  = errors.New("the address is this machine's own, or link-local, and not in CURFEW_OUTBOUND_ALLOW")
)

// check refuses an address that nothing registered may reach.
func (c *Client) check(address string, allowedOnly bool) error {
	port, err := netip.ParseAddrPort(address)
	if err != nil {
		return fmt.Errorf("an address that cannot be read: %w", err)
	}
	addr := port.Addr().Unmap().WithZone("")
	if slices.ContainsFunc(c.allow, func(p netip.Prefix) bool { return p.Contains(addr) }) {
		return nil
	}
	if allowedOnly {
		return errPlain
	}
	if isForbidden(addr) || isOwn(addr) {
		return errSelf
	}
	return nil
}

var (
	thisNetwork = netip.MustParsePrefix("0.0.0.0/8")          // the system takes it for this machine
	siteLocal   = netip.MustParsePrefix("fec0::/10")          // what link-local was
	metadata    = netip.MustParsePrefix("fd00:ec2::254/128")  // a cloud's machine metadata, not at a link-local address
	alibaba     = netip.MustParsePrefix("100.100.100.200/32") // another's
)

// isForbidden: loopback, unspecified, link-local, multicast and broadcast addresses, also inside an IPv6 address that
// stands for an IPv4 one.
func isForbidden(addr netip.Addr) bool {
	switch {
	case addr.IsLoopback(), addr.IsUnspecified(), addr.IsLinkLocalUnicast(), addr.IsMulticast(),
		thisNetwork.Contains(addr),
		addr == netip.AddrFrom4([4]byte{255, 255, 255, 255}), siteLocal.Contains(addr), metadata.Contains(addr),
		alibaba.Contains(addr):
		return true
	}
	inner, ok := embedded(addr)
	return ok && (isForbidden(inner) || isOwn(inner))
}

// embedded is the IPv4 address in an IPv6 one: IPv4-compatible (RFC 4291), NAT64 (RFC 6052, RFC 8215), 6to4 (RFC 3056).
func embedded(addr netip.Addr) (netip.Addr, bool) {
	if !addr.Is6() {
		return netip.Addr{}, false
	}
	b := addr.As16()
	switch {
	case bytes.Equal(b[:12], make([]byte, 12)),
		bytes.Equal(b[:12], []byte{0, 0x64, 0xff, 0x9b, 0, 0, 0, 0, 0, 0, 0, 0}),
		bytes.Equal(b[:6], []byte{0, 0x64, 0xff, 0x9b, 0, 1}):
		return netip.AddrFrom4([4]byte(b[12:])), true
	case b[0] == 0x20 && b[1] == 0x02:
		return netip.AddrFrom4([4]byte(b[2:6])), true
	}
	return netip.Addr{}, false
}

// isOwn: an address of one of this machine's interfaces. Where they cannot be listed, none is known.
func isOwn(addr netip.Addr) bool {
	own, err := net.InterfaceAddrs()
	if err != nil {
		return false
	}
	return slices.ContainsFunc(own, func(a net.Addr) bool {
		prefix, err := netip.ParsePrefix(a.String())
		return err == nil && prefix.Addr().Unmap().WithZone("") == addr
	})
}

// Answer is what came of one request.
type Answer struct {
	Status int // 0 if there was none
	Took   time.Duration
	Err    error
}

// OK tells whether the receiver has taken the notice.
func (a Answer) OK() bool { return a.Err == nil && a.Status >= 200 && a.Status <= 299 }

// String says it for people, without the address, in which a receiver may have put a secret.
func (a Answer) String() string {
	if a.Err == nil {
		return fmt.Sprintf("%d %s", a.Status, http.StatusText(a.Status))
	}
	err := a.Err
	if wrapped, ok := errors.AsType[*url.Error](err); ok {
		err = wrapped.Err
	}
	if errors.Is(err, context.DeadlineExceeded) || errors.Is(a.Err, context.DeadlineExceeded) {
		return fmt.Sprintf("no answer within %s", requestTimeout)
	}
	text := err.Error()
	// The database takes whole characters only, and the answer's words may be in it.
	return strings.ToValidUTF8(strings.ReplaceAll(text[:min(len(text), 200)], "\x00", ""), "")
}

// request is one notice, ready to be sent.
type request struct {
	url    string
	header http.Header
	body   []byte
}

// send makes the request once.
func (c *Client) send(ctx context.Context, r request) Answer {
	begin := time.Now()
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, r.url, bytes.NewReader(r.body))
	if err != nil {
		return Answer{Err: errors.New("the address cannot be read")}
	}
	req.Header = r.header.Clone()
	req.Header.Set("User-Agent", c.agent)
	res, err := c.http.Do(req)
	if err != nil {
		return Answer{Took: time.Since(begin), Err: err}
	}
	// What fits is read so that the connection can be used again; the rest is nobody's.
	_, err = io.Copy(io.Discard, io.LimitReader(res.Body, maxAnswer))
	res.Body.Close()
	if res.StatusCode >= 200 && res.StatusCode <= 299 {
		err = nil // its head has said it
	}
	return Answer{Status: res.StatusCode, Took: time.Since(begin), Err: err}
}
