package main

import (
	"context"
	"errors"
)

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

// The directed schedules of codes, parents and children.
var browserScenarios = []scenario{
	{
		name: "a code in a new app's first second, then its session ends",
		run: func(ctx context.Context, w *world, d *director) error {
			c := d.ask(ctx, 0)
			d.now(ctx, w.endSession(), w.exchange(c), w.look())
			return nil
		},
	},
	{name: "a code for each level of sign-out", run: func(ctx context.Context, w *world, d *director) error {
		for _, out := range []step{w.endSession(), w.signOutUser(), w.signOutClient(), w.signOutEveryone()} {
			c := d.ask(ctx, 0)
			d.now(ctx, out, w.exchange(c), w.look())
			sleep(ctx, ahead/4)
		}
		sleep(ctx, ahead) // the clock is the issue time now
		c := d.ask(ctx, 1)
		d.now(ctx, w.endSession(), w.exchange(c))
		return nil
	}},
	{name: "a code twice, and what does not fit", run: func(ctx context.Context, w *world, d *director) error {
		d.family(ctx)
		c := d.ask(ctx, 0)
		in := operation{Action: actExchange, Slot: 0, Code: c.number}
		wrong, stranger := in, in
		wrong.Wrong, stranger.Stranger = true, true
		d.now(ctx, w.exchangeAs(c, wrong), w.exchangeAs(c, stranger), w.exchange(c))
		t := w.newest(0)
		d.now(ctx, w.exchangeAs(c, wrong), w.refresh(t, false))
		t = w.newest(0)
		d.now(ctx, w.introspect(t), w.exchange(c), w.introspect(t), w.refresh(t, false), w.look(), w.introspect(w.newest(1)))
		return nil
	}},
	{name: "the end of a session with its children", run: func(ctx context.Context, w *world, d *director) error {
		d.family(ctx)
		d.now(ctx, w.refresh(w.newest(0), false))
		d.now(ctx, w.list(w.newest(0)), w.endSession())
		d.everythingOf(ctx)
		d.now(ctx, w.refresh(w.newest(0), false), w.refresh(w.newest(1), false), w.list(w.newest(1)))
		return nil
	}},
	{name: "all but the current, in a family", run: func(ctx context.Context, w *world, d *director) error {
		for slot := range slots {
			d.family(ctx)
			d.now(ctx, w.signOutOthers(w.newest(slot)), w.look(), w.list(w.newest(slot)))
			d.everythingOf(ctx)
		}
		d.family(ctx)
		w.passwords = append(w.passwords, w.newPassword(len(w.passwords)))
		d.now(ctx, w.changeOwnPassword(w.newest(0), w.password, int8(len(w.passwords)-1)))
		d.now(ctx, w.look(), w.list(w.newest(0)), w.endSession(), w.introspect(w.newest(0)))
		return nil
	}},
	{
		name: "a code from two clients at once", locks: true,
		run: func(ctx context.Context, w *world, d *director) error {
			c := d.ask(ctx, 0)
			release, err := d.hold(ctx, "SELECT 1 FROM users WHERE id = $1 FOR UPDATE", w.userID)
			if err != nil {
				return err
			}
			d.beside(ctx, w.exchange(c))
			err = d.blocked(ctx, 1)
			d.beside(ctx, w.exchange(c))
			err = errors.Join(err, d.blocked(ctx, 2))
			release()
			d.wg.Wait()
			d.everythingOf(ctx)
			return err
		},
	},
	{
		name: "an exchange behind the end of its session", locks: true,
		run: func(ctx context.Context, w *world, d *director) error {
			c := d.ask(ctx, 0)
			release, err := d.hold(ctx, beforeCommit)
			if err != nil {
				return err
			}
			d.beside(ctx, w.endSession())
			err = d.blocked(ctx, 1)
			err = errors.Join(err, d.blockedOr(ctx, 2, d.beside(ctx, w.exchange(c))))
			release()
			d.wg.Wait()
			d.everythingOf(ctx)
			return err
		},
	},
	{
		name: "the end of a session behind an exchange that has written its device", locks: true,
		run: func(ctx context.Context, w *world, d *director) error {
			c := d.ask(ctx, 0)
			release, err := d.hold(ctx, "LOCK TABLE audit_events IN SHARE MODE") // a sign-in tells of itself at its end
			if err != nil {
				return err
			}
			d.beside(ctx, w.exchange(c))
			err = d.blocked(ctx, 1)
			d.beside(ctx, w.endSession())
			err = errors.Join(err, d.blocked(ctx, 2))
			release()
			d.wg.Wait()
			d.everythingOf(ctx)
			return err
		},
	},
	{
		name: "an exchange behind a wider sign-out", locks: true,
		run: func(ctx context.Context, w *world, d *director) error {
			for _, out := range []func() step{w.signOutClient, w.signOutEveryone} {
				c := d.ask(ctx, 0)
				release, err := d.hold(ctx, beforeCommit)
				if err != nil {
					return err
				}
				d.beside(ctx, out())
				err = d.blocked(ctx, 1)
				err = errors.Join(err, d.blockedOr(ctx, 2, d.beside(ctx, w.exchange(c))))
				release()
				d.wg.Wait()
				if err != nil {
					return err
				}
				d.everythingOf(ctx)
			}
			return nil
		},
	},
}
