package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"sync"
	"time"

	"curfew/internal/harness"
)

// receiver is a webhook in the histories: every sign-out must come to it, and none before its commit. Now and then it
// does not take a message, which must come again then.
type receiver struct {
	h      *history
	server *httptest.Server
	ctx    context.Context

	mu     sync.Mutex
	asked  int
	told   map[int64]int // by sequence number
	broken []string

	sessions map[string]int // by sid, of logout tokens
	refused  bool           // one of them was
	holding  bool           // logout tokens are not answered
	held     int            // so many
}

// Of the messages every so many are not taken, and every so many are held against the log, which takes its time.
const (
	firstRefused = 5
	refuseEvery  = 1000
	lookUpEvery  = 8
)

// newReceiver registers one for what ends somebody's sessions.
func (h *history) newReceiver(ctx context.Context) (*receiver, error) {
	r := &receiver{h: h, ctx: context.WithoutCancel(ctx), told: map[int64]int{}, sessions: map[string]int{}}
	mux := http.NewServeMux()
	mux.HandleFunc("/", r.take)
	mux.HandleFunc("/logout", r.takeLogout)
	r.server = httptest.NewServer(mux)
	var made struct{ ID, Secret string }
	err := h.rig.cli(ctx, "", &made, "webhook", "add", r.server.URL, "--types",
		"device.ended,user.signed_out,client.signed_out,everyone.signed_out", "--json")
	if err != nil {
		r.close()
		return nil, err
	}
	h.rig.note(made.Secret, "a webhook's secret")
	if err := r.registerApp(ctx); err != nil {
		r.close()
		return nil, err
	}
	return r, nil
}

func (r *receiver) close() { r.server.Close() }

func (r *receiver) take(w http.ResponseWriter, req *http.Request) {
	body, err := io.ReadAll(req.Body)
	var m struct {
		Type string
		Data struct{ Seq int64 }
	}
	if err == nil {
		err = json.Unmarshal(body, &m)
	}
	r.mu.Lock()
	r.asked++
	n := r.asked
	r.mu.Unlock()
	if err != nil || n%refuseEvery == firstRefused {
		w.WriteHeader(http.StatusServiceUnavailable)
		return
	}
	early := false
	if n%lookUpEvery == 0 {
		path := fmt.Sprintf("/admin/revocations/%d", m.Data.Seq)
		a := r.h.rig.adminDo(r.ctx, r.h.rig.nodes[0], http.MethodGet, path, nil, nil)
		early = a.err == nil && a.status == http.StatusNotFound
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.told[m.Data.Seq]++; early {
		r.broken = append(r.broken, fmt.Sprintf("told of event %d before its commit", m.Data.Seq))
	}
	w.WriteHeader(http.StatusNoContent)
}

// problems waits until the receiver has come to the end of the log, and says what it was not told, or too early.
func (r *receiver) problems(ctx context.Context) []string {
	if wrong := r.signOutApp(ctx); len(wrong) > 0 {
		return wrong
	}
	events, err := r.h.rig.revocations(ctx, r.h.rig.pick(0))
	if err != nil {
		return []string{fmt.Sprintf("the revocation log: %v", err)}
	}
	var untold []int64
	for last, since := -1, time.Now(); ; time.Sleep(20 * time.Millisecond) {
		r.mu.Lock()
		untold = untold[:0]
		for _, seq := range events {
			if r.told[seq] == 0 {
				untold = append(untold, seq)
			}
		}
		broken := r.broken
		r.mu.Unlock()
		if len(untold) == 0 {
			return broken
		}
		if len(untold) != last {
			last, since = len(untold), time.Now()
		}
		if time.Since(since) > 15*time.Second || ctx.Err() != nil {
			return append(broken, fmt.Sprintf("%d of %d events were never told, %d for one", len(untold), len(events),
				untold[0]))
		}
	}
}

// revocations are the events of the log that a webhook is told of. Not a new sign-in on the same device, nor the device
// that changed its own password.
func (r *rig) revocations(ctx context.Context, n *harness.Node) (list []int64, err error) {
	for cursor := ""; ; {
		path := "/admin/revocations?limit=200"
		if cursor != "" {
			path += "&cursor=" + cursor
		}
		a := r.adminDo(ctx, n, http.MethodGet, path, nil, nil)
		if a.err != nil || a.status != http.StatusOK {
			return nil, a.failure("a page of the log")
		}
		var page struct {
			Revocations []struct {
				Seq    int64
				Level  string
				Reason string
			}
			Next string `json:"next_cursor"`
		}
		if err := json.Unmarshal(a.body, &page); err != nil {
			return nil, err
		}
		for _, v := range page.Revocations {
			if v.Reason != "signed_in_again" && (v.Level != "device" || v.Reason != "password_changed") {
				list = append(list, v.Seq)
			}
		}
		if cursor = page.Next; cursor == "" {
			return list, nil
		}
	}
}
