package models

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"
)

func (k *kit) attempt(name, password, address string) (*User, error) {
	return k.AuthenticateUser(k.t.Context(), PasswordAttempt{Username: name, Password: password, IP: address})
}

// Invariant 8: a sign-in that checked the old password cannot create a device after the password change that signs
// everyone else out has been acknowledged. The same holds for disabling and deleting the user.
func TestSignIn_SamePasswordSameMoment(t *testing.T) {
	const next = "a new and better one"
	forEachDB(t, func(t *testing.T, k *kit) {
		changes := map[string]func(u *User, keep uuid.UUID, old string) error{
			"changed by the user": func(u *User, keep uuid.UUID, old string) error {
				_, _, err := k.ChangePassword(t.Context(), PasswordChange{UserID: u.ID, Current: old, New: next, KeepDevice: keep, IP: "198.51.100.1"}, Actor{})
				return err
			},
			"set by an admin": func(u *User, _ uuid.UUID, _ string) error {
				_, _, err := k.UpdateUser(t.Context(), u.ID, UserPatch{Password: ptr(next)}, Actor{})
				return err
			},
			"disabled": func(u *User, _ uuid.UUID, _ string) error {
				_, _, err := k.UpdateUser(t.Context(), u.ID, UserPatch{Disabled: ptr(true)}, Actor{})
				return err
			},
			"deleted": func(u *User, _ uuid.UUID, _ string) error {
				_, err := k.DeleteUser(t.Context(), u.ID, Actor{})
				return err
			},
		}
		for name, change := range changes {
			t.Run(name, func(t *testing.T) {
				for round := range 8 {
					u := k.newUser(uuid.NewString())
					checked, err := k.attempt(u.Username, testPassword, "198.51.100.1")
					if err != nil {
						t.Fatal(err)
					}
					keep := k.signIn(u)
					var mu sync.Mutex
					var got []*Grant
					var wg sync.WaitGroup
					for range 6 {
						wg.Go(func() {
							g, err := k.signInAs(checked, uuid.Nil)
							if err != nil {
								if !errors.Is(err, ErrCredentials) {
									t.Errorf("sign-in: %v", err)
								}
								return
							}
							mu.Lock()
							got = append(got, g)
							mu.Unlock()
						})
					}
					if err := change(u, keep.DeviceID, testPassword); err != nil {
						t.Fatal(err)
					}
					if _, err := k.signInAs(checked, uuid.Nil); !errors.Is(err, ErrCredentials) {
						t.Fatalf("a sign-in with the old check after the change: %v", err)
					}
					wg.Wait()
					for _, g := range got {
						if k.alive(g) {
							t.Fatalf("round %d: a device of the old password survived", round)
						}
					}
					if k.alive(keep) {
						t.Fatal("a token from before the change is alive")
					}
				}
			})
		}
	})
}

func ptr[T any](v T) *T { return &v }

func TestDisable_OldTokensStayDead(t *testing.T) {
	forEachDB(t, func(t *testing.T, k *kit) {
		u := k.newUser("anna")
		g := k.signIn(u)
		for _, disabled := range []bool{true, false} {
			if _, _, err := k.UpdateUser(t.Context(), u.ID, UserPatch{Disabled: &disabled}, Actor{}); err != nil {
				t.Fatal(err)
			}
			if k.alive(g) {
				t.Fatalf("disabled %v: the token is alive", disabled)
			}
			_, err := k.attempt("anna", testPassword, "198.51.100.1")
			if (err == nil) == disabled {
				t.Fatalf("disabled %v: signing in: %v", disabled, err)
			}
		}
		if e := k.events(u.ID.String()); len(e) != 1 || e[0].Reason != ReasonUserDisabled {
			t.Fatalf("%+v", e)
		}
	})
}

func TestAuthenticateUser_GuessingIsSlow(t *testing.T) {
	forEachDB(t, func(t *testing.T, k *kit) {
		u := k.newUser("anna")
		const stranger, home = "198.51.100.9", "203.0.113.7"
		k.signIn(u) // a device at home
		for i := range 10 {
			if _, err := k.attempt("Anna", "wrong", stranger); !errors.Is(err, ErrCredentials) {
				t.Fatalf("guess %d: %v", i+1, err)
			}
		}
		throttled, ok := errors.AsType[*ThrottledError](mustFail(k.attempt("anna", testPassword, stranger)))
		if !ok || throttled.RetryAfter <= 0 {
			t.Fatalf("the right password after ten wrong ones: %v", throttled)
		}
		if _, err := k.attempt("anna", testPassword, home); err != nil {
			t.Fatalf("the owner at a known address is locked out: %v", err)
		}
		// From many addresses: the account's own allowance ends it, but not for the owner.
		for i := 0; ; i++ {
			_, err := k.attempt("anna", "wrong", "198.51.100."+string(rune('0'+i%10))+"0")
			if _, ok := errors.AsType[*ThrottledError](err); ok {
				break
			}
			if i > 60 {
				t.Fatal("the account has no limit")
			}
		}
		if _, err := k.attempt("anna", testPassword, home); err != nil {
			t.Fatalf("the owner at a known address is locked out: %v", err)
		}
		if _, ok := errors.AsType[*ThrottledError](mustFail(k.attempt("nobody", "wrong", stranger))); ok {
			t.Fatal("another account is locked out too")
		}
	})
}

func mustFail[T any](_ T, err error) error {
	if err == nil {
		return errors.New("it did not fail")
	}
	return err
}

// Many who guess at once: as many pass as may, and whoever is refused at one limit counts against none.
func TestCharge_AllOrNone(t *testing.T) {
	forEachDB(t, func(t *testing.T, k *kit) {
		narrow, wide := k.guess(limitClient, "narrow"), k.guess(limitAddress, "wide")
		for range 20 { // at first no row is there yet, and few connections
			var passed, refused atomic.Int64
			var wg sync.WaitGroup
			for range 40 {
				wg.Go(func() {
					_, err := k.charge(context.Background(), narrow, wide)
					if _, ok := errors.AsType[refusals](err); ok {
						refused.Add(1)
					} else if err == nil {
						passed.Add(1)
					} else {
						t.Error(err)
					}
				})
			}
			wg.Wait()
			var counted float64
			if err := k.row(k.db, `SELECT (tat - {now}) * 1.0 / @every FROM rate_limits WHERE k = @k`,
				args{"k": wide.key, "every": wide.every.Microseconds()}, &counted); err != nil {
				t.Fatal(err)
			}
			if passed.Load() != 3 || refused.Load() != 37 || math.Ceil(counted) != 3 {
				t.Fatalf("%d passed, %d were refused, %.2f count", passed.Load(), refused.Load(), counted)
			}
			for range 3 {
				k.refund(t.Context(), "", narrow, wide)
			}
		}
	}, func(c *Config) { c.Limits.Window, c.Limits.PerClient, c.MaxConns = 24*time.Hour, 3, 40 })
}

func TestAuthenticateUser_SuccessClearsTheCount(t *testing.T) {
	forEachDB(t, func(t *testing.T, k *kit) {
		k.newUser("anna")
		for range 3 {
			for range 9 {
				if _, err := k.attempt("anna", "wrong", "198.51.100.9"); !errors.Is(err, ErrCredentials) {
					t.Fatal(err)
				}
			}
			if _, err := k.attempt("anna", testPassword, "198.51.100.9"); err != nil {
				t.Fatal(err)
			}
		}
	})
}

func TestAuthenticateUser_RehashesImported(t *testing.T) {
	forEachDB(t, func(t *testing.T, k *kit) {
		// bcrypt of "correct horse battery", cost 4
		u, err := k.CreateUser(t.Context(), NewUser{Username: "old", PasswordHash: bcryptOf(t, testPassword)}, Actor{})
		if err != nil {
			t.Fatal(err)
		}
		first, err := k.attempt("old", testPassword, "198.51.100.9")
		if err != nil {
			t.Fatal(err)
		}
		after, err := k.GetUser(t.Context(), u.ID)
		if err != nil || after.PasswordHash == u.PasswordHash || after.PasswordHash[:10] != "$argon2id$" {
			t.Fatalf("the hash is still %.10s…", after.PasswordHash)
		}
		if _, err := k.signInAs(first, uuid.Nil); err != nil {
			t.Fatalf("a sign-in that checked the imported hash: %v", err)
		}
	})
}

func TestSignIn_TooManyDevices(t *testing.T) {
	forEachDB(t, func(t *testing.T, k *kit) {
		u := k.newUser("anna")
		var grants []*Grant
		for range 5 {
			grants = append(grants, k.signIn(u))
		}
		var alive []bool
		for _, g := range grants {
			alive = append(alive, k.alive(g))
		}
		if !slices.Equal(alive, []bool{false, false, true, true, true}) {
			t.Fatalf("alive: %v, want the last three", alive)
		}
		if e := k.events(grants[0].DeviceID.String()); len(e) != 1 || e[0].Reason != ReasonTooManyDevices {
			t.Fatalf("%+v", e)
		}
	}, func(c *Config) { c.MaxDevicesPerUser = 3 })
}

func TestDeviceMaxAge(t *testing.T) {
	forEachDB(t, func(t *testing.T, k *kit) {
		g := k.signIn(k.newUser("anna"))
		d, err := k.GetDevice(t.Context(), DeviceFilter{ID: g.DeviceID})
		if err != nil || Micros(g.Claims.ExpiresAt*1e6) > d.ExpiresAt || g.ExpiresIn < time.Second {
			t.Fatalf("an access token outlives its device, or ends long before: %s, %v", g.ExpiresIn, err)
		}
		next := k.mustRefresh(g.RefreshToken)
		after, err := k.GetDevice(t.Context(), DeviceFilter{ID: g.DeviceID})
		if err != nil || after.ExpiresAt != d.ExpiresAt {
			t.Fatalf("a refresh moves the end from %s to %s, %v", d.ExpiresAt.Time(), after.ExpiresAt.Time(), err)
		}
		// As if it had been signed in so much earlier.
		if _, err := k.sqldb.ExecContext(t.Context(), fmt.Sprintf("UPDATE devices SET signed_in_at = signed_in_at - %[1]d, "+
			"expires_at = expires_at - %[1]d, ends_at = ends_at - %[1]d", time.Minute.Microseconds())); err != nil {
			t.Fatal(err)
		}
		if _, err := k.refresh(next.RefreshToken); !errors.Is(err, ErrRefreshTokenInvalid) {
			t.Fatalf("a refresh after the device's end: %v", err)
		}
	}, func(c *Config) { c.DeviceMaxAge = time.Minute })
}
