package verify

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"os"
	"regexp"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// Leeway is how far ahead of the clock a token's issue may lie. Nothing else has any.
const Leeway = 10 * time.Second

// StalePolicy says what to do with a token while the feed has been silent for longer than the bound.
type StalePolicy int

const (
	// StaleIntrospect asks the issuer about each token. If it cannot be asked, the token is refused.
	StaleIntrospect StalePolicy = iota
	// StaleReject refuses every token.
	StaleReject
	// StaleAccept accepts what is not known to be dead. A sign-out may go unnoticed until the token expires.
	StaleAccept
)

// Config says whom to trust, and as whom to follow the feed. Issuer, ClientID and ClientSecret are required.
type Config struct {
	Issuer       string // the issuer's URL, exactly as in its metadata
	ClientID     string // a confidential client with the grant client_credentials and the scope revocations,
	ClientSecret string // and, for StaleIntrospect, with introspection

	Audience string // what aud must contain; default the issuer
	// Subscriber names this process in receipts: 1 to 64 of A-Z a-z 0-9 . _ -; default the end of the host's name and
	// some random letters.
	Subscriber string
	Bound      time.Duration // how old the knowledge may become; default 30s. Heartbeats come at least every 15 s
	WhenStale  StalePolicy   // default StaleIntrospect
	CacheSize  int           // tokens whose signature is remembered; default 10,000, about 1.5 kB each

	// InsecureHTTP takes an issuer at http:// that is not on this machine. Whoever is on the way to it can read the
	// client's secret, put keys of his own in, and keep sign-outs back.
	InsecureHTTP bool
	// HTTPClient is for everything; its Timeout must be 0, since it would cut the stream; default one of its own.
	HTTPClient *http.Client
	Logger     *slog.Logger // default slog.Default
}

// check says what cannot work.
func (cfg *Config) check() error {
	u, err := url.Parse(cfg.Issuer)
	switch {
	case err != nil || (u.Scheme != "https" && u.Scheme != "http") || u.Host == "" || u.RawQuery != "" ||
		u.Fragment != "":
		return fmt.Errorf("verify: Issuer %q: must be an absolute http or https URL without query and fragment",
			cfg.Issuer)
	case u.Scheme == "http" && !cfg.InsecureHTTP && !isLoopback(u.Hostname()):
		return fmt.Errorf("verify: Issuer %q: must be https, since it is not on this machine; InsecureHTTP "+
			"takes it all the same",
			cfg.Issuer)
	case cfg.ClientID == "" || cfg.ClientSecret == "":
		return errors.New("verify: ClientID and ClientSecret: must be those of a confidential client, which the " +
			"feed is for")
	case cfg.WhenStale < StaleIntrospect || cfg.WhenStale > StaleAccept:
		return fmt.Errorf("verify: WhenStale %d: must be StaleIntrospect, StaleReject or StaleAccept", cfg.WhenStale)
	case cfg.Bound < 0 || cfg.CacheSize < 0:
		return fmt.Errorf("verify: Bound %v, CacheSize %d: must not be below zero", cfg.Bound, cfg.CacheSize)
	case cfg.Subscriber != "" && !subscriberName.MatchString(cfg.Subscriber):
		return fmt.Errorf("verify: Subscriber %q: must be 1 to 64 letters, digits, dots, dashes and underscores",
			cfg.Subscriber)
	case cfg.HTTPClient != nil && cfg.HTTPClient.Timeout != 0:
		return fmt.Errorf("verify: HTTPClient: its Timeout must be 0: after %v it would cut the feed, which is "+
			"one long answer",
			cfg.HTTPClient.Timeout)
	}
	return nil
}

// isLoopback: what is sent there stays on this machine. For names see RFC 6761 section 6.3.
func isLoopback(host string) bool {
	if ip := net.ParseIP(host); ip != nil {
		return ip.IsLoopback()
	}
	host = strings.ToLower(host)
	return host == "localhost" || strings.HasSuffix(host, ".localhost")
}

// Verifier checks access tokens. It is safe for concurrent use. Close ends its goroutines.
type Verifier struct {
	cfg   Config
	log   *slog.Logger
	http  *http.Client
	keys  *keySet
	index *index
	cache *cache

	meta          atomic.Pointer[metadata]
	lastHeartbeat atomic.Pointer[heartbeat] // nil before the first
	seq           atomic.Int64              // everything up to here has been applied
	now           func() moment
	stats         counters

	applied    chan struct{} // there is something to acknowledge
	token      tokenSource
	wrongClock bool            // has been said; the feed's goroutine's own
	ctx        context.Context // until Close
	stop       context.CancelFunc
	done       sync.WaitGroup
}

var subscriberName = regexp.MustCompile(`^[A-Za-z0-9._-]{1,64}$`)

// New starts a verifier and returns at once. It comes up when the issuer does; until then the policy for stale
// knowledge decides. It fails only for a configuration that cannot work.
func New(cfg Config) (*Verifier, error) {
	if err := cfg.check(); err != nil {
		return nil, err
	}
	if cfg.Subscriber == "" {
		host, _ := os.Hostname()
		cfg.Subscriber = defaultSubscriber(host)
	}
	cfg.Audience = cmp.Or(cfg.Audience, cfg.Issuer)
	cfg.Bound = cmp.Or(cfg.Bound, 30*time.Second)
	cfg.CacheSize = cmp.Or(cfg.CacheSize, 10_000)
	cfg.Logger = cmp.Or(cfg.Logger, slog.Default())
	client := cfg.HTTPClient
	if client == nil {
		transport := newTransport()
		transport.ResponseHeaderTimeout = requestTimeout
		client = &http.Client{Transport: transport, CheckRedirect: func(*http.Request, []*http.Request) error {
			return errors.New("the issuer redirects, which an issuer does not")
		}}
	}
	ctx, stop := context.WithCancel(context.Background())
	v := &Verifier{
		cfg: cfg, log: cfg.Logger.With("component", "curfew/verify", "issuer", cfg.Issuer), http: client,
		index: newIndex(), cache: newCache(cfg.CacheSize),
		now: clocksSince(time.Now()), applied: make(chan struct{}, 1), ctx: ctx, stop: stop,
	}
	v.keys = newKeySet(v)
	v.done.Go(func() { v.follow(ctx) })
	v.done.Go(func() { v.acknowledge(ctx) })
	v.done.Go(func() { v.upkeep(ctx) })
	return v, nil
}

// defaultSubscriber is no other process's name: of containers the process ids are the same, and so may be the host
// names.
func defaultSubscriber(host string) string {
	host = regexp.MustCompile(`[^A-Za-z0-9._-]`).ReplaceAllString(host, "-")
	return host[max(0, len(host)-50):] + "-" + rand.Text()[:13]
}

// newTransport is http.DefaultTransport's like, also where a program has put something else there.
func newTransport() *http.Transport {
	if t, ok := http.DefaultTransport.(*http.Transport); ok {
		return t.Clone()
	}
	return &http.Transport{
		Proxy:                 http.ProxyFromEnvironment,
		DialContext:           (&net.Dialer{Timeout: requestTimeout}).DialContext,
		ForceAttemptHTTP2:     true,
		MaxIdleConns:          10,
		IdleConnTimeout:       90 * time.Second,
		TLSHandshakeTimeout:   requestTimeout,
		ExpectContinueTimeout: time.Second,
	}
}

// Close ends the goroutines and waits for them. Afterwards only calls of Verify send requests.
func (v *Verifier) Close() {
	v.keys.mu.Lock() // under which a fetch looks whether it may still begin
	v.stop()
	v.keys.mu.Unlock()
	v.done.Wait()
	v.http.CloseIdleConnections()
}

// Verify checks a token and returns its claims, which are shared: do not change them. Every error wraps one of this
// package's. RFC 9068 section 4, RFC 7519 section 7.2, and the one rule.
func (v *Verifier) Verify(ctx context.Context, token string) (*Claims, error) {
	claims, epoch := v.cache.get(token)
	if claims == nil {
		var err error
		if claims, err = v.check(ctx, token); err != nil {
			v.stats.refused.Add(1)
			return nil, err
		}
		v.cache.put(token, claims, epoch)
	} else {
		v.stats.cached.Add(1)
	}
	// What changes with time is asked on every call. The server's clock counts: its heartbeats carry it. How old the
	// knowledge is must be asked before the knowledge: a heartbeat in between would vouch for events that were not
	// looked at.
	now, age := v.clock(v.now())
	fresh := age <= v.cfg.Bound
	switch {
	case now >= claims.expires:
		v.stats.expired.Add(1)
		return nil, ErrExpired
	case claims.issued > now+Leeway.Microseconds():
		v.stats.refused.Add(1)
		return nil, ErrNotYetValid
	case v.index.revoked(claims):
		v.stats.revoked.Add(1)
		return nil, ErrRevoked
	case fresh:
		v.stats.verified.Add(1)
		return claims, nil
	}
	return v.whenStale(ctx, token, claims)
}

// check does what needs to be done once for a token. The order is that of the codes, see errors.go: first the form of
// all three parts, then what is cheap, then the signature, then the claims.
func (v *Verifier) check(ctx context.Context, token string) (*Claims, error) {
	head, body, signature, err := split(token)
	if err != nil {
		return nil, err
	}
	key := v.keys.known(head)
	var h *header
	if key == nil {
		if h, err = parseHeader(head); err != nil {
			return nil, err
		}
	}
	o, err := decodeObject(body)
	if err != nil {
		return nil, err
	}
	sig, err := decode(signature)
	if err != nil {
		return nil, err
	}
	if key == nil {
		if !h.isAccessToken() {
			return nil, ErrType
		}
		if key, err = v.keys.find(ctx, head, h); err != nil {
			return nil, err
		}
	}
	if err := checkSignature(key, token[:len(head)+1+len(body)], sig); err != nil {
		return nil, err
	}
	claims, err := parseClaims(o)
	switch {
	case err != nil:
		return nil, err
	case claims.Issuer != v.cfg.Issuer:
		return nil, ErrIssuer
	case !slices.Contains(claims.Audience, v.cfg.Audience):
		return nil, ErrAudience
	case o.get("cnf") != nil:
		return nil, ErrBinding
	}
	return claims, nil
}

func (v *Verifier) whenStale(ctx context.Context, token string, claims *Claims) (*Claims, error) {
	v.stats.stale.Add(1)
	switch v.cfg.WhenStale {
	case StaleAccept:
		return claims, nil
	case StaleIntrospect:
		v.stats.introspected.Add(1)
		switch active, err := v.introspect(ctx, token); {
		case err != nil:
			return nil, fmt.Errorf("%w: %w: %w", ErrStale, ErrUnavailable, err)
		case !active:
			return nil, ErrRevoked
		}
		return claims, nil
	}
	return nil, ErrStale
}

// Staleness is how long ago it was last known that nothing is unknown: the time since the last heartbeat was made, at
// most. It counts from when the stream was asked for, and on by the times that its heartbeats carry; when they arrive
// does not matter, nor is time lost while this machine is suspended. Before the first contact it is very long.
//
// Heartbeats that come more than a few seconds late, and clocks that are set, make it long until a new stream has been
// opened, which is at once.
func (v *Verifier) Staleness() time.Duration {
	_, age := v.clock(v.now())
	return age
}

// ClockOffset is what the issuer's clock is ahead of this machine's, as the last heartbeat showed it. Tokens are judged
// by the issuer's clock; an offset of more than [Leeway] is also logged, because other programs here have the wrong
// time too.
func (v *Verifier) ClockOffset() time.Duration { return v.offset(v.now()) }

// Seq is the number of the last event that has been applied.
func (v *Verifier) Seq() int64 { return v.seq.Load() }

// counters are kept without a lock.
type counters struct {
	verified, cached, refused, expired, revoked, stale, introspected, events, acks, connects, keyFetches atomic.Int64
}

// Stats are counters since the start, and the present state; fit for any metrics library.
type Stats struct {
	Verified     int64 // accepted with fresh knowledge
	Cached       int64 // calls that found the signature remembered
	Refused      int64 // malformed, forged, foreign
	Expired      int64
	Revoked      int64
	Stale        int64 // calls while the knowledge was too old
	Introspected int64
	Events       int64 // applied, doubles included
	Acks         int64
	Connects     int64 // times the feed was opened
	KeyFetches   int64

	Entries     int // of the revocation index
	Seq         int64
	Staleness   time.Duration
	ClockOffset time.Duration
}

// Stats returns the counters.
func (v *Verifier) Stats() Stats {
	c := &v.stats
	return Stats{
		Verified: c.verified.Load(), Cached: c.cached.Load(), Refused: c.refused.Load(), Expired: c.expired.Load(),
		Revoked: c.revoked.Load(),
		Stale:   c.stale.Load(), Introspected: c.introspected.Load(), Events: c.events.Load(), Acks: c.acks.Load(),
		Connects:   c.connects.Load(),
		KeyFetches: c.keyFetches.Load(), Entries: v.index.entries(), Seq: v.Seq(), Staleness: v.Staleness(),
		ClockOffset: v.ClockOffset(),
	}
}

// endpoint is an address from the metadata, which must be the issuer's own: it gets our secret.
func endpoint(issuer, u string) error {
	if !strings.HasPrefix(u, issuer+"/") {
		return fmt.Errorf("the metadata names %q, which is not under the issuer", u)
	}
	return nil
}
