package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"time"

	"curfew/internal/harness"
	"curfew/verify"
)

// resourceServer checks tokens locally, with a verifier of some language, and follows one node's feed.
type resourceServer struct {
	name     string // in messages
	language string
	state    func() (seq int64, staleness time.Duration, err error)
	// look verifies a token, and says what had been applied before; the error is verify.ErrRevoked for what is signed
	// out.
	look  func(ctx context.Context, token string) (applied int64, err error)
	close func()
}

// localCheck is one local verification.
type localCheck struct {
	by        *resourceServer
	token     *issued
	call, end int64
	accepted  bool
	applied   int64 // the sequence number that the verifier had applied before it was asked
	final     bool  // at the end, when it had applied everything
	err       error
}

func newResourceServer(ctx context.Context, r *rig, n *harness.Node) (*resourceServer, error) {
	transport := &http.Transport{
		// The issuer has one name; this resource server happens to reach this node of it.
		DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
			return (&net.Dialer{Timeout: 5 * time.Second}).DialContext(ctx, network, n.Public)
		},
		ResponseHeaderTimeout: 6 * time.Second,
	}
	v, err := verify.New(verify.Config{
		Issuer: r.issuer, ClientID: r.api.ID, ClientSecret: r.api.Secret, Subscriber: fmt.Sprintf("local-%d", n.Number),
		WhenStale: verify.StaleReject, HTTPClient: &http.Client{Transport: transport}, Logger: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		return nil, err
	}
	rs := &resourceServer{
		name: fmt.Sprintf("the local verifier of node %d", n.Number), language: "Go",
		state: func() (int64, time.Duration, error) { return v.Seq(), v.Staleness(), nil },
		look: func(ctx context.Context, token string) (int64, error) {
			applied := v.Seq()
			_, err := v.Verify(ctx, token)
			return applied, err
		},
		close: v.Close,
	}
	if err := rs.waitApplied(ctx, 0, 15*time.Second); err != nil {
		v.Close()
		return nil, err
	}
	return rs, nil
}

// waitApplied waits until everything up to seq has been applied, and the feed is alive.
func (rs *resourceServer) waitApplied(ctx context.Context, seq int64, limit time.Duration) error {
	for deadline := time.Now().Add(limit); ; sleep(ctx, 10*time.Millisecond) {
		applied, staleness, err := rs.state()
		switch {
		case err != nil:
			return fmt.Errorf("%s: %w", rs.name, err)
		case applied >= seq && staleness <= 20*time.Second:
			return nil
		case time.Now().After(deadline):
			return fmt.Errorf("%s has applied events up to %d, not %d, and last heard from it %s ago", rs.name, applied, seq,
				staleness)
		}
	}
}

// verifyLocally asks the resource server of the step's node, and one of another language, in turns.
func (w *world) verifyLocally(t *issued) step {
	if t == nil {
		return nil
	}
	return func(ctx context.Context, _ int, n *harness.Node) {
		w.lookLocally(ctx, t, w.h.local[n.Number], false)
		if k := len(w.h.foreign); k > 0 {
			w.lookLocally(ctx, t, w.h.foreign[int(w.h.serial.Add(1))%k], false)
		}
	}
}

func (w *world) lookLocally(ctx context.Context, t *issued, rs *resourceServer, final bool) {
	l := localCheck{by: rs, token: t, call: w.h.now(), final: final}
	l.applied, l.err = rs.look(ctx, t.pair.Access)
	l.accepted, l.end = l.err == nil, w.h.now()
	w.mu.Lock()
	defer w.mu.Unlock()
	w.locals = append(w.locals, l)
}

// finalLocalChecks looks at every token again when the resource servers have applied the whole log.
func (h *history) finalLocalChecks(ctx context.Context) error {
	var last int64
	for _, w := range h.worlds {
		for _, r := range w.records {
			last = max(last, r.Seq)
		}
	}
	for _, r := range h.all {
		last = max(last, r.Seq)
	}
	for _, rs := range h.resourceServers() {
		if err := rs.waitApplied(ctx, last, 10*time.Second); err != nil {
			return err
		}
	}
	// What was not answered with a number (a sign-in again) has an event too; the poll brings it within a second.
	sleep(ctx, 1500*time.Millisecond)
	for _, w := range h.worlds {
		for i, t := range w.tokens {
			w.lookLocally(ctx, t, h.local[i%len(h.local)], true)
			for _, rs := range h.foreign {
				w.lookLocally(ctx, t, rs, true)
			}
		}
	}
	return nil
}

// checkLocal holds local verifications against the operations of their world: bounded staleness. A token is refused
// from the moment on at which its verifier had applied the event that ended it, and never refused when nothing has
// ended it since its issue.
func checkLocal(w *world, records []record) (problems []string) {
	for _, l := range w.locals {
		switch {
		case l.accepted:
			for _, r := range records {
				known := r.Seq > 0 && r.Seq <= l.applied || l.final
				if r.Out.Verdict == done && known && l.token.end < r.Call && r.Return < l.call && ends(r.In, l.token) {
					problems = append(problems, fmt.Sprintf("%s: %s accepted token %d of device %d (issued %.1fms) "+
						"at %.1fms, when it had applied everything up to seq %d; it was ended by %q at %.1fms (seq %d)",
						w.client, l.by.name, l.token.rid, l.token.slot, ms(l.token.end), ms(l.call), l.applied, describe(r.In, r.Out), ms(r.Return),
						r.Seq))
					break
				}
			}
		case errors.Is(l.err, verify.ErrRevoked):
			blame := false
			for _, r := range records {
				blame = blame || r.Call < l.end && r.Return >= l.token.call && mayEnd(r, l.token)
			}
			if !blame {
				problems = append(problems, fmt.Sprintf("%s: %s refused token %d of device %d as signed out "+
					"(issued %.1fms, refused %.1fms), and nothing had ended it",
					w.client, l.by.name, l.token.rid, l.token.slot, ms(l.token.end), ms(l.end)))
			}
		default:
			problems = append(problems, fmt.Sprintf("%s: %s on token %d of device %d: %v", w.client, l.by.name, l.token.rid,
				l.token.slot, l.err))
		}
	}
	return problems
}

func ms(ns int64) float64 { return float64(ns) / 1e6 }

// ends: the operation, when it is done, ends the tokens that were issued before it.
func ends(in operation, t *issued) bool {
	switch in.Action {
	case actSignOut, actSignIn, actExchange:
		return in.Slot == t.slot
	case actEndSession:
		return t.child
	case actRevokeToken:
		return in.Slot == t.slot && !in.Access && in.SignIn == t.signIn
	case actSignOutRest:
		return in.Slot != t.slot
	case actPassword, actSignOutUser, actSignOutApp, actSignOutAll, actSetPassword, actDisable:
		return true
	}
	return false
}

// mayEnd: the operation can have ended the token, whatever was answered.
func mayEnd(r record, t *issued) bool {
	if r.In.Action == actRefresh { // a replay
		return r.In.Slot == t.slot && r.Out.Verdict != done
	}
	if r.In.Action == actEndSession || r.In.Action == actExchange && r.Out.Verdict != done { // a child's; a code's replay
		return true
	}
	if r.In.Action == actRevokeToken {
		return r.In.Slot == t.slot
	}
	return r.Out.Verdict != refused && ends(r.In, t)
}
