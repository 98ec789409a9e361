package models

import (
	"testing"

	"github.com/google/uuid"
)

// Whatever ends a device, the user sees it with its cause, once, and the last to end first.
func TestEndedDevices(t *testing.T) {
	forEachDB(t, func(t *testing.T, k *kit) {
		u, other := k.newUser("anna"), k.newUser("ben")
		app := k.newApp("app")
		var want []struct {
			id  uuid.UUID
			why Reason
		}
		ended := func(g *Grant, why Reason) {
			t.Helper()
			want = append(want, struct {
				id  uuid.UUID
				why Reason
			}{g.DeviceID, why})
		}
		end := func(why Reason, fn func(*Grant)) {
			t.Helper()
			g := k.signIn(u)
			fn(g)
			ended(g, why)
		}
		k.signIn(other)
		end(ReasonRevoked, func(g *Grant) { k.revoke(UserDevice(u.ID, g.DeviceID)) })
		end(ReasonReuse, func(g *Grant) {
			k.mustRefresh(k.mustRefresh(g.RefreshToken).RefreshToken)
			if _, err := k.refresh(g.RefreshToken); err == nil {
				t.Fatal("no replay")
			}
		})
		b, _ := k.browser(u, "", uuid.Nil)
		child := k.child(b, app)
		k.revoke(OneDevice(b.ID))
		ended(&Grant{DeviceID: b.ID}, ReasonRevoked)
		end(ReasonRevoked, func(*Grant) { k.revoke(WholeUser(u.ID)) })
		end(ReasonRevoked, func(*Grant) { k.revoke(Everyone()) })
		again := k.signIn(u)
		if _, err := k.signInAs(u, again.DeviceID); err != nil { // signed in again is signed in
			t.Fatal(err)
		}
		list, more, err := k.EndedDevices(t.Context(), u.ID, 20)
		if err != nil || more {
			t.Fatal(err, more)
		}
		why := map[uuid.UUID]EndedDevice{}
		for i, d := range list {
			why[d.ID] = d
			if d.UserID != u.ID || d.EndedAt == 0 || d.ID == again.DeviceID || i > 0 && d.EndedAt > list[i-1].EndedAt {
				t.Errorf("%d: %+v", i, d)
			}
		}
		for _, w := range want {
			if why[w.id].Reason != w.why {
				t.Errorf("%s: %q, want %q", w.id, why[w.id].Reason, w.why)
			}
			if from := why[w.id].EndedFrom; (from != "") != (w.why == ReasonReuse) {
				t.Errorf("%s: from %q", w.why, from)
			}
		}
		if d := why[child.DeviceID]; d.Reason != ReasonParentSignedOut || len(list) != len(want)+1 {
			t.Errorf("the child: %+v; %d ended", d, len(list))
		}
		if list, more, err = k.EndedDevices(t.Context(), u.ID, 2); err != nil || !more || len(list) != 2 {
			t.Errorf("%d, %t, %v", len(list), more, err)
		}
	})
}

// The first end is the cause: what comes later finds it out already. An end by the clock has no event.
func TestEndedDevices_First(t *testing.T) {
	forEachDB(t, func(t *testing.T, k *kit) {
		u := k.newUser("anna")
		idle, out := k.signIn(u), k.signIn(u)
		k.revoke(OneDevice(out.DeviceID))
		if r := k.db.Exec("UPDATE devices SET expires_at = created_at + 1 WHERE id = ?", idle.DeviceID.String()); r.Error != nil || r.RowsAffected != 1 {
			t.Fatal(r.Error, r.RowsAffected)
		}
		if _, err := k.Revoke(t.Context(), WholeUser(u.ID), ReasonSignedOut, Actor{}); err != nil {
			t.Fatal(err)
		}
		k.revoke(Everyone())
		list, _, err := k.EndedDevices(t.Context(), u.ID, 20)
		if err != nil || len(list) != 2 {
			t.Fatal(list, err)
		}
		for _, d := range list {
			if want := map[uuid.UUID]Reason{idle.DeviceID: EndedByExpiry, out.DeviceID: ReasonRevoked}[d.ID]; d.Reason != want {
				t.Errorf("%+v, want %q", d, want)
			}
			if d.ID == idle.DeviceID && d.EndedAt != d.CreatedAt+1 {
				t.Errorf("it ended at %d", d.EndedAt)
			}
		}
	})
}

// A user sees the receipts of what ended the user's own tokens, and nobody else's.
func TestUserReceipt(t *testing.T) {
	forEachDB(t, func(t *testing.T, k *kit) {
		u, other := k.newUser("anna"), k.newUser("ben")
		keep, ids := k.signIn(u), 3
		for range ids {
			k.signIn(u)
		}
		by := Actor{Entity: EntityUser, ID: u.ID.String()}
		out, err := k.Revoke(t.Context(), OtherDevices(u.ID, keep.DeviceID), ReasonSignedOut, by)
		if err != nil {
			t.Fatal(err)
		}
		r, err := k.UserReceipt(t.Context(), u.ID, out.Revocation.Seq)
		if err != nil || r.Devices != ids || r.Until != out.Revocation.ExpiresAt {
			t.Errorf("%+v, %v", r, err)
		}
		whole := k.revoke(WholeUser(u.ID))
		if _, err = k.UserReceipt(t.Context(), u.ID, whole.Revocation.Seq); err != nil {
			t.Error(err)
		}
		everyone := k.revoke(Everyone())
		for _, tc := range []struct {
			user uuid.UUID
			seq  int64
		}{
			{other.ID, out.Revocation.Seq},
			{other.ID, whole.Revocation.Seq},
			{u.ID, everyone.Revocation.Seq},
			{u.ID, 0},
			{u.ID, 1 << 40},
			{uuid.Nil, whole.Revocation.Seq},
		} {
			if r, err := k.UserReceipt(t.Context(), tc.user, tc.seq); err != ErrNotFound {
				t.Errorf("%v: %+v, %v", tc, r, err)
			}
		}
		if list, _, err := k.UserEvents(t.Context(), uuid.Nil, Page{}); err != ErrNotFound {
			t.Errorf("nobody's events: %d, %v", len(list), err)
		}
	})
}
