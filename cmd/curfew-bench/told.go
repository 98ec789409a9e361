package main

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"time"

	"curfew/internal/proc"
)

// manyReceivers are as many webhooks as there may be.
const manyReceivers = 1000

// told: how many have to be told is nothing to a sign-out; and how many notices a second a node sends. The two worlds
// that are compared take turns, so that neither is measured on a colder or busier machine.
func (b *bench) told(ctx context.Context) error {
	t := &toldRun{b: b, receiver: newReceiver(0)}
	defer t.receiver.Close()
	for i, name := range []string{"told_none", "told_many"} {
		w, err := b.rig.newWorld(ctx, name, 4000)
		if err != nil {
			return err
		}
		if t.sides[i], err = newSide(w); err != nil {
			return err
		}
		defer w.stop(ctx)
	}
	many := t.sides[1]
	if err := many.addWebhooks(t.receiver.URL, "device.signed_in"); err != nil {
		return err
	}
	for _, step := range []struct {
		types, what string
		told        int
		atOnce      int // sign-outs before the rest
		target      string
	}{
		{"device.signed_in", "1,000 receivers registered for other events", 0, 1, "≤ 1.2 of none"},
		{"user.signed_out", "1,000 receivers that are told", manyReceivers, 1, "≤ 1.2 of none"},
		{"user.signed_out", "1,000 receivers, while they are told of those before", manyReceivers, 10, ""},
	} {
		if _, err := many.w.db.Exec(ctx, "UPDATE receivers SET types = $1", step.types); err != nil {
			return err
		}
		time.Sleep(5 * time.Second) // the node takes it up
		times, err := t.turns(ctx, step.told, step.atOnce)
		if err != nil {
			return err
		}
		none, _, _ := quantiles(times[0])
		with, _, _ := quantiles(times[1])
		b.report.add("signing out a user: "+step.what, step.target, with/none <= 1.2, with/none,
			"%.2f ms, %.2f ms with none: %.2f times (medians of %d each)", with, none, with/none, len(times[0]))
	}
	if err := t.webhookRate(ctx); err != nil {
		return err
	}
	return t.logoutRate(ctx)
}

// side is a world with an admin who asks it.
type side struct {
	w     *world
	token string
	user  int // the next to be signed out
}

func newSide(w *world) (s *side, err error) {
	s = &side{w: w}
	s.token, err = adminToken(w.node)
	return s, err
}

// request asks on a connection of its own, which is not part of the time.
func (s *side) request(want int, head, body string) (took time.Duration, err error) {
	r := appendRequest(nil, head+" HTTP/1.1\r\nHost: bench\r\nContent-Type: application/json\r\nAuthorization: Bearer "+
		s.token+"\r\n", []byte(body))
	c, err := dial(s.w.node.Admin)
	if err != nil {
		return 0, err
	}
	defer c.net.Close()
	begin := time.Now()
	status, answer, err := c.do(r)
	if err == nil && status != want {
		err = unexpected(status, answer)
	}
	return time.Since(begin), err
}

// signOut signs the next user out. When all are, they are in again, as nobody measures.
func (s *side) signOut(ctx context.Context) (time.Duration, error) {
	if s.user++; s.user == s.w.users {
		s.user = 1
		if err := s.w.revive(ctx); err != nil {
			return 0, err
		}
	}
	return s.request(http.StatusOK, "DELETE /admin/users/"+userID(s.user).String()+"/devices", "")
}

func (s *side) addWebhooks(url, types string) error {
	for range manyReceivers {
		body := `{"url":"` + url + `","types":["` + types + `"]}`
		if _, err := s.request(http.StatusCreated, "POST /admin/webhooks", body); err != nil {
			return err
		}
	}
	return nil
}

// toldRun compares a world without receivers with one that has many.
type toldRun struct {
	b        *bench
	receiver *receiver
	sides    [2]*side
}

// turns signs users out on both sides in turns, some at a time, and waits after each turn until everybody is told.
func (t *toldRun) turns(ctx context.Context, told, atOnce int) (times [2][]time.Duration, err error) {
	const warm = 5
	rounds := 40
	if t.b.opt.Short {
		rounds = 3
	}
	for round := range (warm+rounds)/atOnce + 2 { // the first one counts nowhere
		order := []int{0, 1}
		if round%2 == 1 {
			slices.Reverse(order)
		}
		for _, i := range order {
			want := t.receiver.taken.Load()
			for k := range atOnce {
				if k > 0 {
					time.Sleep(50 * time.Millisecond)
				}
				took, err := t.sides[i].signOut(ctx)
				if err != nil {
					return times, err
				}
				if round > 0 && (round > warm || atOnce > 1) {
					times[i] = append(times[i], took)
				}
			}
			if i == 1 {
				if want += int64(told * atOnce); !t.receiver.await(ctx, want) {
					return times, fmt.Errorf("%d of %d notices came", t.receiver.taken.Load(), want)
				}
			}
			time.Sleep(200 * time.Millisecond) // the positions are written
		}
	}
	return times, nil
}

// webhookRate: ten events for all webhooks.
func (t *toldRun) webhookRate(ctx context.Context) error {
	const events = 10
	return t.rate(ctx, "webhook messages", events*manyReceivers, func(s *side) error {
		for range events {
			if _, err := s.signOut(ctx); err != nil {
				return err
			}
		}
		return nil
	})
}

// logoutRate: one event that ended many devices of one client.
func (t *toldRun) logoutRate(ctx context.Context) error {
	s := t.sides[1]
	if _, err := s.w.db.Exec(ctx, "DELETE FROM receivers"); err != nil {
		return err
	}
	if err := s.w.revive(ctx); err != nil {
		return err
	}
	if _, err := s.request(http.StatusOK, "PATCH /admin/clients/web",
		`{"backchannel_logout_uri":"`+t.receiver.URL+`"}`); err != nil {
		return err
	}
	time.Sleep(5 * time.Second) // the node takes it up
	// Who was signed out before is out by that event, as the log says it, and is told nothing of this one.
	return t.rate(ctx, "logout tokens", s.w.devices-perUser*s.user, func(s *side) error {
		_, err := s.request(http.StatusOK, "DELETE /admin/clients/web/devices", "")
		return err
	})
}

// rate is how many notices a second come of what happens, and what each costs.
func (t *toldRun) rate(ctx context.Context, what string, notices int, happens func(*side) error) error {
	s := t.sides[1]
	node, cluster := s.w.node.PID(), t.b.rig.cluster.PID()
	want := t.receiver.taken.Load() + int64(notices)
	begin, server, db := time.Now(), proc.CPUOfTree(node), proc.CPUOfTree(cluster)
	if err := happens(s); err != nil {
		return err
	}
	if !t.receiver.await(ctx, want) {
		return fmt.Errorf("%s: %d of %d came", what, t.receiver.taken.Load(), want)
	}
	rate := float64(notices) / time.Since(begin).Seconds()
	each := func(d time.Duration) float64 { return float64(d.Microseconds()) / float64(notices) }
	t.b.report.add(what+", one node", "", true, rate,
		"%.0f a second, %d in all; CPU of the server %.0f µs each, of the database %.0f µs", rate, notices,
		each(proc.CPUOfTree(node)-server), each(proc.CPUOfTree(cluster)-db))
	return nil
}
