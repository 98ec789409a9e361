package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"time"

	"curfew/verify"
)

// app is the API and its page.
type app struct {
	verifier  *verify.Verifier
	scopes    []string // that a token must carry
	issuer    string
	webClient string // empty: no page
	webScope  string
	stopping  <-chan struct{}
	streams   chan struct{} // a place for each stream that is open
}

// Streams are cheap, but not for nothing.
const (
	maxStreams = 100
	lookEvery  = 100 * time.Millisecond
	sayEvery   = time.Second
)

func (a *app) handler() http.Handler {
	a.streams = make(chan struct{}, maxStreams)
	guard := a.verifier.Middleware(a.scopes...)
	root := guard(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		show(w, a.verifier, verify.ClaimsFrom(r.Context()))
	}))
	mux := http.NewServeMux()
	if a.webClient != "" {
		root = a.page(mux, root)
	}
	mux.Handle("GET /{$}", root)
	mux.Handle("GET /watch", guard(http.HandlerFunc(a.watch)))
	mux.Handle("/check/", guard(http.HandlerFunc(check)))
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "ok") })
	mux.HandleFunc("GET /metrics", func(w http.ResponseWriter, _ *http.Request) { metrics(w, a.verifier.Stats()) })
	return mux
}

// watch says that the token is alive, again and again, and in the last line why it is not any more. The verifier
// applies an event when it comes, and then acknowledges it: who signed out reads that in the receipt.
func (a *app) watch(w http.ResponseWriter, r *http.Request) {
	select {
	case a.streams <- struct{}{}:
		defer func() { <-a.streams }()
	default:
		http.Error(w, "too many streams are open", http.StatusServiceUnavailable)
		return
	}
	w.Header().Set("Content-Type", "application/x-ndjson")
	w.Header().Set("Cache-Control", "no-store")
	out, stream := json.NewEncoder(w), http.NewResponseController(w)
	say := func(members map[string]any) bool {
		_ = stream.SetWriteDeadline(time.Now().Add(requestTimeout))
		return out.Encode(members) == nil && stream.Flush() == nil
	}
	look := time.NewTicker(lookEvery)
	defer look.Stop()
	var said time.Time
	for {
		// The signature of a token that was verified before is not checked again: this is two comparisons.
		if _, err := a.verifier.Authorize(r, a.scopes...); err != nil {
			say(map[string]any{
				"alive": false, "code": verify.Code(err), "seq": a.verifier.Seq(), "at_us": time.Now().UnixMicro(),
			})
			return
		}
		if time.Since(said) >= sayEvery {
			said = time.Now()
			if !say(map[string]any{
				"alive": true, "seq": a.verifier.Seq(), "heard_seconds_ago": staleness(a.verifier.Staleness()),
			}) {
				return
			}
		}
		select {
		case <-look.C:
		case <-r.Context().Done():
			return
		case <-a.stopping:
			return
		}
	}
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
