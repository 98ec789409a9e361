package admin

import (
	"net/url"
	"strings"
	"testing"

	"github.com/google/uuid"

	"curfew/models"
)

// The password is asked for again before what makes credentials or ends many; until then nothing happens. Only the right
// one of the very admin goes on.
func TestConsole_StepUp(t *testing.T) {
	forEachDB(t, func(t *testing.T, k *kit) {
		u, b := k.admin("anna")
		ben := k.user("ben")
		g := k.signIn(ben, "settings", "203.0.113.1")
		user, hook := "/console/users/"+ben.ID.String(), k.there(ben, g).Replace("/console/receivers/:id")
		k.age()
		before := k.state()
		for path, back := range map[string]string{
			"/console/devices/end?ip=203.0.113.1": "/console/devices/end?ip=203.0.113.1", "/console/everyone": "/console/everyone",
			"/console/users/new": "/console/users/new", "/console/clients/new": "/console/clients/new",
			"/console/receivers/new": "/console/receivers/new",
		} {
			b.want(b.get(path), 303, path)
			if to := b.get(path).header.Get("Location"); to != "/console/step-up?"+(url.Values{"return": {back}}).Encode() {
				t.Errorf("%s leads to %s", path, to)
			}
		}
		for path, back := range map[string]string{
			user + "/password": user, user + "/admin": user, user + "/delete": user, "/console/users": "/console/users/new",
			"/console/clients": "/console/clients/new", "/console/clients/web": "/console/clients/web",
			"/console/clients/ops/secret": "/console/clients/ops", "/console/clients/web/end": "/console/clients/web",
			"/console/receivers": "/console/receivers/new", hook + "/secret": hook,
			"/console/clients/ops/delete": "/console/clients/ops", "/console/everyone": "/console/everyone",
			"/console/devices/end": "/console/devices/end?ip=203.0.113.1",
		} {
			a := b.post(
				path,
				"ip",
				"203.0.113.1",
				"count",
				"1",
				"expected",
				"1",
				"confirm",
				"everyone",
				"password",
				"another horse battery",
			)
			want := url.Values{"return": {withQuery(back, "notice", "confirmed")}}.Encode()
			if a.status != 303 || a.header.Get("Location") != "/console/step-up?"+want ||
				strings.Contains(a.header.Get("Location"), "horse") {
				t.Errorf("%s: %d to %s", path, a.status, a.header.Get("Location"))
			}
		}
		ask := b.page("/console/step-up?return="+url.QueryEscape(user), "your password once more")
		fields := hidden(ask)
		b.want(
			b.post("/console/step-up", append(fields, "password", "wrong")...),
			400,
			"wrong",
			"not your current password",
		)
		b.want(
			b.post("/console/step-up", "return", user, "session", uuid.NewString(), "password", testPassword),
			409,
			"another session",
		)
		b.want(b.get("/console/users/new"), 303, "still old")
		if after := k.state(); after != before || !k.alive(g) {
			t.Fatalf("something changed: %s, was %s", after, before)
		}
		old := b.cookies[consoleCookie]
		b.leads(b.post("/console/step-up", append(fields, "password", testPassword)...), user, "ben")
		if b.cookies[consoleCookie] == old {
			t.Error("the cookie stays")
		}
		b.page("/console/users/new")
		if n, err := k.store.CountTarget(t.Context(), models.WholeUser(u.ID)); err != nil || n != 1 {
			t.Errorf("%d sessions, %v", n, err)
		}
		// What is not in the list is done at any time: a stolen phone must not wait.
		k.age()
		b.leads(b.post("/console/devices/"+g.DeviceID.String()+"/end"), "/console/devices/", "Out.")
		k.adm.console.stepUp = 0
		b.page("/console/users/new")
	})
}

// RFC 9470: an admin's token whose password is too old does not do what the console would ask the password for; a
// client's own token is exempt.
func TestStepUp_API(t *testing.T) {
	forEachDB(t, func(t *testing.T, k *kit) {
		u, err := k.store.CreateUser(
			t.Context(),
			models.NewUser{Username: "anna", Password: testPassword, Admin: true},
			setup,
		)
		must(t, err)
		ben := k.user("ben")
		token := k.signIn(u, "admin", "203.0.113.1").AccessToken
		k.adm.stepUp = 1 // nanosecond
		before := k.state()
		type call struct{ method, path, body string }
		guarded := []call{
			{"POST", "/admin/users", `{"username":"new","password":"` + testPassword + `"}`},
			{"PATCH", "/admin/users/" + ben.ID.String(), `{"password":"another horse battery"}`},
			{"PATCH", "/admin/users/" + ben.ID.String(), `{"admin":true}`},
			{"POST", "/admin/clients", `{"client_id":"new","public":true,"grants":["password"]}`},
			{"PATCH", "/admin/clients/ops", `{"name":"x"}`},
			{"POST", "/admin/clients/ops/secret", ""},
			{"DELETE", "/admin/clients/web/devices", ""},
			{"DELETE", "/admin/devices?ip=203.0.113.7", ""},
			{"DELETE", "/admin/devices?confirm=everyone", ""},
			{"DELETE", "/admin/users/" + ben.ID.String(), ""},
			{"DELETE", "/admin/clients/web", ""},
		}
		for _, c := range guarded {
			a := k.askAs(token, c.method, c.path, c.body)
			challenge := a.header.Get("WWW-Authenticate")
			if a.status != 401 || a.str("code") != "insufficient_user_authentication" ||
				!strings.Contains(
					challenge,
					`error="insufficient_user_authentication"`,
				) || !strings.Contains(challenge, `max_age="`) {
				t.Errorf("%s %s: %d %s %s", c.method, c.path, a.status, challenge, a.body)
			}
		}
		if after := k.state(); after != before {
			t.Errorf("something changed: %s, was %s", after, before)
		}
		for _, c := range []call{
			{"GET", "/admin/users", ""},
			{"DELETE", "/admin/devices?ip=203.0.113.7&dry_run=true", ""},
			{"PATCH", "/admin/users/" + ben.ID.String(), `{"disabled":true}`},
			{"DELETE", "/admin/users/" + ben.ID.String() + "/devices", ""},
		} {
			if a := k.askAs(token, c.method, c.path, c.body); a.status != 200 {
				t.Errorf("%s %s: %d %s", c.method, c.path, a.status, a.body)
			}
		}
		for _, c := range guarded {
			if a := k.ask(c.method, c.path, c.body); a.status >= 400 && c.path != "/admin/clients/ops/secret" {
				if a.str("code") == "insufficient_user_authentication" {
					t.Errorf("a client's own token: %s %s: %d %s", c.method, c.path, a.status, a.body)
				}
			}
			k.own()
		}
		k.adm.stepUp = 15 * 60 * 1e9
		token = k.signIn(mustUser(k, "anna"), "admin", "203.0.113.1").AccessToken
		if a := k.askAs(token, "POST", "/admin/users", `{"username":"newer","password":"`+testPassword+`"}`); a.status != 201 {
			t.Errorf("a fresh password: %d %s", a.status, a.body)
		}
	})
}

func mustUser(k *kit, name string) *models.User {
	k.t.Helper()
	u, err := k.store.FindUser(k.t.Context(), name)
	must(k.t, err)
	if web, err := k.store.GetClient(k.t.Context(), "web"); err == nil {
		k.web = web
	} else {
		k.web, _, err = k.store.CreateClient(k.t.Context(), models.NewClient{
			ID: "web", Public: true, Grants: []string{"password", "refresh_token"}, Scopes: []string{"settings", "admin"},
		}, setup)
		must(k.t, err)
	}
	return u
}
