package models

import (
	"context"
	"database/sql"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"gorm.io/gorm"

	"curfew/internal/testdb"
)

// underIsolation runs fn on databases whose default isolation level is another one: alone, and behind a pooler, whose
// sessions know nothing of what a connection of ours has set.
func underIsolation(t *testing.T, fn func(t *testing.T, k *kit)) {
	for _, level := range []string{"repeatable read", "serializable"} {
		for _, forget := range []bool{false, true} {
			name := level + map[bool]string{true: " behind a pooler"}[forget]
			t.Run(name, func(t *testing.T) {
				url := testdb.Postgres(t)
				db, err := sql.Open("pgx", url)
				if err != nil {
					t.Fatal(err)
				}
				defer db.Close()
				if _, err := db.ExecContext(t.Context(), "DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET "+
					"default_transaction_isolation = ''"+level+"''', current_database()); END $$"); err != nil {
					t.Fatal(err)
				}
				if forget {
					url += map[bool]string{true: "&", false: "?"}[strings.Contains(url, "?")] + "default_query_exec_mode=exec"
				}
				k := newKit(t, url, func(c *Config) { c.MaxConns = 16 })
				if forget {
					k.forgetSettings()
				}
				fn(t, k)
			})
		}
	}
}

// forgetSettings takes what this store has set from each of its sessions.
func (k *kit) forgetSettings() {
	k.t.Helper()
	for range k.cfg.MaxConns {
		conn, err := k.sqldb.Conn(k.t.Context())
		if err != nil {
			k.t.Fatal(err)
		}
		defer conn.Close()
		if _, err := conn.ExecContext(k.t.Context(), "RESET ALL"); err != nil {
			k.t.Fatal(err)
		}
	}
}

// blocked waits until so many statements of the database wait for a lock.
func (k *kit) blocked(n int) {
	k.t.Helper()
	for begin := time.Now(); ; time.Sleep(2 * time.Millisecond) {
		var waiting int
		if err := k.sqldb.QueryRowContext(k.t.Context(), `SELECT count(*) FROM pg_stat_activity
			WHERE wait_event_type = 'Lock' AND datname = current_database()`).Scan(&waiting); err != nil {
			k.t.Fatal(err)
		}
		if waiting >= n {
			return
		}
		if time.Since(begin) > time.Minute {
			k.t.Fatalf("%d statements wait for a lock, not %d", waiting, n)
		}
	}
}

// Invariant 8 whatever the database's default: a sign-in that has inserted its device before the change of the password
// began to look, and commits after that.
func TestIsolation_PasswordChangeBehindSignIn(t *testing.T) {
	underIsolation(t, func(t *testing.T, k *kit) {
		u := k.newUser("anna")
		own := k.signIn(u)
		checked, err := k.attempt("anna", testPassword, origin.IP)
		if err != nil {
			t.Fatal(err)
		}
		release := k.holding("LOCK TABLE audit_events IN SHARE MODE") // a sign-in tells of itself at its end
		var late *Grant
		var errLate, errChange error
		var wg sync.WaitGroup
		wg.Go(func() { late, errLate = k.signInAs(checked, uuid.Nil) })
		k.blocked(1)
		wg.Go(func() {
			_, _, errChange = k.ChangePassword(context.Background(), PasswordChange{
				UserID: u.ID, Current: testPassword, New: "a new and better one", KeepDevice: own.DeviceID, IP: origin.IP,
			}, Actor{})
		})
		k.blocked(2)
		release()
		wg.Wait()
		if errLate != nil || errChange != nil {
			t.Fatalf("sign-in: %v; change: %v", errLate, errChange)
		}
		if k.alive(late) || k.alive(own) {
			t.Fatal("a device of the old password survived")
		}
	})
}

// Invariants 1 and 2 whatever the default, and nobody is refused because of it.
func TestIsolation_Races(t *testing.T) {
	underIsolation(t, func(t *testing.T, k *kit) {
		u := k.newUser("anna")
		for round := range 10 {
			first := k.signIn(u)
			got := make([]*Grant, 6)
			var wg sync.WaitGroup
			for i := range got {
				wg.Go(func() {
					var err error
					if got[i], err = k.refresh(first.RefreshToken); err != nil {
						t.Errorf("racer %d: %v", i, err)
					}
				})
			}
			wg.Wait()
			if t.Failed() {
				return
			}
			for _, g := range got {
				if g.RefreshToken != got[0].RefreshToken || !k.alive(g) {
					t.Fatal("two successors, or a dead one")
				}
			}
			var mu sync.Mutex
			newest := got[0].RefreshToken
			for range 3 {
				wg.Go(func() {
					for token := newest; ; {
						g, err := k.refresh(token)
						if err != nil {
							if !errors.Is(err, ErrRefreshTokenInvalid) && !errors.Is(err, ErrRefreshTokenReused) {
								t.Errorf("beside a sign-out: %v", err)
							}
							return
						}
						mu.Lock()
						got = append(got, g)
						mu.Unlock()
						token = g.RefreshToken
					}
				})
			}
			k.revoke([]Target{OneDevice(first.DeviceID), WholeUser(u.ID), WholeClient("web"), Everyone()}[round%4])
			wg.Wait()
			for _, g := range got {
				if k.alive(g) {
					t.Fatal("a survivor")
				}
			}
		}
	})
}

// The pooler's sessions are found out at the start.
func TestIsolation_Pooler(t *testing.T) {
	underIsolation(t, func(t *testing.T, k *kit) {
		if k.d.sessionsForget != strings.Contains(k.cfg.DatabaseURL, "exec_mode") {
			t.Fatal("not as the URL says")
		}
		err := k.autocommit(t.Context(), func(tx *gorm.DB) error {
			var level string
			if err := k.row(tx, `SELECT current_setting('transaction_isolation')`, nil, &level); err != nil {
				return err
			}
			if level != "read committed" {
				t.Errorf("a statement of its own runs under %s", level)
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	})
}
