package admin

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/uuid"

	"curfew/internal/apitest"
	"curfew/models"
)

func TestRoutes(t *testing.T) {
	forEachDB(t, func(t *testing.T, k *kit) {
		must(t, apitest.Routes("admin", k.adm.Routes()))
		for _, path := range []string{"/healthz", "/readyz"} {
			k.want(200, "GET", path, "")
			k.want(200, "HEAD", path, "")
		}
	})
}

// Deny by default: every route but the health checks, the metrics and the profiles.
func TestScope(t *testing.T) {
	forEachDB(t, func(t *testing.T, k *kit) {
		u := k.user("anna")
		plain := k.signIn(u, "settings", "203.0.113.1")
		for _, r := range k.adm.Routes() {
			if !strings.HasPrefix(r.Path, "/admin/") {
				continue
			}
			path := strings.NewReplacer(":id", uuid.NewString(), ":seq", "1", ":client_id", "x", ":name", "x").Replace(r.Path)
			if a := k.askAs("", r.Method, path, ""); a.status != 401 ||
				a.header.Get("WWW-Authenticate") != `Bearer realm="curfew"` {
				t.Errorf("%s %s without a token: %d", r.Method, path, a.status)
			}
			if a := k.askAs(plain.AccessToken, r.Method, path, ""); a.status != 403 || a.str("code") != "insufficient_scope" {
				t.Errorf("%s %s without the scope: %d", r.Method, path, a.status)
			}
		}
		// An admin's token ends with the right, at once.
		yes, no := true, false
		_, _, err := k.store.UpdateUser(t.Context(), u.ID, models.UserPatch{Admin: &yes}, setup)
		must(t, err)
		admin := k.signIn(u, "admin", "203.0.113.1")
		if a := k.askAs(admin.AccessToken, "GET", "/admin/devices", ""); a.status != 200 {
			t.Fatalf("an admin: %d %s", a.status, a.body)
		}
		_, _, err = k.store.UpdateUser(t.Context(), u.ID, models.UserPatch{Admin: &no}, setup)
		must(t, err)
		if a := k.askAs(admin.AccessToken, "GET", "/admin/devices", ""); a.status != 401 {
			t.Fatalf("no admin any more: %d %s", a.status, a.body)
		}
	})
}

// tenDevices are five of anna's and five of ben's, in turn.
func (k *kit) tenDevices() (anna, ben *models.User, grants []*models.Grant) {
	k.t.Helper()
	anna, ben = k.user("anna"), k.user("ben")
	for i := range 5 {
		grants = append(grants,
			k.signIn(anna, "settings", fmt.Sprintf("203.0.113.%d", i)), k.signIn(ben, "settings", "198.51.100.1"))
	}
	return anna, ben, grants
}

// level is that of the event of a sign-out.
func level(a *reply) any { return a.json["revocation"].(map[string]any)["level"] }

func TestDevices(t *testing.T) {
	forEachDB(t, func(t *testing.T, k *kit) {
		anna, _, grants := k.tenDevices()
		seen := map[string]bool{}
		for path := "/admin/devices?limit=3"; path != ""; {
			page := k.want(200, "GET", path, "")
			for _, d := range page.list("devices") {
				if seen[d["id"].(string)] {
					t.Fatal("a device is on two pages")
				}
				seen[d["id"].(string)] = true
			}
			if path = ""; page.str("next_cursor") != "" {
				path = "/admin/devices?limit=3&cursor=" + page.str("next_cursor")
			}
		}
		if len(seen) != 10 {
			t.Fatalf("%d devices on all pages", len(seen))
		}
		for query, want := range map[string]int{
			"user_id=" + anna.ID.String(): 5, "username=BEN": 5, "client_id=web": 10, "client_id=ops": 0, "status=active": 10,
			"status=revoked": 0,
			"status=expired": 0, "ip=203.0.113.2": 1, "ip=::ffff:203.0.113.2": 1, "ip=2001:DB8::1": 0, "q=PHONE+OF+BEN": 5,
			"q=curl": 10, "q=%25": 0, "username=nobody": 0,
			"user_id=" + anna.ID.String() + "&username=ben": 0, "username=anna&q=phone&status=active": 5,
		} {
			if n := len(k.want(200, "GET", "/admin/devices?"+query, "").list("devices")); n != want {
				t.Errorf("%s: %d devices, want %d", query, n, want)
			}
		}
		id := grants[0].DeviceID.String()
		if d := k.want(200, "PATCH", "/admin/devices/"+id, `{"name":"stolen?"}`); d.str("name") != "stolen?" {
			t.Fatalf("%s", d.body)
		}
		out := k.want(200, "DELETE", "/admin/devices/"+id+"?wait=10ms", "")
		if out.json["count"] != 1.0 || k.alive(grants[0]) || out.json["applied"] == nil {
			t.Fatalf("%s", out.body)
		}
		if d := k.want(200, "GET", "/admin/devices/"+id, ""); d.str("status") != "revoked" {
			t.Fatalf("%s", d.body)
		}
		if again := k.want(200, "DELETE", "/admin/devices/"+id, ""); again.json["count"] != 0.0 ||
			again.json["revocation"] == nil {
			t.Fatalf("%s", again.body)
		}
		k.want(404, "DELETE", "/admin/devices/"+uuid.NewString(), "")
	})
}

// A dry run does nothing, the real one ends exactly what the list shows.
func TestRevokeDevices(t *testing.T) {
	forEachDB(t, func(t *testing.T, k *kit) {
		anna, _, grants := k.tenDevices()
		k.want(200, "DELETE", "/admin/devices/"+grants[0].DeviceID.String(), "")
		if dry := k.want(200, "DELETE", "/admin/devices?q=203.&dry_run=true", ""); dry.json["count"] != 0.0 {
			t.Fatalf("%s", dry.body)
		}
		if dry := k.want(200, "DELETE", "/admin/devices?ip=198.51.100.1&dry_run=true", ""); dry.json["count"] != 5.0 ||
			dry.json["dry_run"] != true || !k.alive(grants[1]) {
			t.Fatalf("%s", dry.body)
		}
		if out := k.want(200, "DELETE", "/admin/devices?ip=198.51.100.1", ""); out.json["count"] != 5.0 ||
			k.alive(grants[1]) || !k.alive(grants[2]) {
			t.Fatalf("%s", out.body)
		}
		if out := k.want(200, "DELETE", "/admin/devices?username=Anna&status=active", ""); level(out) != "user" ||
			out.json["count"] != 4.0 || k.alive(grants[2]) {
			t.Fatalf("%s", out.body)
		}
		k.signIn(anna, "settings", "203.0.113.1")
		if out := k.want(200, "DELETE", "/admin/users/"+anna.ID.String()+"/devices", ""); level(out) != "user" {
			t.Fatalf("%s", out.body)
		}
		if out := k.want(200, "DELETE", "/admin/devices?client_id=web", ""); level(out) != "client" ||
			out.json["count"] != nil {
			t.Fatalf("%s", out.body)
		}
		if out := k.want(200, "DELETE", "/admin/clients/web/devices", ""); level(out) != "client" {
			t.Fatalf("%s", out.body)
		}
		list := k.want(200, "GET", "/admin/users/"+anna.ID.String()+"/devices?status=revoked", "")
		if len(list.list("devices")) != 6 {
			t.Fatalf("%s", list.body)
		}
	})
}

// Everyone must be said.
func TestRevokeEveryone(t *testing.T) {
	forEachDB(t, func(t *testing.T, k *kit) {
		anna, ben := k.user("anna"), k.user("ben")
		last := k.signIn(anna, "settings", "203.0.113.1")
		k.signIn(ben, "settings", "198.51.100.1")
		if dry := k.want(200, "DELETE", "/admin/devices?dry_run=true", ""); dry.json["count"] != 2.0 ||
			dry.json["dry_run"] != true {
			t.Fatalf("%s", dry.body)
		}
		for _, query := range []string{"", "?confirm=yes", "?dry_run=false", "?dry_run=true&confirm=yes", "?wait=1s"} {
			if a := k.want(400, "DELETE", "/admin/devices"+query, ""); a.str("code") != "confirmation_required" {
				t.Errorf("%q: %s", query, a.body)
			}
		}
		for _, query := range []string{
			"confirm=everyone&ip=1.1.1.1", "confirm=everyone&ip=1.1.1.1&dry_run=true", "user_id=", "username=", "client_id=",
			"status=", "ip=", "q=", "confirm=",
			"confirm=everyone&user_id=", "user=x", "dry_run=1&confirm=everyone", "dry_run=&confirm=everyone",
			"dry_run=true&wait=never", "confirm=everyone&wait=11s",
			"confirm=everyone&confirm=everyone", "confirm=everyone&limit=1", "ip=203.0.113",
			"user_id=" + strings.ReplaceAll(anna.ID.String(), "-", ""),
		} {
			if a := k.want(400, "DELETE", "/admin/devices?"+query, ""); a.str("code") != "invalid_request" {
				t.Errorf("%s: %s", query, a.body)
			}
		}
		if !k.alive(last) {
			t.Fatal("a mistake signed everyone out")
		}
		if out := k.want(200, "DELETE", "/admin/devices?confirm=everyone", ""); level(out) != "everyone" || k.alive(last) {
			t.Fatalf("%s", out.body)
		}
		if a := k.ask("GET", "/admin/devices", ""); a.status != 401 {
			t.Fatalf("everyone is also who asked: %d", a.status)
		}
	})
}

func TestClients(t *testing.T) {
	forEachDB(t, func(t *testing.T, k *kit) {
		made := k.want(
			201, "POST", "/admin/clients",
			`{"client_id":"api","grants":["client_credentials"],"scopes":["revocations"],"introspect":true}`,
		)
		secret := made.str("client_secret")
		if secret == "" || made.header.Get("Location") != "/admin/clients/api" {
			t.Fatalf("%s", made.body)
		}
		k.want(409, "POST", "/admin/clients", `{"client_id":"api"}`)
		for _, bad := range []string{
			`{"client_id":"a b"}`, `{"client_id":"x","grants":["magic"]}`, `{"client_id":"x","scopes":["a b"]}`,
			`{"client_id":"x","public":true,"introspect":true}`,
			`{"client_id":"x","public":true,"grants":["client_credentials"]}`, `{"client_id":"x","grants":["refresh_token"]}`,
			`{"client_id":7}`,
		} {
			k.want(400, "POST", "/admin/clients", bad)
		}
		if a := k.want(200, "GET", "/admin/clients/api", ""); strings.Contains(a.body, "secret") {
			t.Fatalf("%s", a.body)
		}
		if list := k.want(200, "GET", "/admin/clients?limit=2", ""); len(list.list("clients")) != 2 ||
			list.str("next_cursor") == "" {
			t.Fatalf("%s", list.body)
		}
		auth := func(secret string) error {
			_, err := k.store.AuthenticateClient(
				t.Context(), models.ClientCredentials{ID: "api", Secret: secret, IP: "203.0.113.1"},
			)
			return err
		}
		must(t, auth(secret))
		next := k.want(200, "POST", "/admin/clients/api/secret", "").str("client_secret")
		if auth(secret) == nil {
			t.Fatal("the old secret works")
		}
		must(t, auth(next))
		k.want(400, "POST", "/admin/clients/web/secret", "")
		if a := k.want(200, "PATCH", "/admin/clients/api", `{"name":"Orders","scopes":[]}`); a.str("name") != "Orders" ||
			len(a.json["scopes"].([]any)) != 0 {
			t.Fatalf("%s", a.body)
		}
		less := `{"introspect":false,"grants":["password","refresh_token"]}`
		if a := k.want(200, "PATCH", "/admin/clients/api", less); a.json["introspect"] != false ||
			fmt.Sprint(a.json["grants"]) != "[password refresh_token]" || a.str("name") != "Orders" {
			t.Fatalf("%s", a.body)
		}
		k.want(200, "DELETE", "/admin/clients/api", "")
		for _, method := range []string{"GET", "DELETE"} {
			k.want(404, method, "/admin/clients/api", "")
		}
		k.want(404, "DELETE", "/admin/clients/api/devices", "")
	})
}

func TestRevocationsAndReceipts(t *testing.T) {
	forEachDB(t, func(t *testing.T, k *kit) {
		u := k.user("anna")
		rs := models.SubscriberID{ClientID: "api", Name: "rs1"}
		must(
			t,
			k.store.Subscribe(
				t.Context(), &models.Lease{SubscriberID: rs},
				&models.Lease{SubscriberID: models.SubscriberID{ClientID: "api", Name: "rs2"}},
			),
		)
		var seqs []int64
		for range 4 {
			g := k.signIn(u, "settings", "203.0.113.1")
			out := k.want(200, "DELETE", "/admin/devices/"+g.DeviceID.String(), "")
			seqs = append(seqs, int64(out.json["revocation"].(map[string]any)["seq"].(float64)))
		}
		must(t, k.store.Acknowledge(t.Context(), rs, seqs[3]))
		page := k.want(200, "GET", "/admin/revocations?limit=3", "")
		if list := page.list("revocations"); len(list) != 3 || list[0]["seq"] != float64(seqs[3]) ||
			list[0]["reason"] != "revoked" || list[0]["initiating_entity"] != "admin" || list[0]["actor"] != "ops" {
			t.Fatalf("%s", page.body)
		}
		if rest := k.want(
			200, "GET", "/admin/revocations?limit=3&cursor="+page.str("next_cursor"), "",
		); len(rest.list("revocations")) != 1 {
			t.Fatalf("%s", rest.body)
		}
		k.want(400, "GET", "/admin/revocations?cursor="+page.str("next_cursor")+"A", "")
		k.want(400, "GET", "/admin/revocations?level=planet", "")
		r := k.want(200, "GET", fmt.Sprintf("/admin/revocations/%d", seqs[3]), "")
		subs := r.list("subscribers")
		if len(subs) != 2 || subs[0]["acknowledged"] != true || subs[0]["ms"] == nil ||
			subs[1]["acknowledged"] != false || subs[1]["live"] != true {
			t.Fatalf("%s", r.body)
		}
		k.want(404, "GET", "/admin/revocations/999", "")
		for _, text := range []string{"0%d", "+%d", "%d.0", "%%20%d"} { // one event, one address
			k.want(404, "GET", "/admin/revocations/"+fmt.Sprintf(text, seqs[3]), "")
		}
		k.want(404, "GET", "/admin/revocations/x", "")
		if a := k.want(200, "GET", "/admin/subscribers", ""); len(a.list("subscribers")) != 2 {
			t.Fatalf("%s", a.body)
		}
		first := k.want(200, "GET", "/admin/subscribers?limit=1", "")
		second := k.want(200, "GET", "/admin/subscribers?limit=1&cursor="+first.str("next_cursor"), "")
		if len(second.list("subscribers")) != 1 || second.list("subscribers")[0]["name"] != "rs2" ||
			second.str("next_cursor") != "" {
			t.Fatalf("%s, then %s", first.body, second.body)
		}
		k.want(204, "DELETE", "/admin/subscribers/api/rs2", "")
		k.want(404, "DELETE", "/admin/subscribers/api/rs2", "")
		if r := k.want(200, "GET", fmt.Sprintf("/admin/revocations/%d", seqs[3]), ""); len(r.list("subscribers")) != 1 {
			t.Fatalf("%s", r.body)
		}
	})
}
