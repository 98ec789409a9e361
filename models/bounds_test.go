package models

import (
	"context"
	"errors"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// A client has so many subscribers; those that are known go on, on every node and both ways.
func TestSubscribers_Bounded(t *testing.T) {
	forEachDB(t, func(t *testing.T, k *kit) {
		other := k.open()
		one, two, three := SubscriberID{"api", "one"}, SubscriberID{"api", "two"}, SubscriberID{"api", "three"}
		first, extra := &Lease{SubscriberID: one}, &Lease{SubscriberID: three}
		if err := errors.Join(k.Subscribe(t.Context(), first), other.Acknowledge(t.Context(), two, 0)); err != nil {
			t.Fatal(err)
		}
		if err := k.Subscribe(t.Context(), extra, first); !errors.Is(err, ErrTooManySubscribers) || !strings.Contains(err.Error(), "2 are allowed") {
			t.Fatalf("a third one: %v", err)
		}
		for _, s := range []*Store{k.Store, other} {
			if err := s.Acknowledge(t.Context(), three, 0); !errors.Is(err, ErrTooManySubscribers) {
				t.Fatalf("a third one acknowledges: %v", err)
			}
			for _, id := range []SubscriberID{one, two} {
				if err := errors.Join(s.Subscribe(t.Context(), &Lease{SubscriberID: id}), s.Acknowledge(t.Context(), id, 0)); err != nil {
					t.Fatalf("a known one: %v", err)
				}
			}
			if err := s.Acknowledge(t.Context(), SubscriberID{"another", "three"}, 0); err != nil {
				t.Fatalf("another client: %v", err)
			}
		}
		if first.until == 0 || extra.until != 0 {
			t.Fatalf("the lease of the known one: %+v, of the other: %+v", first, extra)
		}
		if err := k.DeleteSubscriber(t.Context(), two, Actor{}); err != nil {
			t.Fatal(err)
		}
		if err := k.Acknowledge(t.Context(), three, 0); err != nil {
			t.Fatalf("after one was removed: %v", err)
		}
	}, func(c *Config) { c.Limits.Subscribers = 2 })
}

func TestEnterWait_Bounded(t *testing.T) {
	forEachDB(t, func(t *testing.T, k *kit) {
		var leave []func()
		for range 2 {
			l, err := k.EnterWait("anna")
			if err != nil {
				t.Fatal(err)
			}
			leave = append(leave, l)
		}
		if what, ok := throttledBy(mustFail(k.EnterWait("anna"))); !ok || !strings.Contains(what, "2 are allowed") {
			t.Fatalf("a third: %q", what)
		}
		if l, err := k.EnterWait("ben"); err != nil {
			t.Fatal(err)
		} else {
			leave = append(leave, l)
		}
		for _, l := range leave {
			l()
		}
		if len(k.waits.waiting) != 0 {
			t.Fatal("a place was not given back")
		}
	}, func(c *Config) { c.Limits.Waits = 2 })
}

// However many wait for one silent server, they share the readings; and each gets its receipt when it speaks.
func TestWaitApplied_OneReadingForAll(t *testing.T) {
	forEachDB(t, func(t *testing.T, k *kit) {
		const waiters = 400
		id := SubscriberID{"api", "rs"}
		if err := k.Subscribe(t.Context(), &Lease{SubscriberID: id}); err != nil {
			t.Fatal(err)
		}
		seq := k.revoke(Everyone()).Revocation.Seq
		var wg sync.WaitGroup
		var wrong atomic.Int32
		for range waiters {
			wg.Go(func() {
				if r, err := k.WaitApplied(context.Background(), seq); err != nil || r.Acknowledged() != 1 {
					wrong.Add(1)
				}
			})
		}
		standing := func() int {
			k.receipts.mu.Lock()
			defer k.receipts.mu.Unlock()
			return len(k.receipts.waiting)
		}
		for standing() < waiters {
			time.Sleep(time.Millisecond)
		}
		before := k.Stats.ReceiptReadings.Load() // the more, the longer it took them to come
		if err := k.Acknowledge(t.Context(), id, seq); err != nil {
			t.Fatal(err)
		}
		wg.Wait()
		if n := k.Stats.ReceiptReadings.Load() - before; wrong.Load() != 0 || n >= waiters {
			t.Fatalf("%d readings for %d who waited, %d got something else", n, waiters, wrong.Load())
		}
	})
}
