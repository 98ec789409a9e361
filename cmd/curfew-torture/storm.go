package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"curfew/internal/harness"

	"github.com/google/uuid"
)

// storm is what runs while a fault is injected: devices that refresh as fast as they can, and others that are signed
// out.
type storm struct {
	rig     *rig
	devices []*stormDevice
	victims chan *stormDevice // signed in, to be signed out

	mu        sync.Mutex
	successor map[string]string // of each refresh token that was presented
	out       []*stormDevice    // sign-outs that were acknowledged
	problems  []string
	slowest   time.Duration // of the answers that came
	last      answer        // the last one that failed
	served    []time.Time   // when refreshes were answered

	frozen    atomic.Int32 // the node that is stopped, plus one: it answers nobody
	refreshes atomic.Int64
	missed    atomic.Int64 // requests that failed, or got no answer
	stop      context.CancelFunc
	wg        sync.WaitGroup
}

type stormDevice struct {
	username, address, device string
	pair                      tokens
	seq                       int64 // of its sign-out
}

const (
	stormClient   = "storm"
	stormPassword = "correct horse storm battery"
	// answerBound is how long any answer may take, also when the database is frozen (DESIGN.md section 5), and what a
	// busy machine adds.
	answerBound = 5*time.Second + 500*time.Millisecond
)

func newStorm(ctx context.Context, r *rig, devices, victims int) (*storm, error) {
	return newStormOn(ctx, r, r.nodes, devices, victims)
}

// newStormOn signs the devices in on nodes that run.
func newStormOn(ctx context.Context, r *rig, nodes []*harness.Node, devices, victims int) (*storm, error) {
	st := &storm{rig: r, victims: make(chan *stormDevice, victims), successor: map[string]string{}}
	if err := r.createClient(ctx, r.nodes[0], stormClient); err != nil {
		return nil, err
	}
	for i := range devices + victims {
		username := fmt.Sprintf("storm-%d", i/50)
		if i%50 == 0 {
			if _, err := r.createUser(ctx, r.nodes[0], username, stormPassword); err != nil {
				return nil, err
			}
		}
		d := &stormDevice{username: username, address: fmt.Sprintf("10.9.%d.%d", i>>8, i&255), device: uuid.NewString()}
		var a answer
		if d.pair, a = r.signIn(ctx, nodes[i%len(nodes)], d.address, stormClient, username, stormPassword,
			d.device); a.err != nil || a.status != http.StatusOK {
			return nil, a.failure("a sign-in before the storm")
		}
		if i < devices {
			st.devices = append(st.devices, d)
		} else {
			st.victims <- d
		}
	}
	return st, nil
}

func (st *storm) problem(format string, args ...any) {
	st.mu.Lock()
	defer st.mu.Unlock()
	if len(st.problems) < 50 {
		st.problems = append(st.problems, fmt.Sprintf(format, args...))
	}
}

// begin starts the load.
func (st *storm) begin(ctx context.Context) {
	ctx, st.stop = context.WithCancel(ctx)
	for i, d := range st.devices {
		st.wg.Go(func() {
			for turn := i; ctx.Err() == nil; turn++ {
				if !st.refresh(d, st.rig.pick(turn)) {
					sleep(ctx, 40*time.Millisecond)
				}
				sleep(ctx, 4*time.Millisecond)
			}
		})
	}
	st.wg.Go(func() {
		for turn := 0; ctx.Err() == nil; turn++ {
			select {
			case d := <-st.victims:
				st.signOut(d, st.rig.pick(turn))
			case <-ctx.Done():
			}
			sleep(ctx, 60*time.Millisecond)
		}
	})
}

// end stops the load; requests that are under way are waited for.
func (st *storm) end() {
	st.stop()
	st.wg.Wait()
}

func sleep(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}

// refresh is one try of a device on a node. Whoever gets no answer keeps the token and tries again.
func (st *storm) refresh(d *stormDevice, n *harness.Node) bool {
	ctx, cancel := context.WithTimeout(context.Background(), 7*time.Second)
	defer cancel()
	presented, start := d.pair.Refresh, time.Now()
	got, a := st.rig.refresh(ctx, n, d.address, stormClient, presented)
	st.took(n, start, a)
	switch {
	case a.unknown():
		st.missed.Add(1)
		st.mu.Lock()
		st.last = a
		st.mu.Unlock()
		return false
	case a.status == http.StatusTooManyRequests:
		return false
	case a.status != http.StatusOK:
		st.problem("device %s was lost: node %d answers %s", d.device, n.Number, a)
		return false
	}
	st.mu.Lock()
	defer st.mu.Unlock()
	if other, ok := st.successor[presented]; ok && other != got.Refresh {
		st.problems = append(st.problems, fmt.Sprintf("device %s: a refresh token with two successors", d.device))
	}
	st.successor[presented] = got.Refresh
	d.pair = got
	st.served = append(st.served, time.Now())
	st.refreshes.Add(1)
	return true
}

// took notes how long an answer was waited for.
func (st *storm) took(n *harness.Node, start time.Time, a answer) {
	took := time.Since(start)
	if st.frozen.Load() == int32(n.Number)+1 {
		return
	}
	st.mu.Lock()
	st.slowest = max(st.slowest, took)
	st.mu.Unlock()
	if took > answerBound && a.err != nil {
		st.problem("node %d gave no answer within %s: %v", n.Number, answerBound, a.err)
	}
}

// signOut ends a victim. Only an answer that came makes a promise.
func (st *storm) signOut(d *stormDevice, n *harness.Node) {
	ctx, cancel := context.WithTimeout(context.Background(), 7*time.Second)
	defer cancel()
	a := st.rig.adminDo(ctx, n, http.MethodDelete, "/admin/devices/"+d.device, nil, nil)
	var out signedOut
	if a.unknown() || a.status != http.StatusOK {
		st.missed.Add(1)
		return
	}
	if err := json.Unmarshal(a.body, &out); err != nil || out.Revocation == nil {
		st.problem("signing out %s: %s", d.device, a)
		return
	}
	d.seq = out.Revocation.Seq
	st.mu.Lock()
	defer st.mu.Unlock()
	st.out = append(st.out, d)
}

// verdict is asked when the fault is over and the load has stopped: nothing was lost, and whoever has an answer can go
// on.
func (st *storm) verdict(ctx context.Context, local []*resourceServer) []string {
	for i, d := range st.devices {
		ok := false
		for try := range 2 { // at most one retry
			if ok = st.refresh(d, st.rig.pick(i+try)); ok {
				break
			}
		}
		if !ok {
			st.problem("device %s cannot go on after one retry", d.device)
			continue
		}
		if active, a := st.rig.introspect(ctx, st.rig.pick(i+1), d.pair.Access); !active {
			st.problem("device %s: its newest access token is dead: %s", d.device, a)
		}
	}
	var newest int64
	for i, d := range st.out {
		n := st.rig.pick(i)
		newest = max(newest, d.seq)
		if active, a := st.rig.introspect(ctx, n, d.pair.Access); active || a.unknown() {
			st.problem("the sign-out of %s (seq %d) was lost: its access token lives: %s", d.device, d.seq, a)
		}
		if _, a := st.rig.refresh(ctx, n, d.address, stormClient, d.pair.Refresh); a.status != http.StatusBadRequest {
			st.problem("the sign-out of %s (seq %d) was lost: its refresh token gets %s", d.device, d.seq, a)
		}
		if a := st.rig.adminDo(ctx, n, http.MethodGet, fmt.Sprintf("/admin/revocations/%d", d.seq), nil,
			nil); a.status != http.StatusOK {
			st.problem("event %d is not in the log: %s", d.seq, a)
		}
	}
	for _, rs := range local {
		if err := rs.waitApplied(ctx, newest, 10*time.Second); err != nil {
			st.problem("a local verifier: %v", err)
			continue
		}
		for _, d := range st.out {
			if _, err := rs.look(ctx, d.pair.Access); err == nil {
				st.problem("the sign-out of %s (seq %d) did not reach a local verifier", d.device, d.seq)
			}
		}
		for _, d := range st.devices {
			if _, err := rs.look(ctx, d.pair.Access); err != nil {
				st.problem("a local verifier refuses the living %s: %v", d.device, err)
			}
		}
	}
	st.mu.Lock()
	defer st.mu.Unlock()
	return slices.Clone(st.problems)
}
