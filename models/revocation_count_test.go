package models

import (
	"testing"
	"time"

	"github.com/google/uuid"
)

// A device that one sign-out has ended is not counted again by another that meets it half way, and makes no second
// event.
func TestRevoke_CountsADeviceOnce(t *testing.T) {
	forEachDB(t, func(t *testing.T, k *kit) {
		anna := k.newUser("anna")
		filter := Devices(DeviceFilter{UserID: anna.ID})
		user := WholeUser(anna.ID)
		for _, pair := range [][2]Target{
			{filter, user},
			{user, filter},
			{filter, filter},
			{user, user},
			{Everyone(), filter},
			{WholeClient("web"), filter},
			{WholeClient("web"), user},
		} {
			devices := []uuid.UUID{k.signIn(anna).DeviceID, k.signIn(anna).DeviceID, k.signIn(anna).DeviceID}
			outs := k.together(pair[0], pair[1])
			counted := outs[0].Count + outs[1].Count
			narrow, wide := int64(0), int64(1)<<62 // the newest event of a device, the first of a wider level
			events := 0
			for _, d := range devices {
				for _, e := range k.events(d.String()) {
					narrow = max(narrow, e.Seq)
					events++
				}
			}
			for i, target := range pair {
				if target.Level() != LevelDevice {
					wide = min(wide, outs[i].Revocation.Seq)
				}
			}
			switch {
			case narrow > wide:
				t.Errorf("%s and %s: a device has event %d after the wider %d", pair[0].Level(), pair[1].Level(), narrow, wide)
			case events != 0 && events != len(devices):
				t.Errorf("%s and %s: %d events of %d devices", pair[0].Level(), pair[1].Level(), events, len(devices))
			case outs[0].Counted && outs[1].Counted && counted != len(devices):
				t.Errorf("%s and %s: counted %d and %d of %d devices", pair[0].Level(), pair[1].Level(), outs[0].Count, outs[1].Count, len(devices))
			case counted > len(devices):
				t.Errorf("%s and %s: counted %d of %d devices", pair[0].Level(), pair[1].Level(), counted, len(devices))
			}
		}
	})
}

// together runs two sign-outs at once. On PostgreSQL both are held up until each waits for a lock, so they meet; SQLite
// lets one write at a time.
func (k *kit) together(a, b Target) (outs [2]*SignOut) {
	k.t.Helper()
	release := func() {}
	if k.d.postgres {
		tx, err := k.sqldb.BeginTx(k.t.Context(), nil)
		if err != nil {
			k.t.Fatal(err)
		}
		defer tx.Rollback()
		if _, err := tx.ExecContext(k.t.Context(), `SELECT 1 FROM realm FOR UPDATE`); err != nil {
			k.t.Fatal(err)
		}
		release = func() { tx.Rollback() }
	}
	var done [2]chan error
	for i, target := range []Target{a, b} {
		done[i] = make(chan error, 1)
		go func() {
			var err error
			outs[i], err = k.Revoke(k.t.Context(), target, ReasonRevoked, Actor{Entity: EntityAdmin, ID: "test"})
			done[i] <- err
		}()
		for waiting := 0; k.d.postgres && waiting <= i; time.Sleep(time.Millisecond) {
			if err := k.sqldb.QueryRowContext(k.t.Context(), `SELECT count(*) FROM pg_stat_activity
				WHERE datname = current_database() AND wait_event_type = 'Lock'`).Scan(&waiting); err != nil {
				k.t.Fatal(err)
			}
		}
	}
	release()
	for _, d := range done {
		if err := <-d; err != nil {
			k.t.Fatal(err)
		}
	}
	return outs
}
