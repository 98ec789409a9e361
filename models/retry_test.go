package models

import (
	"errors"
	"fmt"
	"testing"
	"time"
)

var elsewhere = Origin{IP: "198.51.100.9", UserAgent: "other/2"}

// from refreshes from an address of its own.
func (k *kit) from(o Origin, token string) (*Grant, error) {
	return k.RefreshDevice(k.t.Context(), Refresh{Token: token, Client: k.client, Origin: o})
}

// age puts the last rotation of every device so far back.
func (k *kit) age(by time.Duration) {
	k.t.Helper()
	if _, err := k.sqldb.ExecContext(k.t.Context(), fmt.Sprintf("UPDATE devices SET rotated_at = rotated_at - %d", by.Microseconds())); err != nil {
		k.t.Fatal(err)
	}
}

// Owner and thief hold one chain. Whoever comes with the predecessor from elsewhere gets a successor of his own, and
// the one before is dead: the next to use it is found out.
func TestRefreshDevice_NoLockStep(t *testing.T) {
	forEachDB(t, func(t *testing.T, k *kit) {
		first := k.signIn(k.newUser("anna"))
		owners := k.mustRefresh(first.RefreshToken)
		k.age(raceWindow)
		thiefs, err := k.from(elsewhere, first.RefreshToken)
		if err != nil || thiefs.RefreshToken == owners.RefreshToken {
			t.Fatalf("the thief has the owner's successor, or none: %v", err)
		}
		if k.alive(owners) || !k.alive(thiefs) {
			t.Fatal("the successor that was given before is alive")
		}
		if again, err := k.from(elsewhere, first.RefreshToken); err != nil || again.RefreshToken != thiefs.RefreshToken {
			t.Fatalf("a retry of the retry: %v", err)
		}
		if _, err := k.refresh(owners.RefreshToken); !errors.Is(err, ErrRefreshTokenReused) || k.alive(thiefs) {
			t.Fatalf("the owner's next refresh: %v", err)
		}
		log, _, err := k.ListAuditEvents(t.Context(), AuditFilter{Type: AuditRetried}, Page{})
		if err != nil || len(log) != 1 || log[0].Detail["owner_ip"] != origin.IP || log[0].Detail["retry_ip"] != elsewhere.IP ||
			log[0].Detail["owner_user_agent"] != origin.UserAgent || log[0].Detail["retry_user_agent"] != elsewhere.UserAgent ||
			log[0].DeviceID != first.DeviceID.String() {
			t.Fatalf("audit log: %+v, %v", log, err)
		}
	})
}

// At once, a client that races itself from two addresses gets the same one, and it stays the first one's.
func TestRefreshDevice_RacesItself(t *testing.T) {
	forEachDB(t, func(t *testing.T, k *kit) {
		first := k.signIn(k.newUser("anna"))
		second := k.mustRefresh(first.RefreshToken)
		k.age(-time.Minute) // however slow the machine, it is at once
		other, err := k.from(elsewhere, first.RefreshToken)
		if err != nil || other.RefreshToken != second.RefreshToken {
			t.Fatalf("another successor, or none: %v", err)
		}
		d, err := k.GetDevice(t.Context(), DeviceFilter{ID: first.DeviceID})
		if err != nil || d.IP != origin.IP || d.UserAgent != origin.UserAgent {
			t.Fatalf("the retry took the row over: %+v, %v", d, err)
		}
		k.age(time.Minute + raceWindow)
		if again := k.mustRefresh(first.RefreshToken); again.RefreshToken != second.RefreshToken {
			t.Fatal("a later retry of the first one got another successor")
		}
	})
}

// Who retries in a loop, each time as somebody else, does not fill the audit log.
func TestRefreshDevice_RetriesAreToldBounded(t *testing.T) {
	forEachDB(t, func(t *testing.T, k *kit) {
		first := k.signIn(k.newUser("anna"))
		k.mustRefresh(first.RefreshToken)
		k.age(raceWindow)
		for i := range 2 * retriesTold {
			if _, err := k.from(Origin{IP: origin.IP, UserAgent: fmt.Sprint(i)}, first.RefreshToken); err != nil {
				t.Fatal(err)
			}
		}
		log, _, err := k.ListAuditEvents(t.Context(), AuditFilter{Type: AuditRetried}, Page{})
		if err != nil || len(log) != retriesTold {
			t.Fatalf("%d events, %v", len(log), err)
		}
	})
}

// A client's window for a lost answer: an answer that never arrived logs nobody out, minutes later, from anywhere.
func TestRefreshDevice_LostAnswer(t *testing.T) {
	forEachDB(t, func(t *testing.T, k *kit) {
		window := Span(10 * time.Minute)
		to := &window
		var err error
		if k.client, err = k.UpdateClient(t.Context(), k.client.ID, ClientPatch{LostAnswer: &to}, Actor{}); err != nil {
			t.Fatal(err)
		}
		u := k.newUser("anna")
		first := k.signIn(u)
		lost := k.mustRefresh(first.RefreshToken)
		k.age(time.Minute)
		got, err := k.from(elsewhere, first.RefreshToken)
		if err != nil || got.RefreshToken == lost.RefreshToken {
			t.Fatalf("a minute later: %v, the lost one again: %v", err, got != nil)
		}
		once := k.mustRefresh(first.RefreshToken) // fresh again, and the window did not begin anew
		if once.RefreshToken == got.RefreshToken {
			t.Fatal("two addresses have one successor")
		}
		k.age(10 * time.Minute)
		if _, err := k.refresh(first.RefreshToken); !errors.Is(err, ErrRefreshTokenReused) || k.alive(once) {
			t.Fatalf("after the window: %v", err)
		}

		// A successor that was used closes the window, and one that was dropped is a replay.
		first = k.signIn(u)
		k.mustRefresh(k.mustRefresh(first.RefreshToken).RefreshToken)
		if _, err := k.refresh(first.RefreshToken); !errors.Is(err, ErrRefreshTokenReused) {
			t.Fatalf("the successor was used: %v", err)
		}
		first = k.signIn(u)
		dropped := k.mustRefresh(first.RefreshToken)
		k.age(time.Minute)
		k.mustRefresh(first.RefreshToken)
		if _, err := k.refresh(dropped.RefreshToken); !errors.Is(err, ErrRefreshTokenReused) {
			t.Fatalf("the one that was dropped: %v", err)
		}
	})
}

// Without a window a lost answer of longer ago than the interval is a replay, as it was.
func TestRefreshDevice_LostAnswerIsOff(t *testing.T) {
	forEachDB(t, func(t *testing.T, k *kit) {
		first := k.signIn(k.newUser("anna"))
		k.mustRefresh(first.RefreshToken)
		k.age(time.Minute)
		if _, err := k.refresh(first.RefreshToken); !errors.Is(err, ErrRefreshTokenReused) {
			t.Fatal(err)
		}
	})
}

// A new sign-in on the GUID makes what was before worthless, without punishment: for a refresh, as a replay, and for a
// log-out, through its own client or another one.
func TestSignIn_EndsTheFamily(t *testing.T) {
	forEachDB(t, func(t *testing.T, k *kit) {
		u := k.newUser("anna")
		first := k.signIn(u)
		second := k.mustRefresh(first.RefreshToken)
		k.revoke(WholeUser(u.ID))
		now, err := k.signInAs(u, first.DeviceID)
		if err != nil {
			t.Fatal(err)
		}
		k.age(time.Hour)
		now = k.mustRefresh(now.RefreshToken)
		stranger := k.newClient("stranger", GrantPassword, GrantRefreshToken)
		for _, c := range []*Client{k.client, stranger} {
			for _, token := range []string{first.RefreshToken, second.RefreshToken} {
				if _, err := k.RefreshDevice(t.Context(), Refresh{Token: token, Client: c, Origin: elsewhere}); !errors.Is(err, ErrRefreshTokenInvalid) {
					t.Errorf("%s: refresh: %v", c.ID, err)
				}
				if out, err := k.RevokeToken(t.Context(), c, token, Actor{}); out != nil || err != nil {
					t.Errorf("%s: log-out: %+v, %v", c.ID, out, err)
				}
			}
		}
		if !k.alive(now) {
			t.Fatal("a token from before the sign-in has signed the device out")
		}
	})
}

// Replay is judged for the client that the token belongs to: nobody else ends a device with it.
func TestRefreshDevice_ReplayByAnotherClient(t *testing.T) {
	forEachDB(t, func(t *testing.T, k *kit) {
		first := k.signIn(k.newUser("anna"))
		third := k.mustRefresh(k.mustRefresh(first.RefreshToken).RefreshToken)
		stranger := k.newClient("stranger", GrantPassword, GrantRefreshToken)
		in := Refresh{Token: first.RefreshToken, Client: stranger, Origin: elsewhere}
		if _, err := k.RefreshDevice(t.Context(), in); !errors.Is(err, ErrRefreshTokenInvalid) || !k.alive(third) {
			t.Fatalf("through another client: %v, alive %v", err, k.alive(third))
		}
		if _, err := k.RevokeToken(t.Context(), stranger, first.RefreshToken, Actor{}); !errors.Is(err, ErrOtherClient) || !k.alive(third) {
			t.Fatalf("log-out through another client: %v, alive %v", err, k.alive(third))
		}
	})
}

// Who changes the password because somebody else has a token of the same device is rid of him.
func TestChangePassword_SignsTheOwnDeviceInAnew(t *testing.T) {
	forEachDB(t, func(t *testing.T, k *kit) {
		u := k.newUser("anna")
		first, laptop := k.signIn(u), k.signIn(u)
		second := k.mustRefresh(first.RefreshToken)
		g, out, err := k.ChangePassword(t.Context(), PasswordChange{
			UserID: u.ID, Current: testPassword, New: "another battery staple", KeepDevice: first.DeviceID, IP: origin.IP,
		}, Actor{})
		if err != nil || g.DeviceID != first.DeviceID || g.RefreshToken == "" || g.Scope != "settings profile" || out.Count != 1 {
			t.Fatalf("%+v, %+v, %v", g, out, err)
		}
		if k.alive(first) || k.alive(second) || k.alive(laptop) || !k.alive(g) {
			t.Fatal("an older token is alive, or the new one is not")
		}
		for _, token := range []string{first.RefreshToken, second.RefreshToken, laptop.RefreshToken} {
			if _, err := k.refresh(token); !errors.Is(err, ErrRefreshTokenInvalid) {
				t.Fatalf("an older refresh token: %v", err)
			}
		}
		if next := k.mustRefresh(g.RefreshToken); !k.alive(next) {
			t.Fatal("the new refresh token gives nothing")
		}
		for _, id := range []string{first.DeviceID.String(), laptop.DeviceID.String()} {
			if events := k.events(id); len(events) != 1 || events[0].Reason != ReasonPasswordChanged {
				t.Fatalf("events of %s: %+v", id, events)
			}
		}
		if d, err := k.GetDevice(t.Context(), DeviceFilter{ID: first.DeviceID}); err != nil || d.Name != "phone" {
			t.Fatalf("%+v, %v", d, err)
		}

		// A device that was signed out while its password was looked at changes nothing.
		k.revoke(OneDevice(first.DeviceID))
		if _, _, err := k.ChangePassword(t.Context(), PasswordChange{
			UserID: u.ID, Current: "another battery staple", New: "a third one of them", KeepDevice: first.DeviceID, IP: origin.IP,
		}, Actor{}); !errors.Is(err, ErrAccessToken) {
			t.Fatal(err)
		}
		if _, err := k.AuthenticateUser(t.Context(), PasswordAttempt{Username: "anna", Password: "another battery staple"}); err != nil {
			t.Fatal(err)
		}
	})
}
