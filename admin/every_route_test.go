package admin

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/uuid"

	"curfew/models"
)

// What holds for every route is asked of every route, so that a new one is asked too.

// each calls fn with every route below a path, its parameters filled in.
func (k *kit) each(below string, fill *strings.Replacer, fn func(method, path string)) {
	for _, r := range k.adm.Routes() {
		if strings.HasPrefix(r.Path, below) {
			fn(r.Method, fill.Replace(r.Path))
		}
	}
}

// unknown fills in names that could be there and are not.
func unknown() *strings.Replacer {
	return strings.NewReplacer(
		"clients/:id", "clients/nobody", ":id", uuid.NewString(), ":seq", "999", ":client_id", "nobody", ":name", "nobody",
	)
}

func TestEveryRoute_BadQuery(t *testing.T) {
	forEachDB(t, func(t *testing.T, k *kit) {
		u := k.user("anna")
		g := k.signIn(u, "settings", "203.0.113.1")
		there := strings.NewReplacer(
			"clients/:id", "clients/web", "users/:id", "users/"+u.ID.String(), ":id", g.DeviceID.String(), ":seq", "1",
			":client_id", "web", ":name", "rs",
		)
		k.each("/admin/", there, func(method, path string) {
			for _, query := range []string{
				"dry-run=true", "nothing=1", "a=%ff", "%zz", "a=1&a=2", "=", "wait=1s&wait=1s", "wait=%00",
			} {
				body := ""
				if method == "PATCH" || method == "POST" {
					body = `{"username":"x","password":"` + testPassword + `"}`
				}
				if a := k.ask(method, path+"?"+query, body); a.status != 400 || a.str("code") != "invalid_request" {
					t.Errorf("%s %s?%s: %d %s", method, path, query, a.status, a.body)
				}
			}
		})
		for _, wait := range []string{"x", "5", "-1s", "10.1s", "1h", "9999999999999h", "NaN"} {
			for _, path := range []string{
				"devices/" + g.DeviceID.String(), "devices?ip=203.0.113.1&status=active", "devices?username=anna",
				"users/" + u.ID.String(),
				"users/" + u.ID.String() + "/devices", "clients/web", "clients/web/devices",
			} {
				separator := "?"
				if strings.Contains(path, "?") {
					separator = "&"
				}
				k.want(400, "DELETE", "/admin/"+path+separator+"wait="+wait, "")
			}
			k.want(400, "PATCH", "/admin/users/"+u.ID.String()+"?wait="+wait, `{"disabled":true}`)
		}
		if !k.alive(g) {
			t.Fatal("a request that was refused signed somebody out")
		}
		if list := k.want(200, "GET", "/admin/revocations", ""); len(list.list("revocations")) != 0 {
			t.Fatalf("%s", list.body)
		}
	})
}

func TestEveryRoute_BadBody(t *testing.T) {
	forEachDB(t, func(t *testing.T, k *kit) {
		u := k.user("anna")
		g := k.signIn(u, "settings", "203.0.113.1")
		for _, r := range [][2]string{
			{"PATCH", "/admin/devices/" + g.DeviceID.String()},
			{"PATCH", "/admin/users/" + u.ID.String()},
			{"PATCH", "/admin/clients/web"},
			{"POST", "/admin/users"},
			{"POST", "/admin/clients"},
			{"POST", "/admin/webhooks"},
		} {
			for _, bad := range []struct {
				kind, body string
				status     int
			}{
				{"", `{}`, 415},
				{"text/json", `{}`, 415},
				{"application/x-www-form-urlencoded", `name=x`, 415},
				{"application/json", `{"name":"` + strings.Repeat("a", 100<<10) + `"}`, 413},
				{"application/json", strings.Repeat(" ", 10<<20), 413},
				{"application/json", ``, 400},
				{"application/json", `{"name":"x"`, 400},
				{"application/json", `{"name":"x"}{}`, 400},
				{"application/json", `[]`, 400},
				{"application/json", `{"nothing":1}`, 400},
				{"application/json", `{"password_version":7}`, 400},
				{"application/json", "{\"name\":\"\xff\"}", 400},
				{"application/json", `{"name":"a\u0000b","username":"a\u0000b"}`, 400},
				{"application/json", `{"name":7,"username":7}`, 400},
			} {
				if a := k.send(k.token, r[0], r[1], bad.body, bad.kind); a.status != bad.status {
					t.Errorf("%s %s with %s %.40q: %d %s, want %d", r[0], r[1], bad.kind, bad.body, a.status, a.body, bad.status)
				}
			}
		}
		long := strings.Repeat("a", 256)
		for path, bodies := range map[string][]string{
			"/admin/devices/" + g.DeviceID.String(): {
				`{}`, `{"name":null}`, `{"name":""}`, `{"name":" "}`, `{"name":"` + long + `"}`, `{"name":"a\nb"}`,
				`{"name":"\ud800"}`,
			},
			"/admin/users/" + u.ID.String(): {
				`{"username":""}`, `{"username":"` + long + `"}`, `{"username":"a\tb"}`, `{"disabled":"yes"}`, `{"admin":1}`,
			},
			"/admin/clients/web": {
				`{"name":""}`, `{"name":"` + long + `"}`, `{"grants":["magic"]}`, `{"grants":["password","password"]}`,
				`{"scopes":["a b"]}`, `{"scopes":[""]}`,
				`{"introspect":true}`, `{"public":false}`, `{"client_id":"x"}`, `{"grants":["client_credentials"]}`,
			},
		} {
			for _, body := range bodies {
				k.want(400, "PATCH", path, body)
			}
		}
		for _, password := range []string{"", "short", "password1234", "a" + long + long + long + long} {
			k.want(422, "PATCH", "/admin/users/"+u.ID.String(), `{"password":"`+password+`"}`)
		}
		if !k.alive(g) {
			t.Fatal("a request that was refused signed somebody out")
		}
	})
}

func TestEveryRoute_NotFound(t *testing.T) {
	forEachDB(t, func(t *testing.T, k *kit) {
		u := k.user("anna")
		g := k.signIn(u, "settings", "203.0.113.1")
		bodies := map[string]string{"devices": `{"name":"x"}`, "users": `{"admin":true}`, "clients": `{"name":"x"}`}
		ask := func(method, path string) {
			body := ""
			if method == "PATCH" {
				body = bodies[strings.Split(path, "/")[2]]
			}
			if a := k.ask(method, path, body); a.status != 404 || a.str("code") != "not_found" {
				t.Errorf("%s %s: %d %s", method, path, a.status, a.body)
			}
		}
		bad := []string{
			"x", "%00", "a%00b", "%ff", uuid.Nil.String(), "{" + g.DeviceID.String() + "}", "urn:uuid:" + g.DeviceID.String(),
			"..%2f", strings.Repeat("a", 5000), "+1", "01", "-1", "0", "9223372036854775808", "%20",
		}
		for _, r := range k.adm.Routes() {
			if !strings.HasPrefix(r.Path, "/admin/") || !strings.Contains(r.Path, ":") {
				continue
			}
			ask(r.Method, unknown().Replace(r.Path))
			for _, text := range bad {
				ask(r.Method, strings.NewReplacer(":id", text, ":seq", text, ":client_id", text, ":name", text).Replace(r.Path))
			}
		}
		for _, filter := range []string{
			"user_id=" + uuid.NewString(), "username=nobody", "client_id=nobody", "client_id=nobody&status=active",
		} {
			ask("DELETE", "/admin/devices?"+filter)
		}
		for _, path := range []string{
			"/", "/admin", "/admin/", "/admin/nothing", "/settings/devices", "/oauth2/token", "/debug/pprof/cmdline",
		} {
			k.want(404, "GET", path, "")
		}
		for path, allow := range map[string]string{
			"/admin/devices": "GET, DELETE", "/admin/clients/web/secret": "POST", "/metrics": "GET",
		} {
			if a := k.want(405, "PUT", path, ""); a.header.Get("Allow") != allow || a.str("code") != "method_not_allowed" {
				t.Errorf("PUT %s: Allow: %q, want %q", path, a.header.Get("Allow"), allow)
			}
		}
		if !k.alive(g) {
			t.Fatal("a request for nothing signed somebody out")
		}
	})
}

// Fail closed: nothing is answered that could not be looked up.
func TestEveryRoute_DatabaseAway(t *testing.T) {
	forEachDB(t, func(t *testing.T, k *kit) {
		must(t, k.store.Close())
		check := func(method, path string) {
			if a := k.ask(method, path, ""); a.status != 503 || a.str("code") != "temporarily_unavailable" ||
				a.header.Get("Retry-After") == "" {
				t.Errorf("%s %s without the database: %d %s", method, path, a.status, a.body)
			}
		}
		k.each("/admin/", unknown(), check)
		check("GET", "/readyz")
		k.want(503, "HEAD", "/readyz", "")
		k.want(200, "GET", "/healthz", "")
		k.want(200, "GET", "/metrics", "")
	})
}

// A filter that is more than a user or a client ends what it selects and nothing beside it; one that is exactly that
// moves the level's timestamp. What the dry run counted is what goes.
func TestRevokeByFilter_EndsWhatItSelects(t *testing.T) {
	forEachDB(t, func(t *testing.T, k *kit) {
		anna, ben := k.user("anna"), k.user("ben")
		id := anna.ID.String()
		for _, c := range []struct {
			query, level     string
			in, out, by, own bool // whether it ends: anna's phone, anna's other device, ben's, and the client's own token
		}{
			{"client_id=web&ip=203.0.113.1", "device", true, false, false, false},
			{"client_id=web&q=PHONE+of+anna&ip=203.0.113.1", "device", true, false, false, false},
			{"client_id=web&q=anna", "device", true, true, false, false},
			{"user_id=" + id + "&ip=203.0.113.1", "device", true, false, false, false},
			{"username=anna&ip=203.0.113.1&status=active", "device", true, false, false, false},
			{"user_id=" + id + "&client_id=web", "device", true, true, false, false},
			{"username=anna&client_id=web&status=active", "device", true, true, false, false},
			{"user_id=" + id + "&username=anna", "device", true, true, false, false},
			{"user_id=" + id + "&username=ben", "", false, false, false, false},
			{"user_id=" + id + "&status=revoked", "", false, false, false, false},
			{"client_id=web&status=expired", "", false, false, false, false},
			{"ip=203.0.113.2", "device", false, true, false, false},
			{"status=active", "device", true, true, true, false},
			{"username=ANNA", "user", true, true, false, false},
			{"user_id=" + id + "&status=active", "user", true, true, false, false},
			{"client_id=web", "client", true, true, true, false},
			{"client_id=web&status=active", "client", true, true, true, false},
			{"confirm=everyone", "everyone", true, true, true, true},
		} {
			k.own()
			phone, other, bens := k.signIn(anna, "settings", "203.0.113.1"), k.signIn(anna, "settings", "203.0.113.2"),
				k.signIn(ben, "settings", "198.51.100.1")
			ended := 0
			for _, e := range []bool{c.in, c.out, c.by} {
				if e {
					ended++
				}
			}
			dryQuery := strings.TrimPrefix(strings.Replace(c.query, "confirm=everyone", "", 1)+"&dry_run=true", "&")
			if dry := k.want(200, "DELETE", "/admin/devices?"+dryQuery, ""); dry.json["count"] != float64(ended) ||
				!k.alive(phone) || !k.alive(other) || !k.alive(bens) {
				t.Fatalf("dry run of %s: %s, want %d", c.query, dry.body, ended)
			}
			out := k.want(200, "DELETE", "/admin/devices?"+c.query, "")
			level := ""
			if event, ok := out.json["revocation"].(map[string]any); ok {
				level = event["level"].(string)
			}
			if n := out.json["count"]; level != c.level || (n != nil && n != float64(ended)) ||
				(n == nil) != (level == "client" || level == "everyone") {
				t.Errorf("%s: %s", c.query, out.body)
			}
			for name, d := range map[string]struct{ ended, alive bool }{
				"the phone": {c.in, k.alive(phone)}, "the other device": {c.out, k.alive(other)},
				"ben's device":         {c.by, k.alive(bens)},
				"the token that asked": {c.own, k.ask("GET", "/admin/subscribers", "").status == 200},
			} {
				if d.ended == d.alive {
					t.Errorf("%s: %s is alive: %v", c.query, name, d.alive)
				}
			}
			k.own()
			k.want(200, "DELETE", "/admin/devices?confirm=everyone", "") // the next case starts with nobody
		}
	})
}

// The audit log tells a replay with both addresses, and names the admin who acts.
func TestEvents_ReplayAndAdmin(t *testing.T) {
	forEachDB(t, func(t *testing.T, k *kit) {
		u := k.user("anna")
		g := k.signIn(u, "settings", "203.0.113.1")
		second, err := k.store.RefreshDevice(
			t.Context(), models.Refresh{Token: g.RefreshToken, Client: k.web, Origin: models.Origin{IP: "203.0.113.1"}},
		)
		must(t, err)
		_, err = k.store.RefreshDevice(
			t.Context(), models.Refresh{Token: second.RefreshToken, Client: k.web, Origin: models.Origin{IP: "203.0.113.1"}},
		)
		must(t, err)
		if _, err := k.store.RefreshDevice(
			t.Context(), models.Refresh{Token: g.RefreshToken, Client: k.web, Origin: models.Origin{IP: "198.51.100.9"}},
		); err == nil {
			t.Fatal("a replay was answered")
		}
		list := k.want(
			200, "GET", "/admin/events?type=refresh_token_reuse&user_id="+strings.ToUpper(u.ID.String()), "",
		).list("events")
		if len(list) != 1 || list[0]["initiating_entity"] != "policy" || list[0]["device_id"] != g.DeviceID.String() {
			t.Fatalf("%v", list)
		}
		if d := list[0]["detail"].(map[string]any); d["owner_ip"] != "203.0.113.1" || d["replay_ip"] != "198.51.100.9" {
			t.Fatalf("%v", d)
		}
		if list := k.want(
			200, "GET", "/admin/revocations?reason=refresh_token_reuse&subject="+g.DeviceID.String(), "",
		).list("revocations"); len(list) != 1 {
			t.Fatalf("%v", list)
		}
		yes := true
		_, _, err = k.store.UpdateUser(t.Context(), u.ID, models.UserPatch{Admin: &yes}, setup)
		must(t, err)
		admin := k.signIn(u, "admin", "203.0.113.1")
		if a := k.askAs(admin.AccessToken, "POST", "/admin/clients", `{"client_id":"made","public":true}`); a.status != 201 {
			t.Fatalf("%d %s", a.status, a.body)
		}
		made := k.want(200, "GET", "/admin/events?type=client_created&client_id=made", "").list("events")
		if len(made) != 1 || made[0]["actor"] != u.ID.String() || made[0]["initiating_entity"] != "admin" ||
			made[0]["ip"] != "127.0.0.1" {
			t.Fatalf("%v", made)
		}
		// An admin may end their own right: the command line and clients remain.
		out := k.askAs(admin.AccessToken, "PATCH", "/admin/users/"+u.ID.String(), `{"admin":false}`)
		if out.status != 200 || out.json["revocation"].(map[string]any)["reason"] != "admin_removed" {
			t.Fatalf("%d %s", out.status, out.body)
		}
		if a := k.askAs(admin.AccessToken, "GET", "/admin/users", ""); a.status != 401 {
			t.Fatalf("%d %s", a.status, a.body)
		}
	})
}

// ?wait= tells how far a sign-out has come: everywhere when nobody listens, and who is missing when somebody does.
func TestWait(t *testing.T) {
	forEachDB(t, func(t *testing.T, k *kit) {
		u := k.user("anna")
		applied := func(a *reply) string { return fmt.Sprint(a.json["applied"]) }
		k.signIn(u, "settings", "203.0.113.1")
		if a := k.want(
			200, "DELETE", "/admin/users/"+u.ID.String()+"/devices?wait=10s", "",
		); applied(a) != "map[acknowledged:0 slowest_ms:0 subscribers:0]" {
			t.Fatalf("%s", a.body)
		}
		if a := k.want(200, "DELETE", "/admin/users/"+u.ID.String()+"/devices?wait=0s", ""); applied(a) != "<nil>" {
			t.Fatalf("%s", a.body)
		}
		must(
			t, k.store.Subscribe(t.Context(), &models.Lease{SubscriberID: models.SubscriberID{ClientID: "api", Name: "rs1"}}),
		)
		k.signIn(u, "settings", "203.0.113.1")
		missing := "map[acknowledged:0 missing:[api/rs1] slowest_ms:0 subscribers:1]"
		if a := k.want(200, "PATCH", "/admin/users/"+u.ID.String()+"?wait=1ms", `{"disabled":true}`); applied(a) != missing ||
			a.json["count"] != 1.0 || a.json["disabled"] != true {
			t.Fatalf("%s", a.body)
		}
		path := "/admin/users/" + u.ID.String() + "?wait=1ms"
		if a := k.want(200, "PATCH", path, `{"disabled":false}`); a.json["applied"] != nil ||
			a.json["revocation"] != nil {
			t.Fatalf("nothing was signed out: %s", a.body)
		}
		for _, path := range []string{"clients/web/devices", "users/" + u.ID.String(), "clients/web"} {
			if a := k.want(200, "DELETE", "/admin/"+path+"?wait=1ms", ""); applied(a) != missing {
				t.Fatalf("%s: %s", path, a.body)
			}
		}
		if a := k.want(200, "DELETE", "/admin/devices?ip=203.0.113.200&wait=10s", ""); a.json["revocation"] != nil ||
			a.json["count"] != 0.0 {
			t.Fatalf("nobody was there: %s", a.body)
		}
	})
}

// updated_at is the database's time of the change, like every other time.
func TestUpdatedAt(t *testing.T) {
	forEachDB(t, func(t *testing.T, k *kit) {
		u := k.user("anna")
		k.want(201, "POST", "/admin/clients", `{"client_id":"api"}`)
		for _, r := range [][3]string{
			{"PATCH", "/admin/users/" + u.ID.String(), `{"username":"Anna"}`},
			{"PATCH", "/admin/clients/api", `{"name":"Orders"}`},
			{"POST", "/admin/clients/api/secret", ""},
		} {
			path := strings.TrimSuffix(r[1], "/secret")
			before := k.want(200, "GET", path, "")
			k.want(200, r[0], r[1], r[2])
			after := k.want(200, "GET", path, "")
			if after.str("updated_at") <= before.str("updated_at") || after.str("created_at") != before.str("created_at") {
				t.Errorf("%s %s: from %s to %s", r[0], r[1], before.body, after.body)
			}
		}
	})
}
