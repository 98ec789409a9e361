package models

import (
	"database/sql"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
)

// holding begins a transaction that has run one statement, and gives what ends it.
func (k *kit) holding(query string, values ...any) (release func()) {
	k.t.Helper()
	tx, err := k.sqldb.BeginTx(k.t.Context(), &sql.TxOptions{})
	if err != nil {
		k.t.Fatal(err)
	}
	k.t.Cleanup(func() { _ = tx.Rollback() })
	if _, err := tx.Exec("SET LOCAL idle_in_transaction_session_timeout = 0"); err != nil { // it would end the transaction
		k.t.Fatal(err)
	}
	if _, err := tx.Exec(query, values...); err != nil {
		k.t.Fatal(err)
	}
	return func() { _ = tx.Rollback() }
}

func (k *kit) onPostgres() {
	k.t.Helper()
	if !k.d.postgres {
		k.t.Skip("SQLite has one writer")
	}
}

// A newer version adds a column while this one goes on: its prepared statements are made anew.
func TestNewColumn(t *testing.T) {
	forEachDB(t, func(t *testing.T, k *kit) {
		u := k.newUser("anna")
		for _, change := range []string{"", "users", "clients", "devices"} {
			if change != "" {
				if _, err := k.sqldb.ExecContext(t.Context(), "ALTER TABLE "+change+" ADD COLUMN newer text NOT NULL DEFAULT ''"); err != nil {
					t.Fatal(err)
				}
			}
			g := k.signIn(u)
			k.mustRefresh(g.RefreshToken)
			again, err := k.signInAs(u, g.DeviceID)
			if err != nil || !k.alive(again) {
				t.Fatalf("after a column of %q: %v", change, err)
			}
			k.revoke(OneDevice(g.DeviceID))
		}
	})
}

// A device that signs in while clean-up waits for another one is not removed.
func TestCleanup_SignInMeanwhile(t *testing.T) {
	forEachDB(t, func(t *testing.T, k *kit) {
		k.onPostgres()
		u := k.newUser("anna")
		held, kept := uuid.Must(uuid.NewV7()), uuid.Must(uuid.NewV7())
		for _, id := range []uuid.UUID{held, kept} {
			if _, err := k.signInAs(u, id); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := k.DeleteClient(t.Context(), "web", Actor{}); err != nil {
			t.Fatal(err)
		}
		release := k.holding("SELECT 1 FROM devices WHERE id = $1 FOR UPDATE", held)
		row := k.holding("SELECT 1 FROM devices WHERE id = $1 FOR UPDATE", kept)
		if c, err := k.Cleanup(t.Context()); err != nil || c.Devices != 0 { // it waits for nobody
			t.Fatalf("%+v, %v", c, err)
		}
		row()
		k.newClient("web", GrantPassword, GrantRefreshToken)
		g, err := k.signInAs(u, kept)
		if err != nil || g.DeviceID != kept {
			t.Fatal(err)
		}
		release()
		if c, err := k.Cleanup(t.Context()); err != nil || !k.alive(g) {
			t.Fatalf("%+v, %v, alive %v", c, err, k.alive(g))
		}
	})
}

// Noting when devices were last seen waits for no row that somebody holds, and so makes nobody wait for the others.
func TestWriteSeen_HeldRow(t *testing.T) {
	forEachDB(t, func(t *testing.T, k *kit) {
		k.onPostgres()
		u := k.newUser("anna")
		held, free := k.signIn(u), k.signIn(u)
		k.holding("SELECT 1 FROM devices WHERE id = $1 FOR UPDATE", held.DeviceID)
		if _, err := k.sqldb.ExecContext(t.Context(), "UPDATE devices SET last_seen_at = 1 WHERE id = $1", free.DeviceID); err != nil {
			t.Fatal(err)
		}
		for _, g := range []*Grant{held, free} {
			k.seen.mark(g.DeviceID, 0, Micros(time.Now().UnixMicro()))
		}
		k.writeSeen(t.Context())
		if d, err := k.GetDevice(t.Context(), DeviceFilter{ID: free.DeviceID}); err != nil || d.LastSeenAt == 1 {
			t.Fatalf("%+v, %v", d, err)
		}
	})
}

// A token of a key that another node has just made is known here, and one that cannot be judged is not taken for
// garbage.
func TestUnknownKey(t *testing.T) {
	forEachDB(t, func(t *testing.T, k *kit) {
		here, there := k.Store, k.open()
		u := k.newUser("anna")
		for range 2 {
			if err := here.loadKeys(t.Context()); err != nil { // so it has just been read
				t.Fatal(err)
			}
			if _, err := there.RotateKeys(t.Context(), true, Actor{}); err != nil {
				t.Fatal(err)
			}
			g, err := there.SignIn(t.Context(), SignIn{User: u, Client: k.client, Scope: "settings", Name: "x", Origin: origin})
			if err != nil {
				t.Fatal(err)
			}
			if out, err := here.RevokeToken(t.Context(), k.client, g.AccessToken, Actor{}); err != nil || out == nil || out.Count != 1 {
				t.Fatalf("%+v, %v", out, err)
			}
		}
		// The tokens of a key that was withdrawn wait for one reading, all together.
		old, err := there.SignIn(t.Context(), SignIn{User: u, Client: k.client, Scope: "settings", Name: "x", Origin: origin})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := there.RotateKeys(t.Context(), true, Actor{}); err != nil {
			t.Fatal(err)
		}
		if err := here.loadKeys(t.Context()); err != nil {
			t.Fatal(err)
		}
		for range 3 {
			if _, err := here.CheckAccessToken(t.Context(), old.AccessToken); !errors.Is(err, ErrAccessToken) {
				t.Fatal(err)
			}
		}
		header, _, _ := strings.Cut(old.AccessToken, ".")
		if !here.unknownKeys.headers.has(header) {
			t.Fatal("a withdrawn key is asked for again")
		}
		if !k.d.postgres {
			return
		}
		if _, err := there.RotateKeys(t.Context(), true, Actor{}); err != nil {
			t.Fatal(err)
		}
		g, err := there.SignIn(t.Context(), SignIn{User: u, Client: k.client, Scope: "settings", Name: "x", Origin: origin})
		if err != nil {
			t.Fatal(err)
		}
		k.holding("LOCK TABLE signing_keys IN ACCESS EXCLUSIVE MODE")
		if out, err := here.RevokeToken(t.Context(), k.client, g.AccessToken, Actor{}); !errors.Is(err, ErrUnavailable) {
			t.Fatalf("%+v, %v", out, err)
		}
		if _, err := here.CheckAccessToken(t.Context(), g.AccessToken); !errors.Is(err, ErrUnavailable) {
			t.Fatal(err)
		}
	})
}

// A GUID whose row was removed may be signed in again, by anybody. What was issued for the row of before does nothing
// to the new one.
func TestGUIDAgain(t *testing.T) {
	forEachDB(t, func(t *testing.T, k *kit) {
		anna, ben, id := k.newUser("anna"), k.newUser("ben"), uuid.Must(uuid.NewV7())
		for _, table := range []string{"users", "clients", "realm"} { // of a new one it lies a moment ahead, and issue times at it
			if _, err := k.sqldb.ExecContext(t.Context(), "UPDATE "+table+" SET valid_from = 0"); err != nil {
				t.Fatal(err)
			}
		}
		for _, who := range []*User{anna, ben} {
			old, err := k.signInAs(anna, id)
			if err != nil || old.DeviceID != id {
				t.Fatal(err)
			}
			if _, err := k.sqldb.ExecContext(t.Context(), "DELETE FROM devices"); err != nil {
				t.Fatal(err)
			}
			g, err := k.signInAs(who, id)
			if err != nil || g.DeviceID != id {
				t.Fatal(err)
			}
			g = k.mustRefresh(k.mustRefresh(g.RefreshToken).RefreshToken)
			for _, token := range []string{old.AccessToken, old.RefreshToken} {
				if out, err := k.RevokeToken(t.Context(), k.client, token, Actor{}); out != nil || err != nil {
					t.Errorf("%s: %.14s: %+v, %v", who.Username, token, out, err)
				}
			}
			if _, err := k.refresh(old.RefreshToken); !errors.Is(err, ErrRefreshTokenInvalid) {
				t.Errorf("%s: %v", who.Username, err)
			}
			if k.alive(old) || !k.alive(g) {
				t.Errorf("%s: the old token is alive: %v; the new one: %v", who.Username, k.alive(old), k.alive(g))
			}
			if _, err := k.sqldb.ExecContext(t.Context(), "DELETE FROM devices"); err != nil {
				t.Fatal(err)
			}
		}
	})
}

// A database that lost its last events gives no number a second time, and takes no acknowledgement of what is gone.
func TestLostEvents(t *testing.T) {
	forEachDB(t, func(t *testing.T, k *kit) {
		u := k.newUser("anna")
		k.signIn(u)
		first := k.revoke(WholeUser(u.ID)).Revocation.Seq
		lost := k.revoke(Everyone()).Revocation.Seq
		rs := SubscriberID{"api", "rs1"}
		if err := k.Acknowledge(t.Context(), rs, lost); err != nil {
			t.Fatal(err)
		}
		for _, query := range []string{"DELETE FROM revocations WHERE seq = (SELECT max(seq) FROM revocations)", "UPDATE realm SET last_seq = (SELECT max(seq) FROM revocations)", "UPDATE subscribers SET acked_seq = 0"} {
			if _, err := k.sqldb.ExecContext(t.Context(), query); err != nil {
				t.Fatal(err)
			}
		}
		if err := k.Acknowledge(t.Context(), rs, lost); !errors.Is(err, ErrInvalid) {
			t.Errorf("an acknowledgement of what is gone: %v", err)
		}
		next := k.revoke(Everyone()).Revocation.Seq
		if next <= lost || first >= lost {
			t.Errorf("%d after %d, %d was lost", next, first, lost)
		}
		if r, err := k.Receipt(t.Context(), next); err != nil || !slices.Equal(r.Missing(), []string{"api/rs1"}) {
			t.Errorf("%+v, %v", r, err)
		}
	})
}
