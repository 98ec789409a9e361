package models

import (
	"database/sql"
	"errors"
	"strings"
	"sync"
	"testing"

	"github.com/google/uuid"

	"curfew/internal/testdb"
)

// Invariant 1 at each level: everything below dies, nothing beside it, and a later sign-in lives.
func TestRevoke_Levels(t *testing.T) {
	forEachDB(t, func(t *testing.T, k *kit) {
		anna, ben := k.newUser("anna"), k.newUser("ben")
		for _, level := range Levels {
			a1, a2, b := k.signIn(anna), k.signIn(anna), k.signIn(ben)
			target := map[Level]Target{
				LevelDevice:   OneDevice(a1.DeviceID),
				LevelUser:     WholeUser(anna.ID),
				LevelClient:   WholeClient("web"),
				LevelEveryone: Everyone(),
			}[level]
			out := k.revoke(target)
			after := k.signIn(anna)
			want := map[Level][3]bool{
				LevelDevice: {false, true, true}, LevelUser: {false, false, true},
			}[level]
			if got := [3]bool{k.alive(a1), k.alive(a2), k.alive(b)}; got != want {
				t.Fatalf("%s: alive %v, want %v", level, got, want)
			}
			for i, g := range []*Grant{a1, a2, b} {
				if _, err := k.refresh(g.RefreshToken); (err == nil) != want[i] {
					t.Fatalf("%s: refresh %d: %v, want success %v", level, i, err, want[i])
				}
			}
			if !k.alive(after) || after.Claims.IssuedUS <= int64(out.Revocation.ValidFrom) && level != LevelDevice {
				t.Fatalf("%s: a sign-in after the acknowledgement was harmed", level)
			}
			k.mustRefresh(after.RefreshToken)
			if level == LevelUser && out.Count < 2 {
				t.Fatalf("count %d", out.Count)
			}
		}
	})
}

func TestRevoke_DeviceThatIsOut(t *testing.T) {
	forEachDB(t, func(t *testing.T, k *kit) {
		g := k.signIn(k.newUser("anna"))
		first := k.revoke(OneDevice(g.DeviceID))
		again := k.revoke(OneDevice(g.DeviceID))
		if first.Count != 1 || again.Count != 0 || again.Revocation == nil || again.Revocation.Seq != first.Revocation.Seq {
			t.Fatalf("first %+v, again %+v", first, again)
		}
		if _, err := k.Revoke(t.Context(), OneDevice(uuid.New()), ReasonRevoked, Actor{}); !errors.Is(err, ErrNotFound) {
			t.Fatal(err)
		}
		if _, err := k.Revoke(t.Context(), Target{}, ReasonRevoked, Actor{}); !errors.Is(err, ErrInvalid) {
			t.Fatal("an empty target must be an error, not everyone")
		}
	})
}

func TestSignIn_Again(t *testing.T) {
	forEachDB(t, func(t *testing.T, k *kit) {
		anna, ben := k.newUser("anna"), k.newUser("ben")
		id := uuid.New()
		first, err := k.signInAs(anna, id)
		if err != nil || first.DeviceID != id {
			t.Fatalf("a GUID that nobody has: %v %v", first, err)
		}
		if _, err := k.RenameDevice(t.Context(), DeviceFilter{ID: id, UserID: anna.ID}, "Anna's", Actor{}); err != nil {
			t.Fatal(err)
		}
		second, err := k.signInAs(anna, id)
		if err != nil || second.DeviceID != id {
			t.Fatalf("the same device: %v %v", second, err)
		}
		if k.alive(first) || !k.alive(second) {
			t.Fatal("older tokens of the device are alive, or the new one is not")
		}
		if _, err := k.refresh(first.RefreshToken); !errors.Is(err, ErrRefreshTokenInvalid) {
			t.Fatal(err)
		}
		k.mustRefresh(second.RefreshToken)
		if e := k.events(id.String()); len(e) != 1 || e[0].Reason != ReasonSignedInAgain {
			t.Fatalf("%+v", e)
		}
		d, err := k.GetDevice(t.Context(), DeviceFilter{ID: id})
		if err != nil || d.Name != "Anna's" {
			t.Fatalf("the name did not stay: %+v %v", d, err)
		}
		foreign, err := k.signInAs(ben, id)
		if err != nil || foreign.DeviceID == id {
			t.Fatalf("a GUID of another user: %v %v", foreign, err)
		}
		k.revoke(OneDevice(id))
		third, err := k.signInAs(anna, id)
		if err != nil || !k.alive(third) || len(k.events(id.String())) != 2 {
			t.Fatalf("signing in after a sign-out: %v, %d events", err, len(k.events(id.String())))
		}
	})
}

// Invariants 1 and 2 under load: while refreshes and sign-ins race with revocations of every level, whatever was
// answered before a revocation began is dead after it, and what starts after it lives.
func TestRevoke_NoSurvivor(t *testing.T) {
	forEachDB(t, func(t *testing.T, k *kit) {
		anna := k.newUser("anna")
		for round := range 24 {
			device := k.signIn(anna)
			stop := make(chan struct{})
			var mu sync.Mutex
			var before []*Grant // answered, or under way, when the revocation was acknowledged
			var wg sync.WaitGroup
			for range 3 {
				wg.Go(func() {
					for token := device.RefreshToken; ; {
						select {
						case <-stop:
							return
						default:
						}
						g, err := k.refresh(token)
						if err != nil {
							return
						}
						mu.Lock()
						before = append(before, g)
						mu.Unlock()
						token = g.RefreshToken
					}
				})
			}
			target := []Target{
				OneDevice(device.DeviceID),
				WholeUser(anna.ID),
				WholeClient("web"),
				Everyone(),
			}[round%4]
			out := k.revoke(target)
			after, err := k.signInAs(anna, uuid.Nil)
			if err != nil {
				t.Fatal(err)
			}
			close(stop)
			wg.Wait()
			for _, g := range append(before, device) {
				if k.alive(g) || g.Claims.IssuedUS > int64(out.Revocation.ValidFrom) {
					t.Fatalf("%s: a survivor: issued %d, valid from %d", target.Level(), g.Claims.IssuedUS, out.Revocation.ValidFrom)
				}
				if _, err := k.refresh(g.RefreshToken); err == nil {
					t.Fatalf("%s: a refresh token survived", target.Level())
				}
			}
			if !k.alive(after) {
				t.Fatalf("%s: a sign-in that began after the acknowledgement is dead", target.Level())
			}
		}
	})
}

// The one rule does not lean on the clock: it may step back between an issue and a revocation.
func TestRevoke_ClockStepsBack(t *testing.T) {
	testdb.Each(t, func(t *testing.T, url string) {
		step := func(k *kit, offset int64) {
			k.offset.Store(offset)
			k.d.last.Store(0) // not even monotonic
		}
		if strings.HasPrefix(url, "postgres") {
			// PostgreSQL's clock is moved by a function of the same name that comes first in the search path.
			db, err := sql.Open("pgx", url)
			if err != nil {
				t.Fatal(err)
			}
			defer db.Close()
			if _, err := db.ExecContext(t.Context(), `CREATE SCHEMA fake; CREATE TABLE fake.clock (ahead interval); INSERT INTO fake.clock VALUES ('0');
				CREATE FUNCTION fake.statement_timestamp() RETURNS timestamptz LANGUAGE sql STABLE
				AS 'SELECT pg_catalog.statement_timestamp() + ahead FROM fake.clock'`); err != nil {
				t.Fatal(err)
			}
			url += "&search_path=fake,pg_catalog"
			step = func(_ *kit, offset int64) {
				if _, err := db.ExecContext(t.Context(), `UPDATE fake.clock SET ahead = make_interval(secs => $1 / 1e6)`, offset); err != nil {
					t.Fatal(err)
				}
			}
		}
		k := newKit(t, url)
		anna := k.newUser("anna")
		for _, level := range Levels {
			step(k, 2_000_000)
			g := k.signIn(anna)
			step(k, 0)
			k.revoke(map[Level]Target{
				LevelDevice: OneDevice(g.DeviceID), LevelUser: WholeUser(anna.ID),
				LevelClient: WholeClient("web"), LevelEveryone: Everyone(),
			}[level])
			if k.alive(g) {
				t.Fatalf("%s: a survivor of a clock that stepped back", level)
			}
			if after := k.signIn(anna); !k.alive(after) {
				t.Fatalf("%s: a later sign-in is dead", level)
			}
		}
	})
}
