// Package gate answers proxies that ask before they let a request through: nginx's auth_request, the forward auth of
// Caddy and Traefik, HAProxy, Envoy's ext_authz. It is package verify behind HTTP, for apps in any language; the app
// behind the proxy reads whose request it is from four headers.
//
// It decides nothing by itself: what is alive is verify's business, and which scopes a route takes is the proxy's.
package gate

import (
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"curfew/verify"
)

// The headers of an answer that lets a request through. All four are always there, empty where the token has nothing to
// say, so that a proxy that copies them overwrites whatever the client has sent under these names.
const (
	HeaderSubject = "X-Curfew-Subject" // sub
	HeaderClient  = "X-Curfew-Client"  // client_id
	HeaderDevice  = "X-Curfew-Device"  // device_id; empty for a client's own token
	HeaderScope   = "X-Curfew-Scope"   // scope
)

var noStore = []string{"no-store"}

// HeaderRequire is where a proxy names scopes that this request needs. A client that sends it makes it harder for
// itself only.
const HeaderRequire = "X-Curfew-Require-Scope"

// Config says what a gate asks, and what it asks for.
type Config struct {
	Verifier *verify.Verifier
	Bound    time.Duration // the verifier's: with older knowledge the gate is not ready
	Scopes   []string      // that every request needs
	Logger   *slog.Logger
}

// Gate is the HTTP service. It is safe for concurrent use.
type Gate struct {
	cfg      Config
	metrics  *metrics
	draining atomic.Bool
	badRoute sync.Once // a route that asks for what cannot be asked for has been logged
}

// New makes a gate. The scopes are such that [CheckScopes] has nothing to say.
func New(cfg Config) *Gate {
	cfg.Scopes = slices.Clip(cfg.Scopes) // a request's own are appended to a copy
	return &Gate{cfg: cfg, metrics: newMetrics(cfg.Verifier)}
}

// CheckScopes refuses what no token can have.
func CheckScopes(scopes []string) error {
	for _, s := range scopes {
		if !isScope(s) {
			return fmt.Errorf("%q has characters that no scope has (RFC 6749 section 3.3)", s)
		}
	}
	return nil
}

// Drain makes the gate not ready, while it goes on answering.
func (g *Gate) Drain() { g.draining.Store(true) }

// ServeHTTP routes by hand: a mux would answer a path with two slashes, which Envoy passes on as the client sent it,
// with a redirect.
func (g *Gate) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	// Nobody here reads a body. net/http would wait for one before it answers, if it may use the connection again.
	if r.ContentLength != 0 {
		w.Header().Set("Connection", "close")
	}
	switch path := r.URL.Path; {
	case path == "/check", strings.HasPrefix(path, "/check/"):
		g.check(w, r)
	case r.Method != http.MethodGet && r.Method != http.MethodHead:
		http.Error(w, "not found", http.StatusNotFound)
	case path == "/healthz":
		w.Header().Set("Content-Type", "application/json")
		fmt.Fprintln(w, `{"status":"ok"}`)
	case path == "/readyz":
		g.ready(w)
	case path == "/metrics":
		g.metrics.handler.ServeHTTP(w, r)
	default:
		http.Error(w, "not found", http.StatusNotFound)
	}
}

// check answers for one request of the proxy's client.
func (g *Gate) check(w http.ResponseWriter, r *http.Request) {
	began := time.Now()
	scopes, err := g.required(r)
	if err != nil {
		// A route that was meant to be closed must not be open because of a typing error.
		g.badRoute.Do(func() {
			g.cfg.Logger.Error("the proxy asks for what cannot be asked for; such requests get 500", "error", err)
		})
		problem(w, http.StatusInternalServerError, "server_error")
		g.metrics.observe(http.StatusInternalServerError, time.Since(began))
		return
	}
	claims, err := g.cfg.Verifier.Authorize(r, scopes...)
	if err != nil {
		verify.Refuse(w, err, scopes...)
		g.metrics.refusals.WithLabelValues(verify.Code(err)).Inc()
		g.metrics.observe(verify.Status(err), time.Since(began))
		return
	}
	h, told := w.Header(), [...]string{claims.Subject, claims.ClientID, claims.DeviceID, claims.Scope}
	h[HeaderSubject], h[HeaderClient], h[HeaderDevice], h[HeaderScope] = told[0:1:1], told[1:2:2], told[2:3:3], told[3:4:4]
	h["Cache-Control"] = noStore
	w.WriteHeader(http.StatusOK)
	g.metrics.observe(http.StatusOK, time.Since(began))
}

// required are the scopes of the configuration, of ?scope= and of the header, each once. Below /check/ the query is the
// client's, and says nothing.
func (g *Gate) required(r *http.Request) ([]string, error) {
	scopes := g.cfg.Scopes
	add := func(list string) error {
		for s := range strings.SplitSeq(list, " ") {
			switch {
			case s == "" || slices.Contains(scopes, s):
			case !isScope(s):
				return errors.New("a required scope has characters that no scope has (RFC 6749 section 3.3)")
			default:
				scopes = append(scopes, s)
			}
		}
		return nil
	}
	if r.URL.Path == "/check" && r.URL.RawQuery != "" {
		query, err := url.ParseQuery(r.URL.RawQuery)
		if err != nil {
			return nil, errors.New("the query of /check cannot be read")
		}
		for name, values := range query {
			if name != "scope" {
				return nil, errors.New("/check takes ?scope= and nothing else")
			}
			for _, v := range values {
				if err := add(v); err != nil {
					return nil, err
				}
			}
		}
	}
	for _, v := range r.Header.Values(HeaderRequire) {
		if err := add(v); err != nil {
			return nil, err
		}
	}
	return scopes, nil
}

// isScope: RFC 6749 section 3.3, scope-token.
func isScope(s string) bool {
	return s != "" && !strings.ContainsFunc(s, func(c rune) bool {
		return c <= ' ' || c > '~' || c == '"' || c == '\\'
	})
}

// ready says whether the gate knows enough to judge by itself.
func (g *Gate) ready(w http.ResponseWriter) {
	if g.draining.Load() || g.cfg.Verifier.Staleness() > g.cfg.Bound {
		problem(w, http.StatusServiceUnavailable, "temporarily_unavailable")
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	fmt.Fprintln(w, `{"status":"ok"}`)
}

// problem is an answer like verify's.
func problem(w http.ResponseWriter, status int, code string) {
	w.Header().Set("Content-Type", "application/problem+json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	fmt.Fprintf(w, `{"type":"about:blank","title":%q,"status":%d,"code":%q}`+"\n", http.StatusText(status), status, code)
}
