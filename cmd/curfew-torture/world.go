package main

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/google/uuid"

	"curfew/internal/harness"
)

// world is one user with one client and two devices, and everything that was done to them.
type world struct {
	h        *history
	client   string
	username string
	userID   string
	address  string
	devices  [slots]string
	session  string // what the browser is called

	elsewhere  string // another address
	lostAnswer bool   // the client has a window for a lost answer

	mu        sync.Mutex
	rng       *rand.Rand
	passwords []string // by number; the last one was set last
	password  int8     // the one that is believed to be right
	disabled  bool     // believed
	live      [slots]bool
	tokens    []*issued
	cookies   []held
	codes     []code
	browsing  bool             // the browser is believed to be signed in
	unspent   int              // codes, likewise
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
	child     bool // it goes with the browser session
}

// newWorld makes a client and a user.
func (h *history) newWorld(ctx context.Context, seed uint64) (*world, error) {
	serial := h.serial.Add(1)
	w := &world{
		h: h, client: fmt.Sprintf("app-%d", serial), username: fmt.Sprintf("user-%d", serial),
		address:   fmt.Sprintf("10.%d.%d.%d", serial>>16&255, serial>>8&255, serial&255),
		elsewhere: fmt.Sprintf("10.%d.%d.%d", serial>>16&255|128, serial>>8&255, serial&255),
		rng:       rand.New(rand.NewPCG(seed, uint64(serial))), numbers: map[string]int32{},
	}
	for i := range w.devices {
		w.devices[i] = uuid.NewString()
	}
	w.session = uuid.NewString()
	w.passwords = []string{w.newPassword(0)}
	n := h.rig.pick(int(serial))
	if err := errors.Join(h.rig.createClient(ctx, n, w.client), h.rig.allowCodes(ctx, n, w.client)); err != nil {
		return nil, err
	}
	if w.lostAnswer = !h.Reuse && h.Database != "sqlite" && serial%2 == 0; w.lostAnswer {
		if err := harness.Exec(ctx, h.rig.url, fmt.Sprintf(
			"UPDATE clients SET lost_answer = %d WHERE id = '%s'", time.Hour.Microseconds(), w.client)); err != nil {
			return nil, err
		}
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
type step func(ctx context.Context, thread int, n *harness.Node)

// plan chooses what happens at the same time next.
func (w *world) plan() []step {
	slot := w.rng.IntN(slots)
	if !w.live[slot] && w.rng.IntN(10) < 7 {
		switch {
		case w.disabled:
			return []step{w.enable(), w.signIn(slot)}
		case w.unspent > 0:
			return []step{w.exchange(w.aCode())}
		}
		return []step{w.signIn(slot)}
	}
	var burst []step
	switch w.rng.IntN(7) {
	case 0: // the same token from several clients at once
		if t := w.aToken(slot); t != nil {
			for range 3 {
				burst = append(burst, w.refresh(t, false))
			}
		}
	case 1: // a sign-out in the middle of refreshes
		burst = append(burst, w.refresh(w.newest(slot), false), w.anySignOut(slot), w.refresh(w.newest(slot), false))
	case 3: // a code twice, or beside the end of its session
		burst = append(burst, w.exchange(w.aCode()), w.exchange(w.aCode()), w.anyInBrowser(slot))
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
	if w.rng.IntN(3) == 0 {
		return w.anyInBrowser(slot)
	}
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
	case actSignIn, actExchange:
		w.live[r.In.Slot] = true
	case actSignOut, actRevokeToken:
		w.live[r.In.Slot] = false
	case actSignOutAll, actSignOutApp, actSignOutUser, actSetPassword:
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
	case actBrowser:
		w.browsing = true
	case actCode:
		w.unspent++
	case actExchange:
		w.unspent--
	case actSignOutApp:
		w.unspent = 0
	case actEndSession, actSignOutAll, actSignOutUser, actSetPassword, actDisable, actSignOutRest, actPassword:
		w.browsing, w.unspent = false, 0 // perhaps
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
	if err != nil || c.DeviceID != w.devices[slot] || t.DeviceID != w.devices[slot] || c.Subject != w.userID ||
		c.ClientID != w.client || c.RefreshID == "" || t.Refresh == "" {
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
	child := slices.ContainsFunc(w.tokens, func(t *issued) bool { return t.signIn == signIn && t.child })
	w.tokens = append(w.tokens, &issued{
		slot: slot, rid: number, signIn: signIn, pair: t, call: call, end: end, child: child,
	})
	return number
}
