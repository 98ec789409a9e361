package models

import (
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
)

func TestRefreshDevice_Rotates(t *testing.T) {
	forEachDB(t, func(t *testing.T, k *kit) {
		first := k.signIn(k.newUser("anna"))
		if !k.alive(first) {
			t.Fatal("the token of a sign-in is dead")
		}
		second := k.mustRefresh(first.RefreshToken)
		third := k.mustRefresh(second.RefreshToken)
		if first.RefreshToken == second.RefreshToken || second.RefreshToken == third.RefreshToken {
			t.Fatal("the refresh token did not change")
		}
		if first.DeviceID != third.DeviceID || third.Scope != "settings profile" {
			t.Fatalf("another device or scope after two refreshes: %v %q", third.DeviceID, third.Scope)
		}
		// The immediate predecessor lives until the reuse interval is over, an older one has retired.
		if k.alive(first) || !k.alive(second) || !k.alive(third) {
			t.Fatalf("alive: first %v, second %v, third %v; want false, true, true", k.alive(first), k.alive(second), k.alive(third))
		}
	})
}

func TestRefreshDevice_RetryGetsTheSameSuccessor(t *testing.T) {
	forEachDB(t, func(t *testing.T, k *kit) {
		first := k.signIn(k.newUser("anna"))
		second := k.mustRefresh(first.RefreshToken)
		retry := k.mustRefresh(first.RefreshToken)
		if retry.RefreshToken != second.RefreshToken {
			t.Fatal("a retry got another successor")
		}
		if !k.alive(retry) || !k.alive(second) {
			t.Fatal("a retry's tokens are dead")
		}
		if n := len(k.events(first.DeviceID.String())); n != 0 {
			t.Fatalf("%d events after a retry", n)
		}
	})
}

// RFC 9700 section 4.14.2: a refresh token that comes back signs its device out, even when the thief came first.
func TestRefreshDevice_ReuseSignsTheDeviceOut(t *testing.T) {
	forEachDB(t, func(t *testing.T, k *kit) {
		anna := k.newUser("anna")
		phone, laptop := k.signIn(anna), k.signIn(anna)
		second := k.mustRefresh(phone.RefreshToken)
		third := k.mustRefresh(second.RefreshToken) // two generations on: no reuse interval covers the first token

		if _, err := k.refresh(phone.RefreshToken); !errors.Is(err, ErrRefreshTokenReused) {
			t.Fatalf("refresh token of two rotations ago: got %v, want ErrRefreshTokenReused", err)
		}
		if k.alive(third) {
			t.Fatal("the revocation did not survive the returned error")
		}
		if _, err := k.refresh(third.RefreshToken); !errors.Is(err, ErrRefreshTokenInvalid) {
			t.Fatalf("newest refresh token of a device that is out: %v", err)
		}
		if _, err := k.refresh(phone.RefreshToken); !errors.Is(err, ErrRefreshTokenInvalid) {
			t.Fatalf("replay on a device that is out: %v", err)
		}
		if !k.alive(laptop) {
			t.Fatal("the blast radius is more than one device")
		}
		events := k.events(phone.DeviceID.String())
		if len(events) != 1 || events[0].Reason != ReasonReuse || events[0].Entity != EntityPolicy {
			t.Fatalf("events of the device: %+v", events)
		}
		log, _, err := k.ListAuditEvents(t.Context(), AuditFilter{DeviceID: phone.DeviceID.String(), Type: AuditReplay}, Page{})
		if err != nil || len(log) != 1 || log[0].Detail["owner_ip"] != origin.IP || log[0].Detail["replay_ip"] != origin.IP {
			t.Fatalf("audit log: %+v, %v", log, err)
		}
	})
}

func TestRefreshDevice_PredecessorAfterTheInterval(t *testing.T) {
	forEachDB(t, func(t *testing.T, k *kit) {
		first := k.signIn(k.newUser("anna"))
		second := k.mustRefresh(first.RefreshToken)
		if _, err := k.refresh(first.RefreshToken); !errors.Is(err, ErrRefreshTokenReused) {
			t.Fatalf("predecessor after its reuse interval: %v", err)
		}
		if k.alive(second) {
			t.Fatal("still alive")
		}
	}, func(c *Config) { c.ReuseInterval = None })
}

func TestRefreshDevice_ForgeriesChangeNothing(t *testing.T) {
	forEachDB(t, func(t *testing.T, k *kit) {
		g := k.signIn(k.newUser("anna"))
		other, err := newKeyring([][]byte{[]byte("0123456789abcdef0123456789abcdef")})
		if err != nil {
			t.Fatal(err)
		}
		forged := other.refreshToken(refreshToken{DeviceID: g.DeviceID, RefreshID: uuid.New()})
		for _, token := range []string{"", "x", forged, g.RefreshToken + "=", g.RefreshToken + "\n", g.RefreshToken[:len(g.RefreshToken)-1], g.AccessToken} {
			if _, err := k.refresh(token); !errors.Is(err, ErrRefreshTokenInvalid) {
				t.Fatalf("%q: %v", token, err)
			}
		}
		genuineOfNobody := k.secret.refreshToken(refreshToken{DeviceID: uuid.New(), RefreshID: uuid.New()})
		if _, err := k.refresh(genuineOfNobody); !errors.Is(err, ErrRefreshTokenInvalid) {
			t.Fatal(err)
		}
		if !k.alive(g) || len(k.events(g.DeviceID.String())) != 0 {
			t.Fatal("a forgery changed something")
		}
		k.mustRefresh(g.RefreshToken)
	})
}

// Invariant 2, one successor: N concurrent refreshes with the same token give one new refresh token.
func TestRefreshDevice_OneSuccessor(t *testing.T) {
	forEachDB(t, func(t *testing.T, k *kit) {
		anna := k.newUser("anna")
		for range 20 {
			g := k.signIn(anna)
			got := make([]*Grant, 8)
			var wg sync.WaitGroup
			for i := range got {
				wg.Go(func() {
					var err error
					if got[i], err = k.refresh(g.RefreshToken); err != nil {
						t.Errorf("racer %d: %v", i, err)
					}
				})
			}
			wg.Wait()
			if t.Failed() {
				return
			}
			for _, other := range got {
				if other.RefreshToken != got[0].RefreshToken || !k.alive(other) {
					t.Fatal("two successors, or a dead one")
				}
			}
		}
		if n := k.Stats.Replays.Load(); n != 0 {
			t.Fatalf("%d replays", n)
		}
	})
}

// After a quiet time the horizon lies behind the clock. Many who refresh at once then push it for each other, and none
// is refused.
func TestRefreshDevice_HorizonBehind(t *testing.T) {
	forEachDB(t, func(t *testing.T, k *kit) {
		anna := k.newUser("anna")
		grants := make([]*Grant, 24)
		for i := range grants {
			grants[i] = k.signIn(anna)
		}
		for range 5 {
			if err := k.db.Exec(`UPDATE realm SET horizon = (SELECT max(issued_at) FROM devices)`).Error; err != nil {
				t.Fatal(err)
			}
			time.Sleep(5 * time.Millisecond)
			var wg sync.WaitGroup
			for i := range grants {
				wg.Go(func() {
					next, err := k.refresh(grants[i].RefreshToken)
					if err != nil {
						t.Errorf("device %d: %v", i, err)
						return
					}
					grants[i] = next
				})
			}
			wg.Wait()
			if t.Failed() {
				return
			}
		}
	})
}

func TestRefreshDevice_ScopeOnlyNarrows(t *testing.T) {
	forEachDB(t, func(t *testing.T, k *kit) {
		g := k.signIn(k.newUser("anna"))
		in := Refresh{Token: g.RefreshToken, Client: k.client, Scope: "settings admin", Origin: origin}
		if _, err := k.RefreshDevice(t.Context(), in); !errors.Is(err, ErrScope) {
			t.Fatalf("wider scope: %v", err)
		}
		stranger := in
		stranger.Client = k.newClient("stranger", GrantPassword, GrantRefreshToken)
		if _, err := k.RefreshDevice(t.Context(), stranger); !errors.Is(err, ErrRefreshTokenInvalid) {
			t.Fatalf("wider scope, of another client's token: %v", err)
		}
		in.Scope = "profile"
		narrow, err := k.RefreshDevice(t.Context(), in)
		if err != nil || narrow.Scope != "profile" {
			t.Fatalf("narrower scope: %+v, %v", narrow, err)
		}
		in.Scope = "settings admin"
		if _, err := k.RefreshDevice(t.Context(), in); !errors.Is(err, ErrScope) {
			t.Fatalf("wider scope, a retry: %v", err)
		}
		wide := k.mustRefresh(narrow.RefreshToken)
		if wide.Scope != "settings profile" {
			t.Fatalf("the refresh token lost its scope: %q", wide.Scope)
		}
		// A thief does not get away with a scope that there is not.
		if _, err := k.RefreshDevice(t.Context(), in); !errors.Is(err, ErrRefreshTokenReused) || k.alive(wide) {
			t.Fatalf("wider scope, a replay: %v, alive %v", err, k.alive(wide))
		}
		if _, err := k.RefreshDevice(t.Context(), Refresh{Token: wide.RefreshToken, Client: k.client, Scope: "nosuch", Origin: origin}); !errors.Is(err, ErrRefreshTokenInvalid) {
			t.Fatalf("wider scope, signed out: %v", err)
		}
	})
}
