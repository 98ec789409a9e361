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
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

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
	Cluster  *pgcluster.Cluster
	Rig      func(*rigConfig) // changes what is put up
}

// history is a run: worlds of one client, one user and two devices each, many of them side by side on the same nodes.
type history struct {
	historyConfig
	rig     *rig
	spec    specification
	start   time.Time
	local   []*resourceServer
	serial  atomic.Int64
	mu      sync.Mutex
	worlds  []*world
	all     []record // sign-outs of everyone: operations of every world
	broken  []string
	present map[*world]struct{}
}

// world is one user with one client and two devices, and everything that was done to them.
type world struct {
	h        *history
	client   string
	username string
	userID   string
	address  string
	devices  [slots]string

	mu        sync.Mutex
	rng       *rand.Rand
	passwords []string // by number; the last one was set last
	password  int8     // the one that is believed to be right
	disabled  bool     // believed
	live      [slots]bool
	tokens    []*issued
	numbers   map[string]int32 // of a refresh id
	names     int8
	plain     bool // what is presented is what is believed to be right
	records   []record
	locals    []localCheck
}

// issued is a pair of tokens and when it was issued.
type issued struct {
	slot      int
	rid       int32
	signIn    int32 // the first refresh id since the sign-in that it comes from
	pair      tokens
	call, end int64
}

// runHistory puts a rig up, drives it and checks what it recorded.
func runHistory(ctx context.Context, cfg historyConfig) (*verdictOfRun, error) {
	h, err := newHistory(ctx, cfg)
	if err != nil {
		return nil, err
	}
	defer h.close()
	h.drive(ctx)
	return h.judge(ctx), nil
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
		if err := r.sql(ctx, r.url, fmt.Sprintf(`CREATE FUNCTION before_commit() RETURNS trigger LANGUAGE plpgsql
			AS 'BEGIN PERFORM pg_advisory_xact_lock_shared(%d); RETURN NULL; END'`, beforeCommitLock),
			`CREATE TRIGGER before_commit AFTER INSERT ON revocations FOR EACH STATEMENT EXECUTE FUNCTION before_commit()`); err != nil {
			r.Close()
			return nil, err
		}
	}
	h := &history{historyConfig: cfg, rig: r, spec: specification{cfg.Reuse}, start: time.Now(), present: map[*world]struct{}{}}
	for _, n := range r.nodes {
		rs, err := newResourceServer(ctx, r, n)
		if err != nil {
			h.close()
			return nil, fmt.Errorf("a local verifier on node %d: %w%s", n.number, err, r.logTails())
		}
		h.local = append(h.local, rs)
	}
	return h, nil
}

func (h *history) close() {
	for _, rs := range h.local {
		rs.close()
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
func (h *history) signOutEveryone(ctx context.Context, thread int, n *node) {
	rec := record{In: operation{Action: actSignOutAll, How: "everyone"}, Out: outcome{Verdict: done}, Client: thread, Node: n.number}
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

// stalls holds locks from outside for a moment, so that requests meet in the middle of each other: before a revocation's commit,
// before a refresh, before a sign-in.
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

// newWorld makes a client and a user.
func (h *history) newWorld(ctx context.Context, seed uint64) (*world, error) {
	serial := h.serial.Add(1)
	w := &world{
		h: h, client: fmt.Sprintf("app-%d", serial), username: fmt.Sprintf("user-%d", serial),
		address: fmt.Sprintf("10.%d.%d.%d", serial>>16&255, serial>>8&255, serial&255),
		rng:     rand.New(rand.NewPCG(seed, uint64(serial))), numbers: map[string]int32{},
	}
	for i := range w.devices {
		w.devices[i] = uuid.NewString()
	}
	w.passwords = []string{w.newPassword(0)}
	n := h.rig.pick(int(serial))
	if err := h.rig.createClient(ctx, n, w.client); err != nil {
		return nil, err
	}
	var err error
	w.userID, err = h.rig.createUser(ctx, n, w.username, w.passwords[0])
	return w, err
}

func (w *world) newPassword(i int) string { return fmt.Sprintf("correct horse %s %d", w.client, i) }

func (h *history) oneWorld(ctx context.Context, seed uint64) bool {
	w, err := h.newWorld(ctx, seed)
	if err != nil {
		if ctx.Err() == nil {
			h.breaks("a new world: %v", err)
		}
		return false
	}
	h.mu.Lock()
	h.present[w] = struct{}{}
	h.mu.Unlock()
	if w.rng.IntN(3) == 0 { // its issue times are the clock's then
		sleep(ctx, ahead)
	}
	finish := context.WithoutCancel(ctx) // an operation that has begun is recorded
	for range 14 {
		if ctx.Err() != nil {
			break
		}
		var wg sync.WaitGroup
		for thread, op := range w.plan() {
			wait := time.Duration(0)
			if w.rng.IntN(3) == 0 {
				wait = time.Duration(w.rng.IntN(3000)) * time.Microsecond
			}
			n := h.rig.pick(w.rng.IntN(64))
			wg.Go(func() {
				time.Sleep(wait)
				op(finish, thread, n)
			})
		}
		wg.Wait()
	}
	h.mu.Lock()
	delete(h.present, w)
	h.worlds = append(h.worlds, w)
	h.mu.Unlock()
	return true
}

// step is one operation, ready to be done by a thread on a node.
type step func(ctx context.Context, thread int, n *node)

// plan chooses what happens at the same time next.
func (w *world) plan() []step {
	slot := w.rng.IntN(slots)
	if !w.live[slot] && w.rng.IntN(10) < 7 {
		if w.disabled {
			return []step{w.enable(), w.signIn(slot)}
		}
		return []step{w.signIn(slot)}
	}
	var burst []step
	switch w.rng.IntN(6) {
	case 0: // the same token from several clients at once
		if t := w.aToken(slot); t != nil {
			for range 3 {
				burst = append(burst, w.refresh(t, false))
			}
		}
	case 1: // a sign-out in the middle of refreshes
		burst = append(burst, w.refresh(w.newest(slot), false), w.anySignOut(slot), w.refresh(w.newest(slot), false))
	case 2: // a change of the password beside sign-ins with the old and the new one
		change := w.changePassword(slot)
		burst = append(burst, w.signIn(slot), change, w.signIn(w.rng.IntN(slots)))
	}
	for len(burst) == 0 || len(burst) < 4 && w.rng.IntN(3) > 0 {
		burst = append(burst, w.any(w.rng.IntN(slots)))
	}
	for range w.rng.IntN(3) {
		burst = append(burst, w.verifyLocally(w.aToken(w.rng.IntN(slots))))
	}
	return slices.DeleteFunc(burst, func(s step) bool { return s == nil })
}

func (w *world) any(slot int) step {
	switch n := w.rng.IntN(100); {
	case n < 8:
		return w.signIn(slot)
	case n < 38:
		return w.refresh(w.aToken(slot), false)
	case n < 40:
		return w.refresh(w.aToken(slot), true)
	case n < 66:
		return w.introspect(w.aToken(slot))
	case n < 74:
		return w.list(w.newest(slot))
	case n < 79:
		return w.rename(w.newest(slot), slot)
	case n < 93:
		return w.anySignOut(slot)
	case n < 96:
		return w.changePassword(slot)
	case w.disabled:
		return w.enable()
	case n < 98:
		return w.disable()
	}
	return w.enable()
}

func (w *world) anySignOut(slot int) step {
	switch w.rng.IntN(10) {
	case 0, 1, 2:
		return w.signOutByAdmin(slot)
	case 3, 4:
		return w.signOutBySettings(w.newest(slot), w.rng.IntN(slots))
	case 5, 6:
		return w.revokeToken(w.newest(slot))
	case 7:
		return w.signOutUser()
	case 8:
		return w.signOutOthers(w.newest(slot))
	}
	return w.signOutClient()
}

func (w *world) newest(slot int) *issued {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, t := range slices.Backward(w.tokens) {
		if t.slot == slot {
			return t
		}
	}
	return nil
}

// aToken is most often the newest one, sometimes the one before, sometimes any.
func (w *world) aToken(slot int) *issued {
	w.mu.Lock()
	defer w.mu.Unlock()
	var mine []*issued
	for _, t := range w.tokens {
		if t.slot == slot {
			mine = append(mine, t)
		}
	}
	switch n := w.rng.IntN(100); {
	case len(mine) == 0:
		return nil
	case n < 65 || len(mine) == 1:
		return mine[len(mine)-1]
	case n < 85:
		return mine[len(mine)-2]
	}
	return mine[w.rng.IntN(len(mine))]
}

// did records an operation.
func (w *world) did(r record) {
	if r.Out.Verdict == lost {
		r.Return = math.MaxInt64
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.records = append(w.records, r)
	if r.Out.Verdict != done {
		if r.In.Action == actRefresh {
			w.live[r.In.Slot] = false // perhaps
		}
		return
	}
	switch r.In.Action {
	case actSignIn:
		w.live[r.In.Slot] = true
	case actSignOut, actRevokeToken:
		w.live[r.In.Slot] = false
	case actSignOutAll, actSignOutUser, actSetPassword:
		w.live = [slots]bool{}
	case actDisable:
		w.live, w.disabled = [slots]bool{}, true
	case actEnable:
		w.disabled = false
	case actPassword, actSignOutRest:
		for i := range w.live {
			w.live[i] = w.live[i] && i == r.In.Slot
		}
	}
	switch r.In.Action {
	case actPassword:
		w.password = r.In.Next
	case actSetPassword:
		w.password = r.In.Password
	}
}

// issue notes the tokens of an answer and gives the number of their refresh id.
func (w *world) issue(slot int, signIn int32, t tokens, call, end int64) int32 {
	c, err := t.claims()
	if err != nil || c.DeviceID != w.devices[slot] || t.DeviceID != w.devices[slot] || c.Subject != w.userID || c.ClientID != w.client || c.RefreshID == "" || t.Refresh == "" {
		w.h.breaks("%s: tokens of device %s are %+v, for device_id %s: %v", w.client, w.devices[slot], c, t.DeviceID, err)
		return unknownRefreshID
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	number, ok := w.numbers[c.RefreshID]
	if !ok {
		number = int32(len(w.numbers) + 1)
		w.numbers[c.RefreshID] = number
	}
	for _, other := range w.tokens {
		if (other.rid == number) != (other.pair.Refresh == t.Refresh) {
			w.h.breaks("%s: two refresh tokens of one refresh id, or one of two", w.client)
		}
	}
	if signIn == noRefreshID {
		signIn = number
	}
	w.tokens = append(w.tokens, &issued{slot: slot, rid: number, signIn: signIn, pair: t, call: call, end: end})
	return number
}

func (w *world) signIn(slot int) step {
	number := w.password
	switch w.rng.IntN(12) {
	case 0:
		number = int8(w.rng.IntN(len(w.passwords)))
	case 1:
		number = int8(len(w.passwords) - 1)
	}
	if w.plain {
		number = w.password
	}
	return w.signInWith(slot, number)
}

func (w *world) signInWith(slot int, number int8) step {
	password := w.passwords[number]
	return func(ctx context.Context, thread int, n *node) {
		r := record{In: operation{Action: actSignIn, Slot: slot, Password: number}, Client: thread, Node: n.number, Call: w.h.now()}
		t, a := w.h.rig.signIn(ctx, n, w.address, w.client, w.username, password, w.devices[slot])
		w.issuing(r, noRefreshID, t, a)
	}
}

func (w *world) refresh(t *issued, stranger bool) step {
	if t == nil {
		return nil
	}
	client := w.client
	if stranger {
		client = w.h.rig.stranger
	}
	return func(ctx context.Context, thread int, n *node) {
		r := record{In: operation{Action: actRefresh, Slot: t.slot, RefreshID: t.rid, Stranger: stranger}, Client: thread, Node: n.number, Call: w.h.now()}
		got, a := w.h.rig.refresh(ctx, n, w.address, client, t.pair.Refresh)
		w.issuing(r, t.signIn, got, a)
	}
}

func (w *world) issuing(r record, signIn int32, t tokens, a answer) {
	r.Return = w.h.now()
	switch {
	case a.unknown():
		r.Out.Verdict = lost
	case a.status == http.StatusOK:
		r.Out.Verdict = done
		r.Out.RefreshID = w.issue(r.In.Slot, signIn, t, r.Call, r.Return)
	case a.status == http.StatusBadRequest && t.Error == "invalid_grant":
		r.Out.Verdict = refused
	case a.status == http.StatusTooManyRequests:
		return
	default:
		w.h.breaks("%s: %s: %s", w.client, describe(r.In, r.Out), a)
		return
	}
	w.did(r)
}

func (w *world) introspect(t *issued) step {
	if t == nil {
		return nil
	}
	return func(ctx context.Context, thread int, n *node) {
		r := record{In: operation{Action: actCheck, Slot: t.slot, RefreshID: t.rid, How: "introspection"}, Client: thread, Node: n.number, Call: w.h.now()}
		active, a := w.h.rig.introspect(ctx, n, t.pair.Access)
		r.Return = w.h.now()
		switch {
		case a.unknown():
			return // it changes nothing, so there is nothing to know
		case a.status != http.StatusOK:
			w.h.breaks("%s: introspection: %s", w.client, a)
			return
		case active:
			r.Out.Verdict = done
		}
		w.did(r)
	}
}

// bySettings does something with a user's own token. The check of the token is an operation of its own: between it and
// the deed the token may die.
func (w *world) bySettings(t *issued, r record, method, path, body string, handle func(r *record, a answer) bool) step {
	if t == nil {
		return nil
	}
	return func(ctx context.Context, thread int, n *node) {
		r := r
		r.Client, r.Node, r.Call = thread, n.number, w.h.now()
		a := w.h.rig.settings(ctx, n, w.address, method, path, t.pair.Access, body)
		r.Return = w.h.now()
		check := record{
			In:     operation{Action: actCheck, Slot: t.slot, RefreshID: t.rid, How: method + " " + path},
			Client: thread + 4, Node: n.number, Call: r.Call, Return: r.Return, Out: outcome{Verdict: done},
		}
		switch {
		case a.unknown():
			r.Out.Verdict = lost
			if r.In.Action != actList {
				w.did(r)
			}
			return
		case a.status == http.StatusUnauthorized:
			check.Out.Verdict = refused
			w.did(check)
			return
		case a.status == http.StatusTooManyRequests:
			w.did(check)
			return
		}
		if !handle(&r, a) {
			w.h.breaks("%s: %s %s: %s", w.client, method, path, a)
			return
		}
		w.did(check)
		w.told(r)
		w.did(r)
	}
}

// told records the number that a sign-out said.
func (w *world) told(r record) {
	if r.Out.Verdict == done && r.Count != nil {
		r.In = operation{Action: actCount, Slot: r.In.Slot, Of: r.In.Action}
		r.Out.Count = *r.Count
		r.Client += 12
		w.did(r)
	}
}

func (w *world) list(t *issued) step {
	return w.bySettings(t, record{In: operation{Action: actList}}, http.MethodGet, "/settings/devices", "", func(r *record, a answer) bool {
		var list struct {
			Devices []struct {
				ID   string `json:"id"`
				Name string `json:"name"`
			} `json:"devices"`
		}
		if a.status != http.StatusOK || json.Unmarshal(a.body, &list) != nil {
			return false
		}
		r.Out.Verdict = done
		for _, d := range list.Devices {
			i := slices.Index(w.devices[:], d.ID)
			if i < 0 {
				return false
			}
			var number int8
			if _, err := fmt.Sscanf(d.Name, "phone %d", &number); err != nil {
				return false
			}
			r.Out.Live[i], r.Out.Names[i] = true, number
		}
		return true
	})
}

func (w *world) rename(t *issued, slot int) step {
	w.names++
	number := w.names
	body := fmt.Sprintf(`{"name":%q}`, name(number))
	in := operation{Action: actRename, Slot: slot, Name: number}
	handle := func(r *record, a answer) bool {
		r.Out.Verdict = map[int]verdict{http.StatusOK: done, http.StatusNotFound: refused}[a.status]
		return a.status == http.StatusOK || a.status == http.StatusNotFound
	}
	if w.rng.IntN(2) == 0 {
		return w.bySettings(t, record{In: in}, http.MethodPatch, "/settings/devices/"+w.devices[slot], body, handle)
	}
	return w.byAdmin(in, http.MethodPatch, "/admin/devices/"+w.devices[slot], map[string]any{"name": name(number)}, handle)
}

// byAdmin does something over the admin API.
func (w *world) byAdmin(in operation, method, path string, body any, handle func(r *record, a answer) bool) step {
	in.How = strings.Trim(in.How+" "+method+" "+strings.Join(strings.Split(path, "/")[:3], "/"), " ")
	return func(ctx context.Context, thread int, n *node) {
		r := record{In: in, Client: thread, Node: n.number}
		a := w.h.rig.adminDo(ctx, n, method, path, body, func() { r.Call = w.h.now() })
		r.Return = w.h.now()
		switch {
		case r.Call == 0:
			return // no token for the admin API: nothing was asked
		case a.unknown():
			r.Out.Verdict = lost
		case !handle(&r, a):
			w.h.breaks("%s: %s %s: %s", w.client, method, path, a)
			return
		}
		w.told(r)
		w.did(r)
	}
}

// handleSignOut reads the answer of every sign-out.
func handleSignOut(r *record, a answer) bool {
	var out signedOut
	if a.status == http.StatusNotFound {
		return r.In.Action == actSignOut
	}
	if a.status != http.StatusOK || json.Unmarshal(a.body, &out) != nil {
		return false
	}
	r.Out.Verdict = done
	switch r.In.Action {
	case actSignOut, actSignOutRest, actSignOutUser:
		r.Count = out.Count
	}
	if out.Revocation != nil {
		r.Seq = out.Revocation.Seq
	}
	return true
}

func (w *world) signOutByAdmin(slot int) step {
	return w.byAdmin(operation{Action: actSignOut, Slot: slot}, http.MethodDelete, "/admin/devices/"+w.devices[slot], nil, handleSignOut)
}

func (w *world) signOutBySettings(t *issued, slot int) step {
	path := w.devices[slot]
	if t != nil && t.slot == slot {
		path = "current"
	}
	return w.bySettings(t, record{In: operation{Action: actSignOut, Slot: slot}}, http.MethodDelete, "/settings/devices/"+path, "", handleSignOut)
}

func (w *world) signOutUser() step {
	if t := w.newest(w.rng.IntN(slots)); t != nil && !w.plain && w.rng.IntN(2) == 0 {
		return w.bySettings(t, record{In: operation{Action: actSignOutUser}}, http.MethodDelete, "/settings/devices", "", handleSignOut)
	}
	return w.byAdmin(operation{Action: actSignOutUser}, http.MethodDelete, "/admin/users/"+w.userID+"/devices", nil, handleSignOut)
}

func (w *world) signOutOthers(t *issued) step {
	if t == nil {
		return nil
	}
	return w.bySettings(t, record{In: operation{Action: actSignOutRest, Slot: t.slot}}, http.MethodDelete, "/settings/devices?except=current", "", handleSignOut)
}

func (w *world) signOutClient() step {
	return w.byAdmin(operation{Action: actSignOutAll, How: "client"}, http.MethodDelete, "/admin/clients/"+w.client+"/devices", nil, handleSignOut)
}

// revokeToken is RFC 7009 with the newest token that is known, refresh or access: its device is out, if it was the device's own.
func (w *world) revokeToken(t *issued) step {
	if t == nil {
		return nil
	}
	token, access := t.pair.Refresh, w.rng.IntN(2) == 0
	if access {
		token = t.pair.Access
	}
	return func(ctx context.Context, thread int, n *node) {
		r := record{
			In:     operation{Action: actRevokeToken, Slot: t.slot, RefreshID: t.rid, Access: access, SignIn: t.signIn, How: "RFC 7009"},
			Client: thread, Node: n.number, Call: w.h.now(), Out: outcome{Verdict: done},
		}
		a := w.h.rig.revokeToken(ctx, n, w.client, token)
		r.Return = w.h.now()
		switch {
		case a.unknown():
			r.Out.Verdict = lost
		case a.status != http.StatusOK:
			w.h.breaks("%s: revoke: %s", w.client, a)
			return
		}
		w.did(r)
	}
}

func (w *world) changePassword(slot int) step {
	next := int8(len(w.passwords))
	if next > 100 {
		return nil
	}
	was := w.password
	if w.rng.IntN(8) == 0 {
		was = int8(w.rng.IntN(len(w.passwords)))
	}
	w.passwords = append(w.passwords, w.newPassword(int(next)))
	w.h.rig.note(w.passwords[next], "a password")
	if t := w.newest(slot); t != nil && w.live[slot] && w.rng.IntN(3) > 0 {
		body := fmt.Sprintf(`{"current_password":%q,"new_password":%q}`, w.passwords[was], w.passwords[next])
		return w.bySettings(t, record{In: operation{Action: actPassword, Slot: slot, Password: was, Next: next}}, http.MethodPut, "/settings/password", body,
			func(r *record, a answer) bool {
				if a.status == http.StatusOK {
					return handleSignOut(r, a)
				}
				return a.status == wrongCurrentPassword
			})
	}
	return w.setPassword(next)
}

func (w *world) setPassword(next int8) step {
	return w.byAdmin(operation{Action: actSetPassword, Password: next}, http.MethodPatch, "/admin/users/"+w.userID,
		map[string]any{"password": w.passwords[next]}, handleSignOut)
}

// wrongCurrentPassword is the status of PUT /settings/password for a wrong current password.
const wrongCurrentPassword = http.StatusForbidden

func (w *world) disable() step { return w.setDisabled(actDisable, true) }
func (w *world) enable() step  { return w.setDisabled(actEnable, false) }

func (w *world) setDisabled(a action, disabled bool) step {
	return w.byAdmin(operation{Action: a}, http.MethodPatch, "/admin/users/"+w.userID, map[string]any{"disabled": disabled}, handleSignOut)
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

// judge checks everything that was recorded.
func (h *history) judge(ctx context.Context) *verdictOfRun {
	if err := h.finalLocalChecks(ctx); err != nil {
		h.breaks("%v", err)
	}
	worlds := make([][]record, len(h.worlds))
	for i, w := range h.worlds {
		worlds[i] = h.recordsOf(w)
	}
	v := checkWorlds(h.spec, worlds, runtime.NumCPU())
	for _, w := range h.worlds {
		v.Local += len(w.locals)
		for _, problem := range checkLocal(w, append(slices.Clone(w.records), h.all...)) {
			h.breaks("%s", problem)
		}
	}
	v.Broken = h.broken
	for _, n := range h.rig.nodes {
		select {
		case <-n.exited:
			v.Broken = append(v.Broken, fmt.Sprintf("node %d ended: %s", n.number, n.logTail()))
		default:
		}
	}
	return v
}
