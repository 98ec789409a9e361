package admin

import (
	"errors"
	"net/http"
	"strings"
	"testing"

	"github.com/google/uuid"

	"curfew/models"
)

// An admin sees which limits an account has reached, and lifts them.
func TestUnlockUser(t *testing.T) {
	forEachDB(t, func(t *testing.T, k *kit) {
		u := k.user("anna")
		attempt := func(password string) error {
			_, err := k.store.AuthenticateUser(t.Context(), models.PasswordAttempt{
				Username: "anna", Password: password, IP: "203.0.113.1",
			})
			return err
		}
		path := "/admin/users/" + u.ID.String()
		if a := k.want(200, "GET", path, ""); len(a.list("limits")) != 0 {
			t.Fatalf("%s", a.body)
		}
		for range 10 {
			if err := attempt("wrong"); !errors.Is(err, models.ErrCredentials) {
				t.Fatal(err)
			}
		}
		if _, ok := errors.AsType[*models.ThrottledError](attempt(testPassword)); !ok {
			t.Fatal("nothing to unlock")
		}
		a := k.want(200, "GET", path, "")
		if l := a.list("limits"); len(l) != 1 || l[0]["limit"] != "per_account_address" || l[0]["until"] == nil {
			t.Fatalf("%s", a.body)
		}
		if a := k.want(200, "POST", path+"/unlock", ""); len(a.list("limits")) != 0 || a.str("username") != "anna" {
			t.Fatalf("%s", a.body)
		}
		if err := attempt(testPassword); err != nil {
			t.Fatal(err)
		}
		log := k.want(200, "GET", "/admin/events?type=user_unlocked", "").list("events")
		if len(log) != 1 || log[0]["actor"] != "ops" || log[0]["username"] != "anna" || log[0]["user_id"] != u.ID.String() {
			t.Fatalf("%v", log)
		}
		if log := k.want(200, "GET", "/admin/events?type=wrong_password", "").list("events"); len(log) != 10 ||
			log[0]["username"] != "anna" {
			t.Fatalf("%v", log)
		}
		k.want(404, "POST", "/admin/users/"+uuid.NewString()+"/unlock", "")
		k.want(404, "POST", "/admin/users/x/unlock", "")
		k.want(400, "POST", path+"/unlock?x=1", "")
	})
}

// Who waits too often at a time is refused before anything is done.
func TestWait_Bounded(t *testing.T) {
	forEachDB(t, func(t *testing.T, k *kit) {
		u := k.user("anna")
		g := k.signIn(u, "settings", "203.0.113.1")
		for range models.Default().Limits.Waits {
			leave, err := k.store.EnterWait("ops")
			must(t, err)
			t.Cleanup(leave)
		}
		user := "/admin/users/" + u.ID.String()
		for _, r := range [][3]string{
			{"DELETE", "/admin/devices/" + g.DeviceID.String(), ""},
			{"DELETE", user + "/devices", ""},
			{"DELETE", user, ""},
			{"PATCH", user, `{"disabled":true}`},
			{"DELETE", "/admin/clients/web/devices", ""},
			{"DELETE", "/admin/clients/web", ""},
			{"DELETE", "/admin/devices?confirm=everyone", ""},
		} {
			separator := "?"
			if strings.Contains(r[1], "?") {
				separator = "&"
			}
			a := k.want(http.StatusTooManyRequests, r[0], r[1]+separator+"wait=1s", r[2])
			if a.header.Get("Retry-After") == "" || !strings.Contains(a.str("detail"), "50 are allowed") {
				t.Errorf("%s %s: %s", r[0], r[1], a.body)
			}
		}
		if !k.alive(g) {
			t.Fatal("a refused request signed out")
		}
		k.want(200, "DELETE", user+"/devices", "")
	})
}
