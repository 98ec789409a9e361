package models

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"
)

// throttledBy is what a limit says that there is too much of.
func throttledBy(err error) (what string, ok bool) {
	t, ok := errors.AsType[*ThrottledError](err)
	if !ok {
		return "", false
	}
	return t.What, true
}

// count is how many audit events of a type there are.
func (k *kit) count(kind string) int {
	k.t.Helper()
	list, _, err := k.ListAuditEvents(k.t.Context(), AuditFilter{Type: kind}, Page{Limit: MaxPage})
	if err != nil {
		k.t.Fatal(err)
	}
	return len(list)
}

func (k *kit) rename(d uuid.UUID, user uuid.UUID, name string) error {
	_, err := k.RenameDevice(k.t.Context(), DeviceFilter{ID: d, UserID: user}, name, Actor{Entity: EntityUser, ID: user.String()})
	return err
}

// Whoever is over a limit is refused from memory: without a place, and without asking the database.
func TestAuthenticateUser_OverTheLimitTakesNothing(t *testing.T) {
	forEachDB(t, func(t *testing.T, k *kit) {
		k.newUser("anna")
		const address = "198.51.100.9"
		for i := range 3 {
			if _, err := k.attempt(fmt.Sprint("nobody", i), "wrong", address); !errors.Is(err, ErrCredentials) {
				t.Fatal(err)
			}
		}
		if _, ok := throttledBy(mustFail(k.attempt("anna", "wrong", address))); !ok {
			t.Fatal("the address has no limit")
		}
		k.Store.blocked.mu.Lock()
		for _, e := range k.Store.blocked.entries {
			e.probe = time.Now().Add(time.Hour) // no look whether somebody has lifted it
		}
		k.Store.blocked.mu.Unlock()
		k.hashing = newPlaces(0, 1)
		k.asking = newPlaces(0, 1)
		for range cap(k.counting) {
			k.counting <- struct{}{}
		}
		if _, ok := throttledBy(mustFail(k.attempt("anna", testPassword, address))); !ok {
			t.Fatal("a place or the database was asked for")
		}
		if _, ok := throttledBy(k.RefusesAttempt(PasswordAttempt{Username: "anna", IP: address})); !ok {
			t.Fatal("it is not known before")
		}
		if _, err := k.attempt("anna", testPassword, "198.51.100.10"); !errors.Is(err, ErrHashQueueFull) {
			t.Fatalf("without a place: %v", err)
		}
	}, func(c *Config) { c.Limits.PerAddress, c.Limits.Window = 3, 24*time.Hour })
}

// What a node remembers does not outlive what somebody lifts elsewhere.
func TestUnlockUser_OtherNode(t *testing.T) {
	forEachDB(t, func(t *testing.T, k *kit) {
		u, commandLine := k.newUser("anna"), k.open()
		const address = "198.51.100.9"
		for name, lift := range map[string]func() error{
			"a new password": func() error {
				_, _, err := commandLine.UpdateUser(t.Context(), u.ID, UserPatch{Password: ptr(testPassword)}, Actor{})
				return err
			},
			"unlock": func() error { _, err := commandLine.UnlockUser(t.Context(), u.ID, Actor{}); return err },
		} {
			for range 10 {
				_, _ = k.attempt("anna", "wrong", address)
			}
			if _, ok := throttledBy(mustFail(k.attempt("anna", testPassword, address))); !ok {
				t.Fatalf("%s: ten wrong passwords, and the next is not refused", name)
			}
			if list, err := k.ReachedLimits(t.Context(), u); err != nil || len(list) != 1 ||
				list[0].Name != "per_account_address" || list[0].Until == 0 {
				t.Fatalf("%s: reached: %v, %v", name, list, err)
			}
			if err := lift(); err != nil {
				t.Fatal(err)
			}
			_, err := k.attempt("anna", testPassword, address)
			for range 100 { // it is remembered for a moment
				if err == nil {
					break
				}
				time.Sleep(probeEvery / 2)
				_, err = k.attempt("anna", testPassword, address)
			}
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			if list, err := k.ReachedLimits(t.Context(), u); err != nil || len(list) != 0 {
				t.Fatalf("%s: still reached: %v, %v", name, list, err)
			}
		}
		if _, err := commandLine.UnlockUser(t.Context(), uuid.New(), Actor{}); !errors.Is(err, ErrNotFound) || k.count(AuditUserUnlocked) != 1 {
			t.Fatal(err)
		}
	}, func(c *Config) { c.Limits.Window = 24 * time.Hour })
}

// The right password many times at once is no failure, and wrong ones at once are no more than the limit lets through.
func TestAuthenticateUser_ManyAtOnce(t *testing.T) {
	forEachDB(t, func(t *testing.T, k *kit) {
		k.newUser("anna")
		for _, c := range []struct {
			password      string
			right, failed int32
		}{{testPassword, 16, 0}, {"wrong", 0, 10}} {
			var right, failed, throttled atomic.Int32
			var wg sync.WaitGroup
			for range 16 {
				wg.Go(func() {
					_, err := k.AuthenticateUser(context.Background(), PasswordAttempt{Username: "anna", Password: c.password, IP: "198.51.100.9"})
					_, limited := throttledBy(err)
					switch {
					case err == nil:
						right.Add(1)
					case errors.Is(err, ErrCredentials):
						failed.Add(1)
					case limited:
						throttled.Add(1)
					default:
						t.Error(err)
					}
				})
			}
			wg.Wait()
			if right.Load() != c.right || failed.Load() != c.failed || throttled.Load() != 16-c.right-c.failed {
				t.Errorf("%s: %d right, %d wrong, %d throttled", c.password, right.Load(), failed.Load(), throttled.Load())
			}
		}
		if len(k.underWay.keys) != 0 {
			t.Errorf("%d keys are under way for ever", len(k.underWay.keys))
		}
	}, func(c *Config) {
		c.Limits.Window = 24 * time.Hour
		c.Hash.Memory, c.Hash.Time, c.Hash.Concurrency, c.Hash.Queue = 8192, 1, 1, 40 // they meet
		c.Hash.Wait = time.Minute
	})
}

// One holder comes to half of the places, the next one to half of the rest.
func TestPlaces_NobodyFillsThem(t *testing.T) {
	p := newPlaces(32, 1)
	var leave []func()
	take := func(holders ...string) (n int) {
		for {
			l, err := p.enter(holders...)
			if err != nil {
				return n
			}
			leave = append(leave, l)
			n++
		}
	}
	for i, want := range []int{16, 8, 4, 2} {
		if n := take(fmt.Sprint("address", i)); n != want {
			t.Errorf("address %d got %d places, want %d", i, n, want)
		}
	}
	if n := take("address5", "address0"); n != 0 {
		t.Errorf("%d places under another name", n)
	}
	if p.full("address6") || !p.full("address0") {
		t.Error("full is not what enter says")
	}
	for _, l := range leave {
		l()
	}
	if p.free != 32 || len(p.held) != 0 {
		t.Errorf("%d places are free and %d holders left", p.free, len(p.held))
	}
}

// Who has many places has a turn as seldom as who has one.
func TestPlaces_Turns(t *testing.T) {
	p := newPlaces(32, 2)
	for range 3 {
		if _, err := p.enter("many"); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := p.enter("one"); err != nil {
		t.Fatal(err)
	}
	first, err := p.turn(t.Context(), "many", time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := p.turn(t.Context(), "many", time.Minute); err != nil {
		t.Fatal(err)
	}
	if _, err := p.turn(t.Context(), "many", time.Millisecond); !errors.Is(err, ErrHashQueueFull) {
		t.Fatalf("a third turn: %v", err)
	}
	if _, err := p.turn(t.Context(), "one", time.Minute); err != nil {
		t.Fatalf("somebody else's turn: %v", err)
	}
	first()
	if _, err := p.turn(t.Context(), "many", time.Minute); err != nil {
		t.Fatal(err)
	}
}

// What a user does successfully is bounded too; a wrong password takes nothing of it.
func TestAuthenticateUser_SignInsAreBounded(t *testing.T) {
	forEachDB(t, func(t *testing.T, k *kit) {
		k.newUser("anna")
		k.newUser("ben")
		for i := range 3 {
			if _, err := k.attempt("anna", "wrong", "198.51.100.9"); !errors.Is(err, ErrCredentials) {
				t.Fatal(err)
			}
			if _, err := k.attempt("anna", testPassword, fmt.Sprintf("198.51.100.%d", i)); err != nil {
				t.Fatal(err)
			}
		}
		if what, ok := throttledBy(mustFail(k.attempt("anna", testPassword, "198.51.100.20"))); !ok || what != "sign-ins" {
			t.Fatalf("the fourth sign-in: %q", what)
		}
		if _, err := k.attempt("ben", testPassword, "198.51.100.20"); err != nil {
			t.Fatal(err)
		}
		if n := k.count(AuditLimitReached); n != 1 {
			t.Fatalf("%d events of a limit that was reached", n)
		}
	}, func(c *Config) { c.Limits.SignIns, c.Limits.Window = 3, 24*time.Hour })
}

func TestRenameDevice_Bounded(t *testing.T) {
	forEachDB(t, func(t *testing.T, k *kit) {
		u := k.newUser("anna")
		d := k.signIn(u).DeviceID
		for range 5 { // the name that it has costs nothing and writes nothing
			if err := k.rename(d, u.ID, "phone"); err != nil {
				t.Fatal(err)
			}
		}
		if n := k.count(AuditDeviceRenamed); n != 0 {
			t.Fatalf("%d events of nothing", n)
		}
		for i := range 3 {
			if err := k.rename(d, u.ID, fmt.Sprint("phone ", i)); err != nil {
				t.Fatal(err)
			}
		}
		if what, ok := throttledBy(k.rename(d, u.ID, "one more")); !ok || what != "renames" {
			t.Fatalf("the fourth: %q", what)
		}
		if _, err := k.RenameDevice(t.Context(), DeviceFilter{ID: d}, "by an admin", Actor{Entity: EntityAdmin}); err != nil {
			t.Fatal(err)
		}
		if n, m := k.count(AuditDeviceRenamed), k.count(AuditLimitReached); n != 4 || m != 1 {
			t.Fatalf("%d renames and %d limits in the log", n, m)
		}
	}, func(c *Config) { c.Limits.Renames, c.Limits.Window = 3, 24*time.Hour })
}

// A GUID lifts the account's limit only while its device is signed in, and has a budget of its own.
func TestAuthenticateUser_KnownDevice(t *testing.T) {
	forEachDB(t, func(t *testing.T, k *kit) {
		u := k.newUser("anna")
		in, out := k.signIn(u).DeviceID, k.signIn(u).DeviceID
		k.revoke(OneDevice(out))
		n := 0
		attempt := func(device uuid.UUID, password string) error {
			n++
			_, err := k.AuthenticateUser(t.Context(), PasswordAttempt{
				Username: "anna", Password: password, DeviceID: device, IP: fmt.Sprintf("198.51.%d.%d", n>>8, n&255),
			})
			return err
		}
		for range 5 {
			if err := attempt(uuid.Nil, "wrong"); !errors.Is(err, ErrCredentials) {
				t.Fatal(err)
			}
		}
		for _, device := range []uuid.UUID{uuid.Nil, uuid.New(), out} {
			if _, ok := throttledBy(attempt(device, testPassword)); !ok {
				t.Fatalf("%s lifts the limit", device)
			}
		}
		if err := attempt(in, testPassword); err != nil {
			t.Fatalf("the signed-in device: %v", err)
		}
		for range 2 {
			if err := attempt(in, "wrong"); !errors.Is(err, ErrCredentials) {
				t.Fatal(err)
			}
		}
		if _, ok := throttledBy(attempt(in, testPassword)); !ok {
			t.Fatal("the GUID of a signed-in device guesses without end")
		}
		// The address where the user is signed in is not concerned, until that is over.
		if _, err := k.attempt("anna", testPassword, origin.IP); err != nil {
			t.Fatal(err)
		}
		k.revoke(WholeUser(u.ID))
		if _, ok := throttledBy(mustFail(k.attempt("anna", testPassword, origin.IP))); !ok {
			t.Fatal("an address lifts the limit where nobody is signed in any more")
		}
	}, func(c *Config) { c.Limits.PerAccount, c.Limits.PerDevice, c.Limits.Window = 5, 2, 24*time.Hour })
}

// However many devices a user has had, an attempt looks at some of them: the index gives the newest, nothing is sorted.
func TestUserAt_IsBounded(t *testing.T) {
	forEachDB(t, func(t *testing.T, k *kit) {
		u := k.newUser("anna")
		g := k.signIn(u)
		insert := `INSERT INTO devices (id, user_id, refresh_id, previous_refresh_id, rotated_at, issued_at, signed_in_at, valid_from,
				expires_at, ends_at, last_seen_at, created_at, client_id, name, scope, ip, user_agent)
			SELECT @id, user_id, refresh_id, previous_refresh_id, rotated_at, issued_at, signed_in_at, signed_in_at,
				expires_at, ends_at, last_seen_at, created_at, client_id, name, scope, ip, user_agent FROM devices WHERE id = @of`
		for range 3000 {
			if _, err := k.exec(k.db, insert, args{"id": uuid.Must(uuid.NewV7()), "of": g.DeviceID}); err != nil {
				t.Fatal(err)
			}
		}
		a := args{"device": g.DeviceID, "value": "anna", "known": knownDevices}
		explain := "EXPLAIN QUERY PLAN "
		if k.d.postgres {
			if _, err := k.exec(k.db, `ANALYZE devices`, nil); err != nil {
				t.Fatal(err)
			}
			explain = "EXPLAIN (FORMAT JSON) "
		}
		var plan strings.Builder
		if err := k.rows(k.db, explain+userAtStatement+` WHERE u.username_key = @value`, a, func(scan func(...any) error) error {
			var line string
			var rest [3]any
			if k.d.postgres {
				return errors.Join(scan(&line), func() error { plan.WriteString(line + "\n"); return nil }())
			}
			err := scan(&rest[0], &rest[1], &rest[2], &line)
			plan.WriteString(line + "\n")
			return err
		}); err != nil {
			t.Fatal(err)
		}
		text := plan.String()
		if !strings.Contains(text, "devices_user_id") || strings.Contains(text, `"Seq Scan",`) && strings.Contains(text, `"Relation Name": "devices"`) && !strings.Contains(text, "Backward") {
			t.Errorf("the index is not used: %s", text)
		}
		if k.d.postgres && !strings.Contains(text, "Backward") || !k.d.postgres && strings.Contains(text, "SCAN n") {
			t.Errorf("the newest do not come from the index: %s", text)
		}
		if _, from, err := k.userAt(t.Context(), "username_key", "anna", PasswordAttempt{IP: origin.IP, DeviceID: g.DeviceID}); err != nil || from != fromDevice {
			t.Errorf("the device that is signed in is %v, %v", from, err)
		}
	})
}

// A wrong password is in the log with the account's name, a name that nobody has is not; and what is refused writes
// nothing more.
func TestAuthenticateUser_FailuresAreInTheLog(t *testing.T) {
	forEachDB(t, func(t *testing.T, k *kit) {
		u := k.newUser("Anna")
		for range 7 {
			_, _ = k.AuthenticateUser(t.Context(), PasswordAttempt{Username: "anna", Password: "wrong", IP: "198.51.100.9", Agent: "x/1"})
			_, _ = k.attempt("hunter2", "wrong", "198.51.100.9")
		}
		list, _, err := k.ListAuditEvents(t.Context(), AuditFilter{UserID: u.ID.String()}, Page{})
		if err != nil {
			t.Fatal(err)
		}
		var kinds []string
		for _, e := range list {
			kinds = append(kinds, e.Type)
			if e.Username != "Anna" {
				t.Errorf("%s names %q", e.Type, e.Username)
			}
			if e.Type == AuditWrongPassword && (e.IP != "198.51.100.9" || e.UserAgent != "x/1" || e.Entity != EntityUser) {
				t.Errorf("%+v", e)
			}
		}
		if got := strings.Join(kinds, " "); got != "limit_reached wrong_password wrong_password wrong_password user_created" {
			t.Errorf("in the log: %s", got)
		}
		all, _, err := k.ListAuditEvents(t.Context(), AuditFilter{Type: AuditWrongPassword}, Page{})
		if err != nil || len(all) != 6 || strings.Contains(fmt.Sprint(all), "hunter2") {
			t.Errorf("%v, %v", all, err)
		}
		if _, err := k.DeleteUser(t.Context(), u.ID, Actor{}); err != nil {
			t.Fatal(err)
		}
		if list, _, err := k.ListAuditEvents(t.Context(), AuditFilter{UserID: u.ID.String()}, Page{}); err != nil || list[0].Username != "" {
			t.Errorf("a user who is gone is named: %v, %v", list, err)
		}
	}, func(c *Config) { c.Limits.PerAccountAddress, c.Limits.Window = 3, 24*time.Hour })
}

func TestAddressPrefix(t *testing.T) {
	for ip, want := range map[string]string{
		"203.0.113.7": "203.0.113.7", "::ffff:203.0.113.7": "203.0.113.7", "": "", "no address": "no address",
		"2001:db8:1:2:3::4": "2001:db8:1:2::/64", "2001:db8:1:2::": "2001:db8:1:2::/64", "fe80::1%eth0": "fe80::/64",
		"64:ff9b::203.0.113.7": "203.0.113.7", "64:ff9b::cb00:7108": "203.0.113.8",
		"64:ff9b:1:2::cb00:7108": "64:ff9b:1:2::cb00:7108", "64:ff9b:2::1": "64:ff9b:2::/64",
		"2001:0:4136:e378:8000:63bf:3fff:fdd2": "192.0.2.45", // Teredo
		"2002:c000:22d:7::1":                   "192.0.2.45", // 6to4
	} {
		if got := addressPrefix(ip); got != want {
			t.Errorf("%q: got %q, want %q", ip, got, want)
		}
	}
}
