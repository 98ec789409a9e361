package main

import (
	"context"
	"encoding/json"
	"fmt"
	"math"
	"math/rand/v2"
	"net/http"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"

	"curfew/internal/harness"
	"curfew/internal/pgcluster"
)

// historyConfig is a run of the history checker.
type historyConfig struct {
	Binary   string
	Database string
	Nodes    int
	Duration time.Duration
	Worlds   int // at a time
	Seed     uint64
	Reuse    bool // a reuse interval longer than a world; or none, and each reuse kills
	Quick    bool // stop at the first world that is illegal
	Crash    bool // every node is killed at the end, while the app has not answered
	Foreign  bool // local verification by the other languages' verifiers too
	Cluster  *pgcluster.Cluster
	Rig      func(*rigConfig) // changes what is put up
}

// history is a run: worlds of one client, one user and two devices each, many of them side by side on the same nodes.
type history struct {
	historyConfig
	rig     *rig
	spec    specification
	start   time.Time
	local   []*resourceServer // one at each node
	foreign []*resourceServer // of the other languages
	told    *receiver
	serial  atomic.Int64
	mu      sync.Mutex
	worlds  []*world
	all     []record // sign-outs of everyone: operations of every world
	broken  []string
	present map[*world]struct{}
}

// runHistory puts a rig up, drives it and checks what it recorded.
func runHistory(ctx context.Context, cfg historyConfig) (*verdictOfRun, error) {
	h, err := newHistory(ctx, cfg)
	if err != nil {
		return nil, err
	}
	defer h.close()
	h.drive(ctx)
	return h.verdict(ctx), nil
}

func newHistory(ctx context.Context, cfg historyConfig) (*history, error) {
	interval := "0s"
	if cfg.Reuse {
		interval = "10m"
	}
	if cfg.Database == "sqlite" {
		cfg.Nodes = 1
	}
	if cfg.Worlds == 0 {
		cfg.Worlds = 6 * runtime.NumCPU()
	}
	rc := rigConfig{
		Binary: cfg.Binary, Database: cfg.Database, Nodes: cfg.Nodes, Cluster: cfg.Cluster,
		Env: map[string]string{"REUSE_INTERVAL": interval},
	}
	if cfg.Rig != nil {
		cfg.Rig(&rc)
	}
	r, err := newRig(ctx, rc)
	if err != nil {
		return nil, err
	}
	if cfg.Database != "sqlite" {
		// A place where the harness can stop whoever signs out between its last change and its commit.
		if err := harness.Exec(ctx, r.url, fmt.Sprintf(`CREATE FUNCTION before_commit() RETURNS trigger LANGUAGE plpgsql
			AS 'BEGIN PERFORM pg_advisory_xact_lock_shared(%d); RETURN NULL; END'`, beforeCommitLock),
			`CREATE TRIGGER before_commit AFTER INSERT ON revocations
				FOR EACH STATEMENT EXECUTE FUNCTION before_commit()`); err != nil {
			r.Close()
			return nil, err
		}
	}
	h := &history{
		historyConfig: cfg, rig: r, spec: specification{cfg.Reuse}, start: time.Now(),
		present: map[*world]struct{}{},
	}
	if err := r.allowCodes(ctx, r.nodes[0], r.stranger); err != nil {
		h.close()
		return nil, err
	}
	if h.told, err = h.newReceiver(ctx); err != nil {
		h.close()
		return nil, fmt.Errorf("a receiver: %w", err)
	}
	for _, n := range r.nodes {
		rs, err := newResourceServer(ctx, r, n)
		if err != nil {
			h.close()
			return nil, fmt.Errorf("a local verifier on node %d: %w%s", n.Number, err, r.logTails())
		}
		h.local = append(h.local, rs)
	}
	if cfg.Foreign {
		if h.foreign, err = newForeignServers(ctx, r); err != nil {
			h.close()
			return nil, err
		}
	}
	return h, nil
}

// resourceServers are all of them.
func (h *history) resourceServers() []*resourceServer { return slices.Concat(h.local, h.foreign) }

func (h *history) close() {
	for _, rs := range h.resourceServers() {
		rs.close()
	}
	if h.told != nil {
		h.told.close()
	}
	h.rig.Close()
}

func (h *history) now() int64 { return time.Since(h.start).Nanoseconds() }

func (h *history) breaks(format string, args ...any) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.broken = append(h.broken, fmt.Sprintf(format, args...))
}

// drive makes worlds until the time is over.
func (h *history) drive(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, h.Duration)
	defer cancel()
	var wg sync.WaitGroup
	for i := range h.Worlds {
		wg.Go(func() {
			for j := uint64(0); ctx.Err() == nil; j++ {
				if !h.oneWorld(ctx, h.Seed<<32|uint64(i)<<24|j) {
					return
				}
				if h.Quick && h.anyIllegal() {
					cancel()
				}
			}
		})
	}
	wg.Go(func() { h.everyone(ctx) })
	if h.Database != "sqlite" {
		wg.Go(func() { h.stalls(ctx) })
	}
	wg.Wait()
}

func (h *history) anyIllegal() bool {
	h.mu.Lock()
	last := h.worlds[len(h.worlds)-1]
	h.mu.Unlock()
	return checkRecords(h.spec, h.recordsOf(last)) == "Illegal"
}

// everyone signs out everyone now and then.
func (h *history) everyone(ctx context.Context) {
	for i := 0; ; i++ {
		select {
		case <-ctx.Done():
			return
		case <-time.After(2500 * time.Millisecond):
		}
		h.signOutEveryone(context.WithoutCancel(ctx), 9, h.rig.pick(i))
	}
}

// signOutEveryone is an operation of every world.
func (h *history) signOutEveryone(ctx context.Context, thread int, n *harness.Node) {
	rec := record{
		In: operation{Action: actSignOutAll, How: "everyone"}, Out: outcome{Verdict: done}, Client: thread,
		Node: n.Number,
	}
	a := h.rig.adminDo(ctx, n, http.MethodDelete, "/admin/devices?confirm=everyone", nil, func() { rec.Call = h.now() })
	rec.Return = h.now()
	var out signedOut
	switch {
	case rec.Call == 0:
		return // not even asked
	case a.unknown():
		rec.Out.Verdict, rec.Return = lost, math.MaxInt64
	case a.status == http.StatusOK && json.Unmarshal(a.body, &out) == nil && out.Revocation != nil:
		rec.Seq = out.Revocation.Seq
	default:
		h.breaks("signing out everyone: %s", a)
		return
	}
	h.mu.Lock()
	h.all = append(h.all, rec)
	h.mu.Unlock()
}

func (w *world) signOutEveryone() step { return w.h.signOutEveryone }

// stalls holds locks from outside for a moment, so that requests meet in the middle of each other: before a
// revocation's commit, before a refresh, before a sign-in.
func (h *history) stalls(ctx context.Context) {
	conn, err := pgx.Connect(ctx, h.rig.url)
	if err != nil {
		h.breaks("the stalling connection: %v", err)
		return
	}
	defer conn.Close(context.WithoutCancel(ctx))
	rng := rand.New(rand.NewPCG(h.Seed, 77))
	for ctx.Err() == nil {
		statement, arg := beforeCommit, []any{}
		switch rng.IntN(4) {
		case 0, 1:
			if w := h.anyWorld(rng); w != nil {
				statement, arg = "SELECT 1 FROM devices WHERE id = $1 FOR UPDATE", []any{w.devices[rng.IntN(slots)]}
			}
		case 2:
			if w := h.anyWorld(rng); w != nil {
				statement, arg = "SELECT 1 FROM users WHERE id = $1 FOR UPDATE", []any{w.userID}
			}
		}
		hold := time.Duration(2+rng.IntN(25)) * time.Millisecond
		err := pgx.BeginFunc(ctx, conn, func(tx pgx.Tx) error {
			if _, err := tx.Exec(ctx, statement, arg...); err != nil {
				return err
			}
			time.Sleep(hold)
			return nil
		})
		if err != nil && ctx.Err() == nil {
			h.breaks("stall: %v", err)
			return
		}
		select {
		case <-ctx.Done():
		case <-time.After(time.Duration(rng.IntN(30)) * time.Millisecond):
		}
	}
}

func (h *history) anyWorld(rng *rand.Rand) *world {
	h.mu.Lock()
	defer h.mu.Unlock()
	skip := rng.IntN(max(1, len(h.present)))
	for w := range h.present {
		if skip--; skip < 0 {
			return w
		}
	}
	return nil
}

// recordsOf are the operations of a world, those on everyone that fall into its time among them.
func (h *history) recordsOf(w *world) []record {
	w.mu.Lock()
	records := slices.Clone(w.records)
	w.mu.Unlock()
	first, last := int64(math.MaxInt64), int64(0)
	for _, r := range records {
		first = min(first, r.Call)
		if r.Return != math.MaxInt64 {
			last = max(last, r.Return)
		}
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, r := range h.all {
		if r.Return >= first && r.Call <= last {
			records = append(records, r)
		}
	}
	return records
}

// verdict checks everything that was recorded.
func (h *history) verdict(ctx context.Context) *verdictOfRun {
	if err := h.finalLocalChecks(ctx); err != nil {
		h.breaks("%v", err)
	}
	untold := h.told.problems(ctx)
	for _, problem := range untold {
		h.breaks("%s", problem)
	}
	worlds := make([][]record, len(h.worlds))
	for i, w := range h.worlds {
		worlds[i] = h.recordsOf(w)
	}
	v := checkWorlds(h.spec, worlds, runtime.NumCPU())
	v.Untold = len(untold)
	for _, w := range h.worlds {
		for _, l := range w.locals {
			v.Local[l.by.language]++
		}
		for _, problem := range checkLocal(w, append(slices.Clone(w.records), h.all...)) {
			h.breaks("%s", problem)
		}
	}
	v.Broken = h.broken
	for _, n := range h.rig.nodes {
		select {
		case <-n.Exited():
			v.Broken = append(v.Broken, fmt.Sprintf("node %d ended: %s", n.Number, n.Log(3000)))
		default:
		}
	}
	return v
}
