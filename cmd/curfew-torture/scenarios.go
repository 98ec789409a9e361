package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
)

// scenario is a directed schedule: a history that chance would take long to find, made by holding a lock from outside
// at the right moment. Its operations are recorded and checked like any other's.
type scenario struct {
	name  string
	locks bool // holds rows of PostgreSQL: not on SQLite, where one writer at a time makes the race impossible
	run   func(ctx context.Context, w *world, d *director) error
}

// director runs operations of a world one after the other or side by side, and holds locks.
type director struct {
	w       *world
	threads int
	wg      sync.WaitGroup
}

// now does an operation and waits for its answer.
func (d *director) now(ctx context.Context, steps ...step) {
	for _, s := range steps {
		if s != nil {
			s(ctx, 0, d.w.h.rig.pick(0))
		}
	}
}

// beside begins an operation on another node; the channel is closed when it is answered.
func (d *director) beside(ctx context.Context, s step) <-chan struct{} {
	d.threads++
	thread := d.threads
	answered := make(chan struct{})
	d.wg.Go(func() {
		defer close(answered)
		s(ctx, thread, d.w.h.rig.pick(thread))
	})
	return answered
}

// hold takes a lock on a connection of its own, until release.
func (d *director) hold(ctx context.Context, statement string, args ...any) (release func(), err error) {
	conn, err := pgx.Connect(ctx, d.w.h.rig.url)
	if err != nil {
		return nil, err
	}
	if _, err = conn.Exec(ctx, "BEGIN"); err == nil {
		_, err = conn.Exec(ctx, statement, args...)
	}
	if err != nil {
		conn.Close(ctx)
		return nil, err
	}
	return func() { conn.Close(context.WithoutCancel(ctx)) }, nil
}

// blocked waits until n statements wait for locks.
func (d *director) blocked(ctx context.Context, n int) error { return d.blockedOr(ctx, n, nil) }

// blockedOr waits until n statements wait for locks, or an operation that need not wait is answered.
func (d *director) blockedOr(ctx context.Context, n int, answered <-chan struct{}) error {
	conn, err := pgx.Connect(ctx, d.w.h.rig.url)
	if err != nil {
		return err
	}
	defer conn.Close(context.WithoutCancel(ctx))
	deadline := time.Now().Add(2 * time.Second)
	for {
		var waiting int
		if err := conn.QueryRow(ctx, `SELECT count(*) FROM pg_stat_activity 
			WHERE wait_event_type = 'Lock' AND datname = current_database()`).Scan(&waiting); err != nil {
			return err
		}
		if waiting >= n {
			return nil
		}
		select {
		case <-answered:
			return nil
		default:
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("%d statements wait for a lock, not %d", waiting, n)
		}
		time.Sleep(2 * time.Millisecond)
	}
}

// ahead is how far issue times may lie ahead of the clock after a client was made or somebody signed out (the horizon's
// lead). While they do, all tokens of a device have the same issue time, and some faults cannot show.
const ahead = 1200 * time.Millisecond

// beforeCommit is the lock that stops whoever signs out between its last change and its commit: a trigger on the log
// asks for it.
const (
	beforeCommitLock = 4711
	beforeCommit     = "SELECT pg_advisory_xact_lock(4711)"
)

// everythingOf looks at each token of the world, strictly and locally.
func (d *director) everythingOf(ctx context.Context) {
	d.w.mu.Lock()
	all := append([]*issued(nil), d.w.tokens...)
	d.w.mu.Unlock()
	for _, t := range all {
		d.now(ctx, d.w.introspect(t), d.w.verifyLocally(t))
	}
}

// signOuts are the ways to end device 0, at each level.
func signOuts(w *world) map[string]step {
	return map[string]step{
		"device": w.signOutByAdmin(0), "user": w.signOutUser(), "client": w.signOutClient(), "everyone": w.signOutEveryone(),
	}
}

var scenarios = []scenario{
	{
		name: "every level ends every token, and nothing after it",
		run: func(ctx context.Context, w *world, d *director) error {
			for _, level := range []string{"device", "user", "client", "everyone"} {
				d.now(ctx, w.signIn(0), w.signIn(1))
				d.now(ctx, w.refresh(w.newest(0), false))
				before := w.newest(0)
				d.now(ctx, signOuts(w)[level])
				d.now(ctx, w.introspect(before), w.refresh(before, false), w.signIn(0))
				d.now(ctx, w.verifyLocally(w.newest(0)), w.introspect(w.newest(0)), w.refresh(w.newest(0), false))
				d.now(ctx, w.verifyLocally(w.newest(0)), w.list(w.newest(0)))
			}
			return nil
		},
	},
	{name: "replays", run: func(ctx context.Context, w *world, d *director) error {
		d.now(ctx, w.signIn(0))
		first := w.newest(0)
		d.now(ctx, w.refresh(first, false))
		d.now(ctx, w.refresh(w.newest(0), false))
		third := w.newest(0)
		d.now(ctx, w.refresh(first, false), w.introspect(third), w.refresh(third, false))
		d.now(ctx, w.signIn(0))
		again := w.newest(0)
		d.now(ctx, w.refresh(again, false), w.refresh(again, false), w.introspect(w.newest(0)))
		return nil
	}},
	{name: "owner and thief of one chain", run: func(ctx context.Context, w *world, d *director) error {
		d.now(ctx, w.signIn(0))
		first := w.newest(0)
		d.now(ctx, w.refresh(first, false))
		owners := w.newest(0)
		d.now(ctx, w.refreshFrom(first, false, elsewhere)) // at once: a client that races itself, for all anybody knows
		sleep(ctx, time.Duration(raceWindow)+ahead/10)
		d.now(ctx, w.refreshFrom(first, false, elsewhere), w.introspect(owners), w.introspect(w.newest(0)))
		d.now(ctx, w.refresh(owners, false), w.introspect(w.newest(0)), w.refresh(w.newest(0), false))
		return nil
	}},
	{name: "the password is changed because of a thief", run: func(ctx context.Context, w *world, d *director) error {
		d.now(ctx, w.signIn(0), w.signIn(1))
		first := w.newest(0)
		d.now(ctx, w.refresh(first, false))
		thiefs := w.newest(0)
		w.passwords = append(w.passwords, w.newPassword(len(w.passwords)))
		d.now(ctx, w.changeOwnPassword(thiefs, w.password, int8(len(w.passwords)-1)))
		d.now(ctx, w.refreshFrom(first, false, elsewhere), w.refreshFrom(thiefs, false, elsewhere), w.introspect(thiefs))
		d.now(ctx, w.refresh(w.newest(0), false), w.introspect(w.newest(0)), w.introspect(w.newest(1)))
		sleep(ctx, ahead)
		d.everythingOf(ctx)
		return nil
	}},
	{
		name: "a change of the password behind a sign-in that has written its device", locks: true,
		run: func(ctx context.Context, w *world, d *director) error {
			d.now(ctx, w.signIn(0))
			w.passwords = append(w.passwords, w.newPassword(len(w.passwords)))
			change := w.changeOwnPassword(w.newest(0), w.password, int8(len(w.passwords)-1))
			release, err := d.hold(ctx, "LOCK TABLE audit_events IN SHARE MODE") // a sign-in tells of itself at its end
			if err != nil {
				return err
			}
			d.beside(ctx, w.signIn(1))
			err = d.blocked(ctx, 1)
			d.beside(ctx, change)
			err = errors.Join(err, d.blocked(ctx, 2))
			release()
			d.wg.Wait()
			d.everythingOf(ctx)
			return err
		},
	},
	{name: "the same token from eight clients", run: func(ctx context.Context, w *world, d *director) error {
		for range 6 {
			d.now(ctx, w.signIn(0))
			t := w.newest(0)
			for range 8 {
				d.beside(ctx, w.refresh(t, false))
			}
			d.wg.Wait()
			d.now(ctx, w.introspect(w.newest(0)))
		}
		return nil
	}},
	{name: "another client's refresh", run: func(ctx context.Context, w *world, d *director) error {
		d.now(ctx, w.signIn(0))
		t := w.newest(0)
		d.now(ctx, w.refresh(t, true), w.introspect(t), w.refresh(t, false))
		return nil
	}},
	{name: "disabled and enabled", run: func(ctx context.Context, w *world, d *director) error {
		d.now(ctx, w.signIn(0))
		t := w.newest(0)
		d.now(ctx, w.disable(), w.signIn(0), w.introspect(t), w.enable(), w.introspect(t), w.refresh(t, false), w.signIn(0),
			w.introspect(w.newest(0)))
		return nil
	}},
	{name: "signed in again", run: func(ctx context.Context, w *world, d *director) error {
		d.now(ctx, w.signIn(0))
		t := w.newest(0)
		d.now(ctx, w.signIn(0), w.introspect(t), w.refresh(t, false), w.introspect(w.newest(0)))
		sleep(ctx, ahead) // the event has no number in an answer; the poll brings it within a second
		for _, rs := range w.h.resourceServers() {
			w.lookLocally(ctx, t, rs, true)
		}
		return nil
	}},
	{
		name: "refreshes with the same token that have all read before the first writes", locks: true,
		run: func(ctx context.Context, w *world, d *director) error {
			d.now(ctx, w.signIn(0))
			t := w.newest(0)
			release, err := d.hold(ctx, "SELECT 1 FROM devices WHERE id = $1 FOR UPDATE", w.devices[0])
			if err != nil {
				return err
			}
			for range 3 {
				d.beside(ctx, w.refresh(t, false))
			}
			err = d.blocked(ctx, 3)
			release()
			d.wg.Wait()
			d.everythingOf(ctx)
			return err
		},
	},
	{
		name: "a sign-out held before its commit, a refresh beside it", locks: true,
		run: func(ctx context.Context, w *world, d *director) error {
			for _, level := range []string{"user", "client", "everyone"} {
				d.now(ctx, w.signIn(0))
				release, err := d.hold(ctx, beforeCommit)
				if err != nil {
					return err
				}
				d.beside(ctx, signOuts(w)[level])
				err = d.blocked(ctx, 1)
				err = errors.Join(err, d.blockedOr(ctx, 2, d.beside(ctx, w.refresh(w.newest(0), false))))
				release()
				d.wg.Wait()
				if err != nil {
					return err
				}
				d.everythingOf(ctx)
				d.now(ctx, w.refresh(w.newest(0), false))
			}
			return nil
		},
	},
	{
		name: "a sign-out held for longer than the horizon's lead", locks: true,
		run: func(ctx context.Context, w *world, d *director) error {
			d.now(ctx, w.signIn(0))
			release, err := d.hold(ctx, beforeCommit)
			if err != nil {
				return err
			}
			d.beside(ctx, w.signOutUser())
			err = d.blocked(ctx, 1)
			time.Sleep(1300 * time.Millisecond)
			err = errors.Join(err, d.blockedOr(ctx, 2, d.beside(ctx, w.refresh(w.newest(0), false))))
			release()
			d.wg.Wait()
			d.everythingOf(ctx)
			return err
		},
	},
	{
		name: "a retry while its device is being signed out", locks: true,
		run: func(ctx context.Context, w *world, d *director) error {
			sleep(ctx, ahead)
			d.now(ctx, w.signIn(0))
			first := w.newest(0)
			d.now(ctx, w.refresh(first, false))
			release, err := d.hold(ctx, beforeCommit)
			if err != nil {
				return err
			}
			d.beside(ctx, w.signOutByAdmin(0))
			err = d.blocked(ctx, 1)
			err = errors.Join(err, d.blockedOr(ctx, 2, d.beside(ctx, w.refresh(first, false))))
			release()
			d.wg.Wait()
			d.everythingOf(ctx)
			return err
		},
	},
	{
		name: "a sign-in with the old password behind the change of it", locks: true,
		run: func(ctx context.Context, w *world, d *director) error {
			return behind(ctx, w, d, func() step {
				w.passwords = append(w.passwords, w.newPassword(len(w.passwords)))
				return w.setPassword(int8(len(w.passwords) - 1))
			})
		},
	},
	{
		name: "a sign-in behind the disabling of its user", locks: true,
		run: func(ctx context.Context, w *world, d *director) error {
			err := behind(ctx, w, d, w.disable)
			d.now(ctx, w.enable())
			d.everythingOf(ctx)
			return err
		},
	},
	{
		name: "a sign-in behind the sign-out of its user", locks: true,
		run: func(ctx context.Context, w *world, d *director) error {
			return behind(ctx, w, d, w.signOutUser)
		},
	},
}

// behind queues a change of the user before a sign-in that has checked the password already.
func behind(ctx context.Context, w *world, d *director, change func() step) error {
	d.now(ctx, w.signIn(0))
	signIn := w.signInWith(1, w.password)
	release, err := d.hold(ctx, "SELECT 1 FROM users WHERE id = $1 FOR UPDATE", w.userID)
	if err != nil {
		return err
	}
	d.beside(ctx, change())
	err = d.blocked(ctx, 1)
	d.beside(ctx, signIn)
	if e := d.blocked(ctx, 2); e != nil {
		err = errors.Join(err, e)
	}
	release()
	d.wg.Wait()
	d.now(ctx, w.introspect(w.newest(1)), w.refresh(w.newest(1), false), w.introspect(w.newest(0)))
	return err
}

// runScenarios runs the directed schedules, each in a world of its own, and checks what they recorded.
func runScenarios(ctx context.Context, cfg historyConfig) (*verdictOfRun, error) {
	h, err := newHistory(ctx, cfg)
	if err != nil {
		return nil, err
	}
	defer h.close()
	for i, s := range slices.Concat(scenarios, browserScenarios) {
		if s.locks && h.Database == "sqlite" {
			continue
		}
		for try := 0; ; try++ {
			w, err := h.newWorld(ctx, uint64(i))
			if err != nil { // a token that was issued a moment ago is not taken
				h.breaks("%s: a new world: %v", s.name, err)
				break
			}
			w.plain = true
			err = s.run(ctx, w, &director{w: w})
			h.worlds = append(h.worlds, w)
			if err == nil {
				break
			}
			if try == 2 { // on a very busy machine
				h.breaks("%s: the schedule did not come about: %v", s.name, err)
				break
			}
		}
	}
	v := h.verdict(ctx)
	return v, ctx.Err()
}
