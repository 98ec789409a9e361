package main

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"time"

	"github.com/google/uuid"

	"curfew/internal/proc"
)

// receiver takes every notice, and counts the logout tokens of each of the benchmark's devices.
type receiver struct {
	*httptest.Server
	taken   atomic.Int64
	devices []atomic.Uint32
}

func newReceiver(devices int) *receiver {
	r := &receiver{devices: make([]atomic.Uint32, devices)}
	r.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		if n := sessionNumber(q.PostFormValue("logout_token")); n >= 0 && n < len(r.devices) {
			r.devices[n].Add(1)
		}
		r.taken.Add(1)
		w.WriteHeader(http.StatusNoContent)
	}))
	return r
}

// sessionNumber is the device that a logout token names; -1 without one. That it is signed right is for others to test.
func sessionNumber(token string) int {
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		return -1
	}
	var claims struct {
		Session uuid.UUID `json:"sid"`
	}
	text, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil || json.Unmarshal(text, &claims) != nil {
		return -1
	}
	n := 0
	for _, b := range claims.Session[10:] {
		n = n<<8 | int(b)
	}
	return n
}

// await waits until so many notices were taken. It gives up when none has come for a minute.
func (r *receiver) await(ctx context.Context, want int64) bool {
	last, at := r.taken.Load(), time.Now()
	for last < want {
		select {
		case <-ctx.Done():
			return false
		case <-time.After(time.Millisecond):
		}
		if now := r.taken.Load(); now != last {
			last, at = now, time.Now()
		}
		if time.Since(at) > time.Minute {
			return false
		}
	}
	return true
}

// ended: every device is ended by one event, and the client wants a logout token for each. Half-way the node is killed.
func (b *bench) ended(ctx context.Context) error {
	w, err := b.rig.newWorld(ctx, "ended", b.opt.Devices) // its own: who was signed out before is not told again
	if err != nil {
		return err
	}
	defer w.stop(ctx)
	r := newReceiver(w.devices)
	defer r.Close()
	s, err := newSide(w)
	if err != nil {
		return err
	}
	if _, err := s.request(http.StatusOK, "PATCH /admin/clients/web",
		`{"backchannel_logout_uri":"`+r.URL+`"}`); err != nil {
		return err
	}
	time.Sleep(5 * time.Second) // the node takes it up
	calm := proc.MemoryOfTree(w.node.PID(), true)
	begin := time.Now()
	took, err := s.request(http.StatusOK, "DELETE /admin/clients/web/devices", "")
	if err != nil {
		return err
	}
	lost := func() error {
		return fmt.Errorf("nobody is told any more: %d notices of %d devices", r.taken.Load(), w.devices)
	}
	if !r.await(ctx, int64(w.devices/2)) {
		return lost()
	}
	half, most := time.Since(begin), proc.MemoryOfTree(w.node.PID(), true)
	w.node.Kill()
	again := time.Now()
	before := r.taken.Load()
	if err := w.node.Start(); err != nil {
		return err
	}
	if err := w.node.WaitReady(ctx, w.node.Public, 20*time.Second); err != nil {
		return err
	}
	if !r.await(ctx, before+1) {
		return lost()
	}
	pause, went := time.Since(again), time.Now()
	untold, twice, more := 0, 0, 0
	for {
		if untold, twice, more = r.told(); untold == 0 || !r.await(ctx, r.taken.Load()+1) {
			break
		}
		time.Sleep(100 * time.Millisecond) // counting takes CPU from whoever is measured
	}
	rest := float64(r.taken.Load() - before)
	most = max(most, proc.MemoryOfTree(w.node.PID(), true))
	b.report.add("devices ended by one event, each told", "each, at most twice", untold+more == 0, float64(untold),
		"%d devices: the sign-out took %.1f ms; %.0f a second until the node was killed at the half, %.0f after it; the "+
			"next node began after %s; %d told twice, %d more often, %d never",
		w.devices, took.Seconds()*1000, float64(before)/half.Seconds(), rest/time.Since(went).Seconds(),
		pause.Round(time.Second), twice, more, untold)
	b.report.onlyUpTo(w.devices >= 1_000_000)
	b.report.add("memory of the node that tells them", "", true, most, "%.0f MB at most, %.0f MB before", most, calm)
	return nil
}

// told counts the devices of which nobody was told, those that were told twice, and those more often.
func (r *receiver) told() (never, twice, more int) {
	for i := range r.devices {
		switch n := r.devices[i].Load(); {
		case n == 0:
			never++
		case n == 2:
			twice++
		case n > 2:
			more++
		}
	}
	return never, twice, more
}
