package models

import (
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

func TestCleanup(t *testing.T) {
	forEachDB(t, func(t *testing.T, k *kit) {
		anna, ben := k.newUser("anna"), k.newUser("ben")
		stays := k.signIn(anna)
		for range 3 {
			k.signIn(anna)
		}
		for range 4 {
			k.signIn(ben)
		}
		k.newClient("gone", GrantPassword, GrantRefreshToken)
		gone, err := k.GetClient(t.Context(), "gone")
		if err != nil {
			t.Fatal(err)
		}
		if _, err := k.SignIn(t.Context(), SignIn{User: anna, Client: gone, Name: "x", Origin: origin}); err != nil {
			t.Fatal(err)
		}
		if _, err := k.DeleteClient(t.Context(), "gone", Actor{}); err != nil {
			t.Fatal(err)
		}
		k.revoke(WholeUser(ben.ID))
		if _, err := k.sqldb.ExecContext(t.Context(), "UPDATE devices SET expires_at = 1 WHERE user_id = '"+anna.ID.String()+"' AND id <> '"+stays.DeviceID.String()+"'"); err != nil {
			t.Fatal(err)
		}
		c, err := k.Cleanup(t.Context())
		if err != nil || c.Devices != 4 { // three expired, one of no client; Ben's ended only now
			t.Fatalf("%+v, %v", c, err)
		}
		// Long after: what ended is gone, what lives stays.
		if _, err := k.sqldb.ExecContext(t.Context(), "UPDATE users SET valid_from = valid_from - 10 WHERE id = '"+ben.ID.String()+"'"); err != nil {
			t.Fatal(err)
		}
		k.Store.cfg.RevokedRetention = -time.Hour
		c, err = k.Cleanup(t.Context())
		if err != nil || c.Devices != 4 {
			t.Fatalf("%+v, %v", c, err)
		}
		if !k.alive(stays) {
			t.Fatal("a living device was cleaned away")
		}
		if _, err := k.GetDevice(t.Context(), DeviceFilter{ID: stays.DeviceID}); err != nil {
			t.Fatal(err)
		}
	})
}

// A clean-up that has ended leaves nothing, also one that met another.
func TestCleanup_Two(t *testing.T) {
	forEachDB(t, func(t *testing.T, k *kit) {
		k.fill(`INSERT INTO audit_events (at, type, entity, actor, ip, user_agent, user_id, client_id, device_id, detail)
			SELECT 1, 'test', 'system', '', '', '', '', '', '', '{}' FROM n`)
		var removed atomic.Int64
		var wg sync.WaitGroup
		for range 2 {
			wg.Go(func() {
				c, err := k.Cleanup(t.Context())
				removed.Add(c.AuditEvents)
				var left int64
				if err := errors.Join(err, k.sqldb.QueryRowContext(t.Context(), "SELECT count(*) FROM audit_events WHERE at = 1").Scan(&left)); err != nil || left > 0 {
					t.Errorf("%d are left, %v", left, err)
				}
			})
		}
		wg.Wait()
		if removed.Load() != logRows {
			t.Errorf("%d removed of %d", removed.Load(), logRows)
		}
	})
}

// Of all nodes one cleans up, and not before the last time is long enough ago.
func TestCleanup_IsDue(t *testing.T) {
	forEachDB(t, func(t *testing.T, k *kit) {
		due := func(want ...bool) {
			t.Helper()
			for i, want := range want {
				if got, err := k.cleanUpIsDue(t.Context()); got != want || err != nil {
					t.Fatalf("%d: %v, %v, want %v", i, got, err, want)
				}
			}
		}
		due(true, false)
		if _, err := k.sqldb.ExecContext(t.Context(), "UPDATE rate_limits SET tat = 1"); err != nil {
			t.Fatal(err)
		}
		due(true, false)
		if _, err := k.sqldb.ExecContext(t.Context(), "UPDATE rate_limits SET tat = 1"); err != nil {
			t.Fatal(err)
		}
		if _, err := k.Cleanup(t.Context()); err != nil {
			t.Fatal(err)
		}
		due(false)
	})
}
