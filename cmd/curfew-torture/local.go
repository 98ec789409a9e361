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

// resourceServer checks tokens locally, with package verify, and follows one node's feed.
type resourceServer struct {
	node     *harness.Node
	verifier *verify.Verifier
}

// localCheck is one local verification.
type localCheck struct {
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
	rs := &resourceServer{node: n, verifier: v}
	if err := rs.waitApplied(ctx, 0, 15*time.Second); err != nil {
		v.Close()
		return nil, err
	}
	return rs, nil
}

func (rs *resourceServer) close() { rs.verifier.Close() }

// waitApplied waits until everything up to seq has been applied, and the feed is alive.
func (rs *resourceServer) waitApplied(ctx context.Context, seq int64, limit time.Duration) error {
	deadline := time.Now().Add(limit)
	for rs.verifier.Seq() < seq || rs.verifier.Staleness() > 20*time.Second {
		if time.Now().After(deadline) {
			return fmt.Errorf("the local verifier of node %d has applied events up to %d, not %d, and last heard from it %s ago",
				rs.node.Number, rs.verifier.Seq(), seq, rs.verifier.Staleness())
		}
		sleep(ctx, 10*time.Millisecond)
	}
	return nil
}

func (rs *resourceServer) verify(ctx context.Context, token string) (bool, error) {
	_, err := rs.verifier.Verify(ctx, token)
	return err == nil, err
}

// verifyLocally asks the resource server of the step's node.
func (w *world) verifyLocally(t *issued) step {
	if t == nil {
		return nil
	}
	return func(ctx context.Context, _ int, n *harness.Node) { w.lookLocally(ctx, t, w.h.local[n.Number], false) }
}

func (w *world) lookLocally(ctx context.Context, t *issued, rs *resourceServer, final bool) {
	l := localCheck{token: t, applied: rs.verifier.Seq(), call: w.h.now(), final: final}
	l.accepted, l.err = rs.verify(ctx, t.pair.Access)
	l.end = w.h.now()
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
	for _, rs := range h.local {
		if err := rs.waitApplied(ctx, last, 10*time.Second); err != nil {
			return err
		}
	}
	// What was not answered with a number (a sign-in again) has an event too; the poll brings it within a second.
	sleep(ctx, 1500*time.Millisecond)
	for _, w := range h.worlds {
		for i, t := range w.tokens {
			w.lookLocally(ctx, t, h.local[i%len(h.local)], true)
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
					problems = append(problems, fmt.Sprintf("%s: the local verifier accepted token %d of device %d (issued %.1fms) "+
						"at %.1fms, when it had applied everything up to seq %d; it was ended by %q at %.1fms (seq %d)",
						w.client, l.token.rid, l.token.slot, ms(l.token.end), ms(l.call), l.applied, describe(r.In, r.Out), ms(r.Return),
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
				problems = append(problems, fmt.Sprintf("%s: the local verifier refused token %d of device %d as signed out "+
					"(issued %.1fms, refused %.1fms), and nothing had ended it",
					w.client, l.token.rid, l.token.slot, ms(l.token.end), ms(l.end)))
			}
		default:
			problems = append(problems, fmt.Sprintf("%s: local verification of token %d of device %d: %v", w.client, l.token.rid,
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
