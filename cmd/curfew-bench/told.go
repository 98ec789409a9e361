package main

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"time"

	"curfew/internal/harness"
)

const manyReceivers = 1000

// told: how many have to be told is nothing to a sign-out; and how many notices a second a node sends.
func (b *bench) told(ctx context.Context) error {
	w, err := b.rig.newWorld(ctx, "told", 4000)
	if err != nil {
		return err
	}
	w.node.Stop()
	if w.node, err = b.rig.serveAllowing(ctx, w.url); err != nil {
		return err
	}
	var taken atomic.Int64
	receiver := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		taken.Add(1)
		w.WriteHeader(http.StatusNoContent)
	}))
	defer receiver.Close()
	token, err := adminToken(w.node)
	if err != nil {
		return err
	}
	none, err := b.signOutUsers(ctx, w, token, 0)
	if err != nil {
		return err
	}
	// They are registered for what a sign-out is not; then for what it is.
	body := func(kind string) []byte { return []byte(`{"url":"` + receiver.URL + `","types":["` + kind + `"]}`) }
	for _, step := range []struct{ kind, what string }{
		{"device.signed_in", "500 receivers registered"}, {"user.signed_out", "1,000 registered, of which 500 are told"},
	} {
		if err := w.addWebhooks(token, body(step.kind)); err != nil {
			return err
		}
		time.Sleep(5 * time.Second) // the node takes them up
		many, err := b.signOutUsers(ctx, w, token, 100)
		if err != nil {
			return err
		}
		b.report.add("signing out a user with "+step.what, "the same time, ≤ 1.2", many/none <= 1.2, many/none,
			"%.2f ms, %.2f ms with none: %.2f times", many, none, many/none)
	}
	return b.noticesASecond(ctx, w, token, &taken)
}

// serveAllowing starts a node that may tell this machine.
func (r *rig) serveAllowing(ctx context.Context, url string) (*harness.Node, error) {
	addresses, err := harness.FreeAddresses(2)
	if err != nil {
		return nil, err
	}
	p := r.product(url).With(map[string]string{"OUTBOUND_ALLOW": "127.0.0.0/8"})
	return r.start(ctx, p, addresses[0], addresses[1])
}

// signOutUsers is the median of sign-outs of one user each, in milliseconds, with a rest between them.
func (b *bench) signOutUsers(ctx context.Context, w *world, token string, from int) (float64, error) {
	var all []time.Duration
	for i := range 40 {
		some, err := timed(w.node.Admin, 1, func(int) []byte {
			return remove("/admin/users/"+userID(from+i+1).String()+"/devices", token)
		}, nil)
		if err != nil {
			return 0, err
		}
		all = append(all, some...)
		time.Sleep(50 * time.Millisecond)
	}
	median, _, _ := quantiles(all)
	return median, w.revive(ctx)
}

func (w *world) addWebhooks(token string, body []byte) error {
	c, err := dial(w.node.Admin)
	if err != nil {
		return err
	}
	defer c.net.Close()
	for range manyReceivers / 2 {
		status, answer, err := c.do(appendRequest(nil, "POST /admin/webhooks HTTP/1.1\r\nHost: bench\r\n"+
			"Content-Type: application/json\r\nAuthorization: Bearer "+token+"\r\n", body))
		if err != nil || status != 201 {
			return fmt.Errorf("%w: %w", unexpected(status, answer), err)
		}
	}
	return nil
}

// noticesASecond: one event for all webhooks, and one event that ended many devices for one client.
func (b *bench) noticesASecond(ctx context.Context, w *world, token string, taken *atomic.Int64) error {
	time.Sleep(3 * time.Second)
	before, begin := taken.Load(), time.Now()
	const events = 10
	if _, err := timed(w.node.Admin, events, func(i int) []byte {
		return remove("/admin/users/"+userID(300+i).String()+"/devices", token)
	}, nil); err != nil {
		return err
	}
	want := int64(events * manyReceivers / 2)
	for taken.Load()-before < want && time.Since(begin) < time.Minute {
		time.Sleep(time.Millisecond)
	}
	sent, took := taken.Load()-before, time.Since(begin).Seconds()
	b.report.add("webhook messages, one node", "", true, float64(sent)/took,
		"%.0f a second, %d of %d", float64(sent)/took, sent, want)
	return nil
}
