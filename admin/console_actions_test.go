package admin

import (
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"strings"
	"testing"

	"curfew/internal/pages"
	"curfew/internal/web"
	"curfew/models"
	"curfew/server"
)

// All that is done to a user, each from the page that shows the user.
func TestConsole_Users(t *testing.T) {
	forEachDB(t, func(t *testing.T, k *kit) {
		_, b := k.admin("anna")
		b.page("/console/users/new", "User name")
		b.want(
			b.post("/console/users", "username", "ben", "password", "short"),
			422,
			"policy",
			"too easy to guess",
			`value="ben"`,
		)
		b.want(
			b.post("/console/users", "username", "anna", "password", testPassword),
			409,
			"taken",
			"That name is taken",
		)
		b.want(b.post("/console/users", "username", "", "password", testPassword), 400, "no name", "cannot be")
		a := b.post("/console/users", "username", "ben", "password", testPassword, "name", "Ben B.", "email", "ben@example.com")
		b.leads(a, "/console/users/", "ben", "Created.", "Ben B.", "ben@example.com")
		base, _, _ := strings.Cut(a.header.Get("Location"), "?")
		b.leads(b.post(base+"/profile", "username", "benny", "name", "", "email", ""), base, "benny", "Saved.")
		b.want(b.post(base+"/profile", "username", "anna"), 409, "taken", "That name is taken")
		b.want(b.post(base+"/password", "password", "password1234"), 422, "policy", "too easy")
		u := mustUser(k, "benny")
		g := k.signIn(u, "settings", "203.0.113.1")
		b.page("/console/users?prefix=BEN", "benny")
		b.page("/console/users?prefix=x&cursor=", "No user fits")
		b.want(b.get("/console/users?cursor=x"), 400, "cursor", "cannot be")
		b.leads(b.post(base+"/end"), base, "phone of benny")
		if k.alive(g) {
			t.Error("the token lives")
		}
		b.leads(b.post(base+"/admin", "admin", "1"), base, "No admin any more")
		b.leads(b.post(base+"/admin", "admin", "0"), base, "Make an admin")
		g = k.signIn(mustUser(k, "benny"), "settings", "203.0.113.1")
		b.leads(b.post(base+"/disable"), base, "disabled and signed out everywhere")
		if k.alive(g) {
			t.Error("a disabled user's token lives")
		}
		b.leads(b.post(base+"/enable"), base, "may sign in again")
		for range 40 {
			_, _ = k.store.AuthenticateUser(
				t.Context(),
				models.PasswordAttempt{Username: "benny", Password: "x", IP: "203.0.113.5"},
			)
		}
		b.page(base, "Lift the lock")
		b.leads(b.post(base+"/unlock"), base, "The lock is lifted")
		b.leads(b.post(base+"/password", "password", "another horse battery"), base, "new password is set")
		for _, typed := range []string{"", "ben", "BENNY"} {
			b.want(b.post(base+"/delete", "confirm", typed), 409, typed, "Nothing has happened")
		}
		b.leads(b.post(base+"/delete", "confirm", "benny"), "/console/users", "Deleted.")
		b.want(b.get(base), 404, "gone", "There is nothing here")
		b.want(b.post(base+"/end"), 404, "gone")
	})
}

var shownSecret = regexp.MustCompile(`<code id="secret">([^<]+)</code>`)

// All that is done to a client; a secret stands in one answer and in no other.
func TestConsole_Clients(t *testing.T) {
	forEachDB(t, func(t *testing.T, k *kit) {
		_, b := k.admin("anna")
		b.page("/console/clients", "web", "ops")
		b.page("/console/clients/new", "authorization_code")
		all := []string{
			"client_id", "shop", "name", "The Shop", "grants", "authorization_code", "grants", "refresh_token", "scopes", "settings",
			"redirect_uris", "https://shop.example/cb\r\nhttps://shop.example/cb2", "origins", "https://shop.example",
			"post_logout_redirect_uris", "https://shop.example/out", "resources", "https://orders.example", "pkce", "required",
			"access_ttl", "2m", "refresh_ttl", "48h", "device_max_age", "", "lost_answer", "1m", "max_devices", "3",
			"backchannel_logout_uri", "https://shop.example/logout",
		}
		b.want(b.post("/console/clients", append(all, "client_id", "x")...), 400, "twice")
		for name, wrong := range map[string]string{"access_ttl": "soon", "max_devices": "many", "redirect_uris": "ftp://x", "scopes": `a"b`} {
			form := append([]string{}, all...)
			for i := 0; i < len(form); i += 2 {
				if form[i] == name {
					form[i+1] = wrong
				}
			}
			b.want(b.post("/console/clients", form...), 400, name, "cannot be", "The Shop")
		}
		made := b.want(b.post("/console/clients", all...), 200, "made", "The Shop", "Created.")
		secret := shownSecret.FindStringSubmatch(made.body)
		if secret == nil {
			t.Fatal(made.body)
		}
		c, err := k.store.AuthenticateClient(t.Context(), models.ClientCredentials{ID: "shop", Secret: secret[1]})
		must(t, err)
		if c.RedirectURIs != "https://shop.example/cb https://shop.example/cb2" || c.Grants != "authorization_code refresh_token" ||
			c.BackchannelLogoutURI != "https://shop.example/logout" ||
			c.MaxDevices == nil ||
			*c.MaxDevices != 3 ||
			c.DeviceMaxAge != nil {
			t.Errorf("%+v", c)
		}
		if page := b.page("/console/clients/shop", "2m0s", "https://shop.example/cb2"); strings.Contains(
			page.body,
			secret[1],
		) {
			t.Error("the secret is shown twice")
		}
		changed := append([]string{}, all[2:]...)
		for i := 0; i < len(changed); i += 2 {
			if changed[i] == "max_devices" || changed[i] == "access_ttl" {
				changed[i+1] = ""
			}
		}
		b.leads(b.post("/console/clients/shop", changed...), "/console/clients/shop", "Saved.")
		if c, err = k.store.GetClient(t.Context(), "shop"); err != nil || c.MaxDevices != nil || c.AccessTTL != nil ||
			c.RefreshTTL == nil {
			t.Errorf("%+v, %v", c, err)
		}
		b.want(b.post("/console/clients/shop", "scopes", `a"b`, "name", "Typed"), 400, "scopes", "Typed")
		again := shownSecret.FindStringSubmatch(b.want(b.post("/console/clients/shop/secret"), 200, "secret").body)
		if again == nil || again[1] == secret[1] {
			t.Errorf("%v", again)
		}
		if _, err := k.store.AuthenticateClient(t.Context(), models.ClientCredentials{ID: "shop", Secret: secret[1]}); err == nil {
			t.Error("the old secret works")
		}
		b.want(b.post("/console/clients/web/secret"), 400, "a public client")
		g := k.signIn(k.user("ben"), "settings", "203.0.113.1")
		b.leads(b.post("/console/clients/web/end"), "/console/clients/web", "receipt")
		if k.alive(g) {
			t.Error("the token lives")
		}
		b.want(b.post("/console/clients/shop/delete", "confirm", "web"), 409, "another id", "Nothing has happened")
		b.leads(b.post("/console/clients/shop/delete", "confirm", "shop"), "/console/clients", "Deleted.")
		b.want(b.get("/console/clients/shop"), 404, "gone")
		b.want(b.get("/console/clients/a%20b"), 404, "no id")
		b.page("/console/clients/curfew", "curfew")
		for _, path := range []string{"/delete", "/secret", ""} {
			b.want(b.post("/console/clients/curfew"+path, "confirm", "curfew", "scopes", "admin"), 400, path)
		}
		if a := b.post("/console/clients", "client_id", "open", "public", "1", "grants", "password", "scopes", "settings"); a.status != 303 {
			t.Errorf("%d %s", a.status, a.body)
		}
	})
}

// A device's page, its sign-out with a receipt that fills in, and what the logs say of it.
func TestConsole_DevicesAndLogs(t *testing.T) {
	forEachDB(t, func(t *testing.T, k *kit) {
		_, b := k.admin("anna")
		ben := k.user("ben")
		g := k.signIn(ben, "settings", "203.0.113.1")
		must(t, k.store.Acknowledge(t.Context(), models.SubscriberID{ClientID: "ops", Name: "orders-1"}, 0))
		device := "/console/devices/" + g.DeviceID.String()
		b.page(
			device,
			"phone of ben",
			"203.0.113.1",
			"curl/8",
			"curfew device revoke "+g.DeviceID.String(),
			k.http.URL+"/admin/devices/",
		)
		b.leads(b.post(device+"/rename", "name", "ben's own"), device, "ben&#39;s own", "The new name is saved")
		b.want(b.post(device+"/rename", "name", "\x01"), 400, "name", "cannot be")
		a := b.post(device+"/end", "back", "/console/devices?username=ben")
		seq := seqOf(a)
		receipt := fmt.Sprintf("/console/revocations/%d/receipt", seq)
		b.leads(
			a,
			"/console/devices?",
			"0 of 1 service confirmed so far",
			"Waiting for ops/orders-1",
			`data-receipt-url="`+receipt+`"`,
		)
		if k.alive(g) {
			t.Error("the token lives")
		}
		var state pages.ReceiptState
		must(t, json.Unmarshal([]byte(b.want(b.get(receipt), 200, "receipt").body), &state))
		if state.Done || len(state.Waiting) != 1 {
			t.Errorf("%+v", state)
		}
		must(t, k.store.Acknowledge(t.Context(), models.SubscriberID{ClientID: "ops", Name: "orders-1"}, seq))
		must(t, json.Unmarshal([]byte(b.get(receipt).body), &state))
		if !state.Done {
			t.Errorf("%+v", state)
		}
		b.leads(b.post(device+"/end", "back", "https://evil.test/"), "/console/?")
		b.leads(b.post(device+"/end"), device, "nothing to do")
		b.page(device, "Signed out", "revoked by an admin")
		b.page(fmt.Sprintf("/console/revocations/%d", seq), "orders-1", "revoked by an admin", "anna")
		b.page("/console/revocations?level=device&subject=&reason=", "revoked by an admin")
		b.want(b.get("/console/revocations?level=planet"), 400, "level", "level must be")
		b.want(b.get("/console/revocations/999"), 404, "no such")
		b.want(b.get("/console/revocations/01"), 404, "no such")
		b.want(b.get("/console/revocations/999/receipt"), 404, "no such")
		b.page("/console/followers", "orders-1", "ops")
		b.want(b.get("/console/followers?cursor=forged"), 400, "cursor")
		b.leads(
			b.post("/console/followers/forget", "client_id", "ops", "name", "orders-1"),
			"/console/followers",
			"Deleted.",
		)
		b.want(b.post("/console/followers/forget", "client_id", "ops", "name", "orders-1"), 404, "gone")
		b.want(b.post("/console/followers/forget", "client_id", "\x00", "name", "a"), 400, "NUL")
		b.want(b.post("/console/followers/forget", "client_id", "a b", "name", "a"), 404, "no name")
		b.page("/console/events", "<strong>anna</strong> renamed")
		b.page(
			"/console/events?type=device_renamed&user_id="+ben.ID.String()+"&from=2020-01-01T00:00:00Z&to=",
			"renamed",
		)
		b.page("/console/events?type=keys_rotated")
		b.want(b.get("/console/events?from=yesterday"), 400, "time", "RFC 3339")
		b.want(b.get("/console/events?nothing=1"), 400, "unknown parameter")
		b.page("/console/devices?status=revoked&username=ben&q=&ip=&client_id=", "ben&#39;s own")
		b.want(b.get("/console/devices?status=odd"), 400, "status", "status must be")
		b.want(b.get("/console/devices?cursor=x"), 400, "cursor")
		b.want(b.get("/console/devices/x"), 404, "no id")
	})
}

// A replay shows both addresses side by side; the children of a browser's session stand on its page.
func TestConsole_ReplayAndChildren(t *testing.T) {
	forEachDB(t, func(t *testing.T, k *kit) {
		_, b := k.admin("anna")
		ben := k.user("ben")
		g := k.signIn(ben, "settings", "203.0.113.1")
		next := g
		for range 2 {
			var err error
			next, err = k.store.RefreshDevice(t.Context(), models.Refresh{
				Token: next.RefreshToken, Client: k.web, Origin: models.Origin{IP: "203.0.113.1", UserAgent: "curl/8"},
			})
			must(t, err)
		}
		_, err := k.store.RefreshDevice(t.Context(), models.Refresh{
			Token: g.RefreshToken, Client: k.web, Origin: models.Origin{IP: "198.51.100.66", UserAgent: "thief/1"},
		})
		if err == nil {
			t.Fatal("a replay was taken")
		}
		b.page(
			"/console/events?type=refresh_token_reuse",
			"198.51.100.66",
			"203.0.113.1",
			"thief/1",
			"The device itself",
			"The same key from",
		)
		s, _, err := k.store.SignInBrowser(
			t.Context(),
			models.BrowserSignIn{User: ben, ClientID: models.ClientBrowser, Name: "ben's browser"},
		)
		must(t, err)
		child := k.signIn(ben, "settings", "203.0.113.2")
		k.exec(`UPDATE devices SET parent_id = (SELECT id FROM devices WHERE name = 'ben''s browser')
			WHERE ip = '203.0.113.2'`)
		b.page("/console/devices/"+s.ID.String(), child.DeviceID.String(), "phone of ben")
		b.page("/console/devices/"+child.DeviceID.String(), s.ID.String())
	})
}

// Everyone is a word to type, and the admin too is out afterwards.
func TestConsole_Everyone(t *testing.T) {
	forEachDB(t, func(t *testing.T, k *kit) {
		_, b := k.admin("anna")
		g := k.signIn(k.user("ben"), "settings", "203.0.113.1")
		b.page("/console/everyone", "everyone")
		for _, typed := range []string{"", "Everyone", "everybody"} {
			b.want(b.post("/console/everyone", "confirm", typed), 409, typed, "Nothing has been signed out")
		}
		if !k.alive(g) {
			t.Fatal("a wrong word signed everyone out")
		}
		a := b.post("/console/everyone", "confirm", "everyone")
		if a.status != 303 || k.alive(g) {
			t.Fatalf("%d %s", a.status, a.body)
		}
		if to := b.get(a.header.Get("Location")); !strings.HasPrefix(
			to.header.Get("Location"),
			"/console/sign-in?return=",
		) {
			t.Errorf("%d %v", to.status, to.header)
		}
		back, _ := url.Parse(b.get(a.header.Get("Location")).header.Get("Location"))
		b.get("/console/sign-in")
		in := b.post(
			"/console/sign-in",
			"username",
			"anna",
			"password",
			testPassword,
			"return",
			back.Query().Get("return"),
		)
		b.leads(in, "/console/revocations/", "There is no service to wait for")
	})
}

// Ensure a form that was shown to one admin does nothing once another one has signed in in another tab.
func TestConsole_TwoTabs(t *testing.T) {
	forEachDB(t, func(t *testing.T, k *kit) {
		_, b := k.admin("anna")
		ben := k.user("ben")
		g := k.signIn(ben, "settings", "203.0.113.1")
		shown := hidden(b.page("/console/users/"+ben.ID.String(), "ben"))
		if len(shown) < 2 || shown[0] != "session" || shown[1] != b.session() {
			t.Fatalf("the forms do not say for whom they were shown: %q", shown)
		}
		_, other := k.admin("carl")
		b.cookies = other.cookies
		path := "/console/users/" + ben.ID.String() + "/end"
		b.want(b.post(path, shown[:2]...), 409, "a form of anna's", "This page is too old")
		b.want(b.post(path, "session", ""), 409, "a form of nobody's", "This page is too old")
		if !k.alive(g) {
			t.Fatal("somebody else's form signed the user out")
		}
		if b.post(path); k.alive(g) {
			t.Fatal("the admin's own form did nothing")
		}
	})
}

// The console's cookie opens nothing but the console: not the public pages, no API of either listener.
func TestConsole_CookieElsewhere(t *testing.T) {
	forEachDB(t, func(t *testing.T, k *kit) {
		_, b := k.admin("anna")
		shell, err := pages.New(pages.Config{})
		must(t, err)
		srv, err := server.New(server.Config{
			Store: k.store, Issuer: "http://127.0.0.1:8080", Metrics: web.NewMetrics(k.store), Pages: shell,
			Logger: slog.New(slog.DiscardHandler),
		})
		must(t, err)
		t.Cleanup(srv.Close)
		public := httptest.NewServer(srv.Handler())
		t.Cleanup(public.Close)
		value := b.cookies[consoleCookie]
		ask := func(url, cookie, bearer string) (int, string) {
			r, err := http.NewRequestWithContext(t.Context(), "GET", url, nil)
			must(t, err)
			if cookie != "" {
				r.AddCookie(&http.Cookie{Name: cookie, Value: value})
			}
			if bearer != "" {
				r.Header.Set("Authorization", "Bearer "+bearer)
			}
			res, err := http.DefaultTransport.RoundTrip(r)
			must(t, err)
			defer res.Body.Close()
			body, _ := io.ReadAll(res.Body)
			return res.StatusCode, res.Header.Get("Location") + string(body)
		}
		for _, name := range []string{"__Host-curfew", consoleCookie} {
			if status, text := ask(public.URL+"/account", name, ""); status != 303 ||
				!strings.HasPrefix(text, "/sign-in") {
				t.Errorf("%s at the public listener: %d %s", name, status, text)
			}
			if status, _ := ask(public.URL+"/settings/devices", name, ""); status != 401 {
				t.Errorf("%s at the settings: %d", name, status)
			}
			if status, _ := ask(k.http.URL+"/admin/users", name, ""); status != 401 {
				t.Errorf("%s at the admin API: %d", name, status)
			}
		}
		for _, url := range []string{public.URL + "/settings/devices", k.http.URL + "/admin/users"} {
			if status, _ := ask(url, "", value); status != 401 {
				t.Errorf("as a token at %s: %d", url, status)
			}
		}
		if _, err := k.store.RefreshDevice(t.Context(), models.Refresh{Token: value, Client: k.web}); err == nil {
			t.Error("it refreshes")
		}
	})
}

// Where no browser would keep the cookie there are no pages, and no name of another machine leads to them.
func TestConsole_Host(t *testing.T) {
	forEachDB(t, func(t *testing.T, k *kit) {
		ask := func(host, path string) int {
			r, err := http.NewRequestWithContext(t.Context(), "GET", k.http.URL+path, nil)
			must(t, err)
			r.Host = host
			res, err := http.DefaultTransport.RoundTrip(r)
			must(t, err)
			res.Body.Close()
			return res.StatusCode
		}
		for _, host := range []string{"admin.example", "10.0.0.1:8081", "localhost.evil.test"} {
			for _, path := range []string{"/console/", "/console/sign-in", "/console/devices"} {
				if status := ask(host, path); status != 403 {
					t.Errorf("%s%s: %d", host, path, status)
				}
			}
		}
		if status := ask("localhost:8081", "/console/sign-in"); status != 200 {
			t.Errorf("%d", status)
		}
		for _, path := range []string{"/pages/none.css"} {
			b := k.browser()
			b.want(b.get(path), 404, path)
			b.want(b.do("HEAD", path, nil), 404, path)
		}
		page := k.browser().get("/console/sign-in")
		style := regexp.MustCompile(`/pages/style-[0-9a-f]+\.css`).FindString(page.body)
		b := k.browser()
		b.want(b.get(style), 200, style)
		b.want(b.do("HEAD", style, nil), 200, style)
	})
}
