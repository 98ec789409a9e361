package main

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
)

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

// lock is what a schedule holds from outside.
type lock struct {
	statement string
	args      []any
}

// tellsOfItself stops a sign-in at its end, when it has written its device.
var tellsOfItself = lock{statement: "LOCK TABLE audit_events IN SHARE MODE"}

// theUser stops whoever changes the world's user, or signs them in.
func (w *world) theUser() lock {
	return lock{"SELECT 1 FROM users WHERE id = $1 FOR UPDATE", []any{w.userID}}
}

// queue holds a lock until each of the operations waits for it, one behind the other, and returns when all are
// answered.
func (d *director) queue(ctx context.Context, l lock, steps ...step) error {
	release, err := d.hold(ctx, l)
	if err != nil {
		return err
	}
	for i, s := range steps {
		d.beside(ctx, s)
		err = errors.Join(err, d.blocked(ctx, i+1))
	}
	release()
	d.wg.Wait()
	return err
}

// duringSignOut holds a sign-out before its commit, for a while, until another operation waits for it too, or is
// answered because it need not wait. It looks at every token then.
func (d *director) duringSignOut(ctx context.Context, signOut, other step, while time.Duration) error {
	release, err := d.hold(ctx, lock{statement: beforeCommit})
	if err != nil {
		return err
	}
	d.beside(ctx, signOut)
	err = d.blocked(ctx, 1)
	time.Sleep(while)
	err = errors.Join(err, d.blockedOr(ctx, 2, d.beside(ctx, other)))
	release()
	d.wg.Wait()
	if err == nil {
		d.everythingOf(ctx)
	}
	return err
}

// hold takes a lock on a connection of its own, until release.
func (d *director) hold(ctx context.Context, l lock) (release func(), err error) {
	conn, err := pgx.Connect(ctx, d.w.h.rig.url)
	if err != nil {
		return nil, err
	}
	if _, err = conn.Exec(ctx, "BEGIN"); err == nil {
		_, err = conn.Exec(ctx, l.statement, l.args...)
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

// family signs in on the page and signs both devices in through it, the second one to stay.
func (d *director) family(ctx context.Context) {
	w := d.w
	d.now(ctx, w.signInBrowser())
	for slot, offline := range [slots]bool{false, true} {
		d.now(ctx, w.askForCode(slot, offline))
		d.now(ctx, w.exchange(w.aCode()))
	}
}

// ask gets one more code for a device.
func (d *director) ask(ctx context.Context, slot int) *code {
	d.now(ctx, d.w.signInBrowser())
	d.now(ctx, d.w.askForCode(slot, false))
	return d.w.aCode()
}
