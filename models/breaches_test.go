package models

import (
	"crypto/sha1"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/google/uuid"
)

// Breaches are looked up where a password is set, and never at a sign-in; not for somebody who does not know the
// current password; and an outage refuses nobody.
func TestBreaches_OnlyWhereAPasswordIsSet(t *testing.T) {
	const known = "xkcd horse staple no. 936"
	var asked atomic.Int64
	service := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked.Add(1)
		sum := sha1.Sum([]byte(known))
		digits := strings.ToUpper(hex.EncodeToString(sum[:]))
		if strings.HasSuffix(r.URL.Path, "/"+digits[:5]) {
			fmt.Fprintf(w, "%s:5\r\n", digits[5:])
		}
	}))
	defer service.Close()
	forEachDB(t, func(t *testing.T, k *kit) {
		asks := func(want int64, what string) {
			t.Helper()
			if got := asked.Swap(0); got != want {
				t.Errorf("%s: asked %d times, want %d", what, got, want)
			}
		}
		asked.Store(0)
		u := k.newUser("anna")
		asks(1, "creation")
		if _, err := k.CreateUser(t.Context(), NewUser{Username: "ben", Password: known}, Actor{}); !errors.Is(err, ErrPasswordPolicy) {
			t.Errorf("a known one at creation: %v", err)
		}
		if _, _, err := k.UpdateUser(t.Context(), u.ID, UserPatch{Password: ptr(known)}, Actor{}); !errors.Is(err, ErrPasswordPolicy) {
			t.Errorf("a known one by an admin: %v", err)
		}
		asks(2, "creation and an admin's change")
		for range 2 {
			_, err := k.attempt("anna", testPassword, "198.51.100.1")
			_, wrong := k.attempt("anna", known, "198.51.100.1")
			if err != nil || !errors.Is(wrong, ErrCredentials) {
				t.Fatal(err, wrong)
			}
		}
		hash := bcryptOf(t, known)
		if _, err := k.CreateUser(t.Context(), NewUser{Username: "old", PasswordHash: hash}, Actor{}); err != nil {
			t.Fatal(err)
		}
		if _, err := k.attempt("old", known, "198.51.100.1"); err != nil {
			t.Errorf("a user whose password is known: %v", err)
		}
		asks(0, "sign-ins and an import")
		keep := k.signIn(u).DeviceID
		change := func(current, next string) error {
			_, _, err := k.ChangePassword(t.Context(), PasswordChange{
				UserID: u.ID, Current: current, New: next, KeepDevice: keep, IP: "198.51.100.1",
			}, Actor{})
			return err
		}
		if err := change(known, known); !errors.Is(err, ErrCredentials) {
			t.Errorf("a wrong current password: %v", err)
		}
		asks(0, "a change without the current password")
		if err := change(testPassword, known); !errors.Is(err, ErrPasswordPolicy) {
			t.Errorf("a known one: %v", err)
		}
		asks(1, "a change")
		before := k.BreachesUnanswered()
		cfg := k.cfg
		cfg.Passwords.BreachURL, cfg.Logger = "http://127.0.0.1:1/", k.log
		var err error
		if k.policy, err = newPolicy(cfg); err != nil {
			t.Fatal(err)
		}
		if err := change(testPassword, known); err != nil || k.BreachesUnanswered() == before {
			t.Errorf("without an answer: %v, %d unanswered", err, k.BreachesUnanswered())
		}
		if _, err := k.signInAs(u, uuid.Nil); !errors.Is(err, ErrCredentials) { // it was changed
			t.Error(err)
		}
	}, func(c *Config) { c.Passwords.BreachURL = service.URL })
}
