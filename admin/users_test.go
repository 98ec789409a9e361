package admin

import (
	"errors"
	"net/url"
	"strings"
	"testing"

	"curfew/models"
)

// What OpenID Connect tells apps of a user.
func TestUsers_Profile(t *testing.T) {
	forEachDB(t, func(t *testing.T, k *kit) {
		made := k.want(201, "POST", "/admin/users",
			`{"username":"bea","password":"`+testPassword+`","name":"Bea B.","email":"bea@example.com","email_verified":true}`)
		path := "/admin/users/" + made.str("id")
		is := func(a *reply, name, email string, verified bool) {
			t.Helper()
			if a.str("name") != name || a.str("email") != email || a.json["email_verified"] != verified {
				t.Errorf("%s", a.body)
			}
		}
		is(made, "Bea B.", "bea@example.com", true)
		is(k.want(200, "PATCH", path, `{"name":"B"}`), "B", "bea@example.com", true)
		is(k.want(200, "PATCH", path, `{"email":"b@example.com"}`), "B", "b@example.com", false) // nobody has looked at that one
		is(k.want(200, "PATCH", path, `{"email_verified":true}`), "B", "b@example.com", true)
		is(k.want(200, "PATCH", path, `{"email":"c@example.com","email_verified":true}`), "B", "c@example.com", true)
		for _, wrong := range []string{
			`{"email":"c"}`, `{"email":"C <c@example.com>"}`, `{"email":"c@example.com, d@example.com"}`, `{"email":"c@exa mple.com"}`,
			`{"email":"c@example.com\n"}`, `{"name":"a\u0000b"}`, `{"name":"a\u202eb"}`, `{"email":"","email_verified":true}`,
			`{"email":"` + strings.Repeat("c", 250) + `@example.com"}`, `{"name":"` + strings.Repeat("n", 256) + `"}`,
		} {
			k.want(400, "PATCH", path, wrong)
		}
		is(k.want(200, "GET", path, ""), "B", "c@example.com", true)
		is(k.want(200, "PATCH", path, `{"email":"","name":""}`), "", "", false)
	})
}

func TestUsers(t *testing.T) {
	forEachDB(t, func(t *testing.T, k *kit) {
		made := k.want(201, "POST", "/admin/users", `{"username":"anna","password":"`+testPassword+`"}`)
		path := "/admin/users/" + made.str("id")
		if made.header.Get("Location") != path || strings.Contains(made.body, "hash") {
			t.Fatalf("%s %v", made.body, made.header)
		}
		k.want(409, "POST", "/admin/users", `{"username":"ANNA","password":"`+testPassword+`"}`)
		k.want(422, "POST", "/admin/users", `{"username":"x","password":"12345678"}`)
		k.want(400, "POST", "/admin/users", `{"username":"x"}`)
		k.want(400, "POST", "/admin/users", `{"username":"x","password_hash":"md5"}`)
		k.want(400, "POST", "/admin/users", `{"username":"x\u3164","password":"`+testPassword+`"}`)
		k.want(409, "POST", "/admin/users", `{"username":" \uff21nna ","password":"`+testPassword+`"}`)
		k.want(
			201, "POST", "/admin/users",
			`{"username":"old","password_hash":"$2b$04$abcdefghijklmnopqrstuu5s3SzMWCqU1m9xk6nW4mPZtmyzXk6Ey","admin":true}`,
		)
		if list := k.want(200, "GET", "/admin/users?limit=1", ""); len(list.list("users")) != 1 ||
			list.str("next_cursor") == "" {
			t.Fatalf("%s", list.body)
		} else if rest := k.want(
			200, "GET", "/admin/users?cursor="+url.QueryEscape(list.str("next_cursor")), "",
		); len(rest.list("users")) != 1 {
			t.Fatalf("%s", rest.body)
		}
		if list := k.want(200, "GET", "/admin/users?q=AN", ""); len(list.list("users")) != 1 {
			t.Fatalf("%s", list.body)
		}
		u, err := k.store.FindUser(t.Context(), "anna")
		must(t, err)
		for _, patch := range []string{`{"disabled":true}`, `{"password":"another good one"}`} {
			g := k.signIn(u, "settings", "203.0.113.1")
			out := k.want(200, "PATCH", path, patch)
			if out.json["revocation"] == nil || out.json["count"] != 1.0 || k.alive(g) {
				t.Fatalf("%s: %s", patch, out.body)
			}
			k.want(200, "PATCH", path, `{"disabled":false}`)
			if k.alive(g) {
				t.Fatal("enabling brought old tokens back to life")
			}
			u, err = k.store.FindUser(t.Context(), "anna")
			must(t, err)
		}
		for password, want := range map[string]error{testPassword: models.ErrCredentials, "another good one": nil} {
			if _, err := k.store.AuthenticateUser(
				t.Context(), models.PasswordAttempt{Username: "anna", Password: password, IP: "203.0.113.1"},
			); !errors.Is(err, want) {
				t.Fatalf("%q after the password was set: %v", password, err)
			}
		}
		if out := k.want(200, "PATCH", path, `{"username":"Anna B","admin":true}`); out.str("username") != "Anna B" ||
			out.json["admin"] != true || out.json["revocation"] != nil {
			t.Fatalf("%s", out.body)
		}
		k.want(409, "PATCH", path, `{"username":"old"}`)
		k.want(400, "PATCH", path, `{"id":"x"}`)
		k.want(415, "PATCH", path, "")
		if a := k.want(200, "GET", path, ""); a.json["disabled"] != false {
			t.Fatalf("%s", a.body)
		}
		g := k.signIn(u, "settings", "203.0.113.1")
		k.want(200, "DELETE", path, "")
		k.want(404, "GET", path, "")
		k.want(404, "DELETE", path, "")
		k.want(404, "GET", path+"/devices", "")
		k.want(404, "GET", "/admin/users/x", "")
		if k.alive(g) {
			t.Fatal("a token of a user who is gone")
		}
	})
}
