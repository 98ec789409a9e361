package models

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// A stream that ends on one node does not end the one on another, whichever of the two was noted last.
func TestUnsubscribe_OtherNodes(t *testing.T) {
	forEachDB(t, func(t *testing.T, k *kit) {
		here, there := k.Store, k.open()
		live := func(id SubscriberID) bool {
			list, _, err := k.ListSubscribers(t.Context(), Page{})
			if err != nil {
				t.Fatal(err)
			}
			i := slices.IndexFunc(list, func(s Subscriber) bool { return s.Name == id.Name })
			return i >= 0 && list[i].Live
		}
		for name, last := range map[string]*Store{"first": here, "second": there} {
			id := SubscriberID{"api", name}
			ends, stays := &Lease{SubscriberID: id}, &Lease{SubscriberID: id}
			for range 2 {
				if err := errors.Join(here.Subscribe(t.Context(), ends), there.Subscribe(t.Context(), stays)); err != nil {
					t.Fatal(err)
				}
			}
			if last == here {
				if err := here.Subscribe(t.Context(), ends); err != nil {
					t.Fatal(err)
				}
			}
			if err := here.Unsubscribe(t.Context(), ends); err != nil || !live(id) {
				t.Fatalf("noted last by the %s: live %v, %v", name, live(id), err)
			}
		}
		// Alone it is over at once.
		id := SubscriberID{"api", "alone"}
		l := &Lease{SubscriberID: id}
		if err := errors.Join(here.Subscribe(t.Context(), l), here.Subscribe(t.Context(), l)); err != nil || !live(id) {
			t.Fatal(live(id), err)
		}
		if err := here.Unsubscribe(t.Context(), l); err != nil || live(id) {
			t.Fatal(live(id), err)
		}
	})
}

func TestReceipt(t *testing.T) {
	forEachDB(t, func(t *testing.T, k *kit) {
		here, there := k.Store, k.open()
		u := k.newUser("anna")
		rs1, rs2, late := SubscriberID{"api", "rs1"}, SubscriberID{"api", "rs2"}, SubscriberID{"api", "late"}
		lease2 := &Lease{SubscriberID: rs2}
		if err := here.Subscribe(t.Context(), &Lease{SubscriberID: rs1}, lease2); err != nil {
			t.Fatal(err)
		}
		out := k.revoke(WholeUser(u.ID))
		seq := out.Revocation.Seq
		if err := there.Subscribe(t.Context(), &Lease{SubscriberID: late}); err != nil {
			t.Fatal(err)
		}
		// Who came a moment later is waited for too, since the clock may have stepped; who came long after is not.
		if r, err := here.Receipt(t.Context(), seq); err != nil || !slices.Equal(r.Missing(), []string{"api/late", "api/rs1", "api/rs2"}) {
			t.Fatalf("%+v, %v", r, err)
		}
		came := func(later int) {
			if _, err := k.sqldb.ExecContext(t.Context(), fmt.Sprintf("UPDATE subscribers SET created_at = created_at + %d WHERE name = 'late'", later)); err != nil {
				t.Fatal(err)
			}
		}
		came(60e6)
		// One acknowledges here, one at another node; the wait ends when both have.
		waited := make(chan *Receipt)
		go func() {
			r, err := here.WaitApplied(context.Background(), seq)
			if err != nil {
				t.Error(err)
			}
			waited <- r
		}()
		if err := here.Acknowledge(t.Context(), rs1, seq); err != nil {
			t.Fatal(err)
		}
		r, err := here.Receipt(t.Context(), seq)
		if err != nil || len(r.Subscribers) != 2 || r.Acknowledged() != 1 || !slices.Equal(r.Missing(), []string{"api/rs2"}) {
			t.Fatalf("%+v, %v", r, err)
		}
		if err := there.Acknowledge(t.Context(), rs2, seq); err != nil {
			t.Fatal(err)
		}
		if r := <-waited; r.Acknowledged() != 2 || r.Missing() != nil {
			t.Fatalf("%+v", r)
		}
		// Who has stopped listening is named, until an admin removes it.
		if err := here.Unsubscribe(t.Context(), lease2); err != nil {
			t.Fatal(err)
		}
		if _, err := k.sqldb.ExecContext(t.Context(), "UPDATE subscribers SET live_until = 1 + (SELECT max(created_at) FROM revocations) WHERE name = 'rs2'"); err != nil {
			t.Fatal(err)
		}
		came(-60e6)
		next := k.revoke(Everyone()).Revocation.Seq
		for _, id := range []SubscriberID{rs1, late} {
			if err := here.Acknowledge(t.Context(), id, next); err != nil {
				t.Fatal(err)
			}
		}
		if r, err := here.WaitApplied(t.Context(), next); err != nil || !slices.Equal(r.Missing(), []string{"api/rs2"}) || len(r.Subscribers) != 3 {
			t.Fatalf("%+v, %v", r, err)
		}
		if err := here.DeleteSubscriber(t.Context(), rs2, Actor{}); err != nil {
			t.Fatal(err)
		}
		if r, err := here.Receipt(t.Context(), next); err != nil || r.Missing() != nil || len(r.Subscribers) != 2 {
			t.Fatalf("%+v, %v", r, err)
		}
		if err := here.Acknowledge(t.Context(), rs1, next+1); !errors.Is(err, ErrInvalid) {
			t.Fatalf("an event that is not there yet: %v", err)
		}
		if _, err := here.Receipt(t.Context(), next+1); !errors.Is(err, ErrNotFound) {
			t.Fatal(err)
		}
	})
}

func TestWaitApplied_GivesUp(t *testing.T) {
	forEachDB(t, func(t *testing.T, k *kit) {
		if err := k.Subscribe(t.Context(), &Lease{SubscriberID: SubscriberID{"api", "deaf"}}); err != nil {
			t.Fatal(err)
		}
		seq := k.revoke(Everyone()).Revocation.Seq
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		defer cancel()
		r, err := k.WaitApplied(ctx, seq)
		if err != nil || r.Acknowledged() != 0 || len(r.Missing()) != 1 {
			t.Fatalf("%+v, %v", r, err)
		}
	})
}

// A thousand resource servers acknowledge at once, some of them twice, in any order.
func TestAcknowledge_ManyAtOnce(t *testing.T) {
	forEachDB(t, func(t *testing.T, k *kit) {
		first := k.revoke(Everyone()).Revocation.Seq
		second := k.revoke(Everyone()).Revocation.Seq
		var wg sync.WaitGroup
		for i := range 200 {
			for _, seq := range []int64{second, first} {
				wg.Go(func() {
					if err := k.Acknowledge(t.Context(), SubscriberID{"api", fmt.Sprintf("rs%d", i)}, seq); err != nil {
						t.Error(err)
					}
				})
			}
		}
		wg.Wait()
		list, next, err := k.ListSubscribers(t.Context(), Page{Limit: 150})
		rest, last, err2 := k.ListSubscribers(t.Context(), Page{Limit: 150, Cursor: next})
		list = append(list, rest...)
		if err := errors.Join(err, err2); err != nil || len(list) != 200 || next == "" || last != "" {
			t.Fatalf("%d subscribers, %v", len(list), err)
		}
		if !slices.IsSortedFunc(list, func(a, b Subscriber) int { return strings.Compare(a.Name, b.Name) }) {
			t.Error("not in their order")
		}
		for _, s := range list {
			if s.AckedSeq != second || !s.Live {
				t.Fatalf("%+v", s)
			}
		}
	})
}
