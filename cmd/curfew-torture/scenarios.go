package main

import (
	"context"
	"time"
)

// scenario is a directed schedule: a history that chance would take long to find, made by holding a lock from outside
// at the right moment. Its operations are recorded and checked like any other's.
type scenario struct {
	name  string
	locks bool // holds rows of PostgreSQL: not on SQLite, where one writer at a time makes the race impossible
	run   func(ctx context.Context, w *world, d *director) error
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
			err := d.queue(ctx, tellsOfItself, w.signIn(1), change)
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
			device := lock{"SELECT 1 FROM devices WHERE id = $1 FOR UPDATE", []any{w.devices[0]}}
			err := d.queue(ctx, device, w.refresh(t, false), w.refresh(t, false), w.refresh(t, false))
			d.everythingOf(ctx)
			return err
		},
	},
	{
		name: "a sign-out held before its commit, a refresh beside it", locks: true,
		run: func(ctx context.Context, w *world, d *director) error {
			for _, level := range []string{"user", "client", "everyone"} {
				d.now(ctx, w.signIn(0))
				if err := d.duringSignOut(ctx, signOuts(w)[level], w.refresh(w.newest(0), false), 0); err != nil {
					return err
				}
				d.now(ctx, w.refresh(w.newest(0), false))
			}
			return nil
		},
	},
	{
		name: "a sign-out held for longer than the horizon's lead", locks: true,
		run: func(ctx context.Context, w *world, d *director) error {
			d.now(ctx, w.signIn(0))
			return d.duringSignOut(ctx, w.signOutUser(), w.refresh(w.newest(0), false), 1300*time.Millisecond)
		},
	},
	{
		name: "a retry while its device is being signed out", locks: true,
		run: func(ctx context.Context, w *world, d *director) error {
			sleep(ctx, ahead)
			d.now(ctx, w.signIn(0))
			first := w.newest(0)
			d.now(ctx, w.refresh(first, false))
			return d.duringSignOut(ctx, w.signOutByAdmin(0), w.refresh(first, false), 0)
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

	// Codes, parents and children.
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
			err := d.queue(ctx, w.theUser(), w.exchange(c), w.exchange(c))
			d.everythingOf(ctx)
			return err
		},
	},
	{
		name: "an exchange behind the end of its session", locks: true,
		run: func(ctx context.Context, w *world, d *director) error {
			c := d.ask(ctx, 0)
			return d.duringSignOut(ctx, w.endSession(), w.exchange(c), 0)
		},
	},
	{
		name: "the end of a session behind an exchange that has written its device", locks: true,
		run: func(ctx context.Context, w *world, d *director) error {
			c := d.ask(ctx, 0)
			err := d.queue(ctx, tellsOfItself, w.exchange(c), w.endSession())
			d.everythingOf(ctx)
			return err
		},
	},
	{
		name: "an exchange behind a wider sign-out", locks: true,
		run: func(ctx context.Context, w *world, d *director) error {
			for _, out := range []func() step{w.signOutClient, w.signOutEveryone} {
				c := d.ask(ctx, 0)
				if err := d.duringSignOut(ctx, out(), w.exchange(c), 0); err != nil {
					return err
				}
			}
			return nil
		},
	},
}

// behind queues a change of the user before a sign-in that has checked the password already.
func behind(ctx context.Context, w *world, d *director, change func() step) error {
	d.now(ctx, w.signIn(0))
	signIn := w.signInWith(1, w.password)
	err := d.queue(ctx, w.theUser(), change(), signIn)
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
	for i, s := range scenarios {
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
