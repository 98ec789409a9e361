// Command curfew-demo is a resource server to look at and to copy from. It checks access tokens locally with package
// verify and shows what it found, and when it last heard from the revocation feed.
//
//	CURFEW_DEMO_ISSUER              the issuer's URL; required
//	CURFEW_DEMO_CLIENT_ID           a client with the grant client_credentials, the scope revocations, and introspection; required
//	CURFEW_DEMO_CLIENT_SECRET       its secret; required, or
//	CURFEW_DEMO_CLIENT_SECRET_FILE  a file that holds it
//	CURFEW_DEMO_SUBSCRIBER          this process in receipts; default the end of the host's name and 13 random letters
//	CURFEW_DEMO_SCOPE               what a token must carry; default nothing
//	CURFEW_DEMO_ADDR                where to listen; default 127.0.0.1:8082
//
// GET / takes a token and answers its claims. /check/, with any method and anything behind it, answers 200 to a token
// that is alive and says whose it is in X-Curfew-… headers: for a proxy that asks before it lets a request through
// (nginx auth_request, Envoy ext_authz). GET /healthz answers while the process lives, GET /metrics has the verifier's
// counters.
package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"curfew/verify"
)

const (
	requestTimeout = 10 * time.Second
	stopTimeout    = 10 * time.Second
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Getenv, func(net.Addr) {}); err != nil {
		fmt.Fprintln(os.Stderr, "curfew-demo:", err)
		os.Exit(1)
	}
}

// run serves until ctx ends. listening is told the address.
func run(ctx context.Context, env func(string) string, listening func(net.Addr)) error {
	cfg, err := config(env)
	if err != nil {
		return err
	}
	v, err := verify.New(cfg)
	if err != nil {
		return err
	}
	defer v.Close()
	l, err := net.Listen("tcp", cmp.Or(env("CURFEW_DEMO_ADDR"), "127.0.0.1:8082"))
	if err != nil {
		return err
	}
	srv := &http.Server{
		Handler: handler(v, strings.Fields(env("CURFEW_DEMO_SCOPE"))...), ReadHeaderTimeout: requestTimeout,
		ReadTimeout:  requestTimeout,
		WriteTimeout: 2 * requestTimeout, IdleTimeout: time.Minute, MaxHeaderBytes: 32 << 10,
	}
	slog.Info("curfew-demo is listening", "addr", l.Addr().String(), "issuer", cfg.Issuer)
	listening(l.Addr())
	ended := make(chan error, 1)
	go func() { ended <- srv.Serve(l) }()
	select {
	case err := <-ended:
		return err
	case <-ctx.Done():
	}
	drain, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopTimeout)
	defer cancel()
	if err := srv.Shutdown(drain); err != nil {
		return fmt.Errorf("requests were cut off: %w", err)
	}
	if err := <-ended; !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

func config(env func(string) string) (cfg verify.Config, err error) {
	cfg = verify.Config{
		Issuer: env("CURFEW_DEMO_ISSUER"), ClientID: env("CURFEW_DEMO_CLIENT_ID"),
		ClientSecret: env("CURFEW_DEMO_CLIENT_SECRET"),
		Subscriber:   env("CURFEW_DEMO_SUBSCRIBER"),
	}
	file := env("CURFEW_DEMO_CLIENT_SECRET_FILE")
	switch {
	case cfg.Issuer == "" || cfg.ClientID == "":
		return cfg, errors.New("CURFEW_DEMO_ISSUER and CURFEW_DEMO_CLIENT_ID are required")
	case (file == "") == (cfg.ClientSecret == ""):
		return cfg, errors.New("one of CURFEW_DEMO_CLIENT_SECRET and CURFEW_DEMO_CLIENT_SECRET_FILE is required")
	case file != "":
		b, err := os.ReadFile(file)
		if err != nil {
			return cfg, fmt.Errorf("CURFEW_DEMO_CLIENT_SECRET_FILE: %w", err)
		}
		cfg.ClientSecret = strings.TrimRight(string(b), "\r\n")
	}
	return cfg, nil
}

func handler(v *verify.Verifier, scopes ...string) http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /{$}", v.Middleware(scopes...)(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		show(w, v, verify.ClaimsFrom(r.Context()))
	})))
	mux.Handle("/check/", v.Middleware(scopes...)(http.HandlerFunc(check)))
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "ok") })
	mux.HandleFunc("GET /metrics", func(w http.ResponseWriter, _ *http.Request) { metrics(w, v.Stats()) })
	return mux
}

// show answers what the token says, and how fresh the judgement on it is.
func show(w http.ResponseWriter, v *verify.Verifier, c *verify.Claims) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	out := json.NewEncoder(w)
	out.SetIndent("", "  ")
	_ = out.Encode(map[string]any{
		"claims": map[string]any{
			"iss": c.Issuer, "sub": c.Subject, "aud": c.Audience, "client_id": c.ClientID, "device_id": c.DeviceID,
			"scope": c.Scope, "jti": c.ID,
			"iat": c.IssuedAt, "exp": c.ExpiresAt, "iat_us": c.IssuedMicros,
		},
		"feed": map[string]any{
			"last_seq": v.Seq(), "last_heard_seconds_ago": staleness(v.Staleness()),
			"clock_offset_seconds": v.ClockOffset().Seconds(),
		},
	})
}

// check lets a proxy's request through, and tells it the claims.
func check(w http.ResponseWriter, r *http.Request) {
	c, h := verify.ClaimsFrom(r.Context()), w.Header()
	h.Set("X-Curfew-Sub", c.Subject)
	h.Set("X-Curfew-Client-Id", c.ClientID)
	h.Set("X-Curfew-Device-Id", c.DeviceID)
	h.Set("X-Curfew-Scope", c.Scope)
	h.Set("Cache-Control", "no-store")
}

// staleness is null before the first contact.
func staleness(d time.Duration) any {
	if d > 1<<62 {
		return nil
	}
	return d.Seconds()
}

// metrics writes the counters as Prometheus reads them, text format 0.0.4.
func metrics(w http.ResponseWriter, s verify.Stats) {
	w.Header().Set("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
	fmt.Fprintln(w, "# HELP curfew_verify_tokens_total Tokens that were looked at, by what was found.\n# TYPE "+
		"curfew_verify_tokens_total counter")
	for _, c := range []struct {
		result string
		n      int64
	}{
		{"verified", s.Verified},
		{"refused", s.Refused},
		{"expired", s.Expired},
		{"revoked", s.Revoked},
		{"stale", s.Stale},
	} {
		fmt.Fprintf(w, "curfew_verify_tokens_total{result=%q} %d\n", c.result, c.n)
	}
	for _, c := range []struct {
		name, kind, help string
		value            any
	}{
		{"cached_total", "counter", "Calls that found the signature remembered.", s.Cached},
		{"introspections_total", "counter", "Tokens that the issuer was asked about.", s.Introspected},
		{"events_total", "counter", "Revocations that were applied, doubles included.", s.Events},
		{"acknowledgements_total", "counter", "Acknowledgements that the issuer took.", s.Acks},
		{"connects_total", "counter", "Times the feed was opened.", s.Connects},
		{"key_fetches_total", "counter", "Fetches of the issuer's keys.", s.KeyFetches},
		{"index_entries", "gauge", "Entries of the revocation index.", s.Entries},
		{"last_seq", "gauge", "The last event that was applied.", s.Seq},
		{
			"staleness_seconds", "gauge", "How old the knowledge of revocations is; 1e9 and more before the first contact.",
			s.Staleness.Seconds(),
		},
		{"clock_offset_seconds", "gauge", "What the issuer's clock is ahead of this machine's.", s.ClockOffset.Seconds()},
	} {
		fmt.Fprintf(w, "# HELP curfew_verify_%[1]s %[2]s\n# TYPE curfew_verify_%[1]s %[3]s\ncurfew_verify_%[1]s %[4]v\n",
			c.name, c.help, c.kind, c.value)
	}
}
