package server

import (
	"bytes"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"curfew/internal/web"
	"curfew/models"
)

// holdWaits takes all the places of a caller.
func (k *kit) holdWaits(caller string) {
	k.t.Helper()
	for range models.Default().Limits.Waits {
		leave, err := k.store.EnterWait(caller)
		if err != nil {
			k.t.Fatal(err)
		}
		k.t.Cleanup(leave)
	}
}

// A user's receipts count the resource servers and name none.
func TestSettings_ReceiptsHaveCountsOnly(t *testing.T) {
	forEachDB(t, func(t *testing.T, k *kit) {
		if err := k.store.Subscribe(t.Context(), &models.Lease{
			SubscriberID: models.SubscriberID{ClientID: "api", Name: "silent"},
		}); err != nil {
			t.Fatal(err)
		}
		g := k.signIn("anna")
		changed := k.bearer("PUT", "/settings/password?wait=1ms", g.str("access_token"),
			`{"current_password":"`+testPassword+`","new_password":"a better one it is"}`)
		out := k.bearer("DELETE", "/settings/devices?wait=1ms", changed.str("access_token"), "")
		for _, a := range []*answer{changed, out} {
			if fmt.Sprint(a.json["applied"]) != "map[acknowledged:0 slowest_ms:0 subscribers:1]" {
				t.Errorf("%d %s", a.status, a.body)
			}
		}
	})
}

// Who waits too often at a time is refused before anything is signed out, and can sign out without waiting.
func TestSettings_WaitsAreBounded(t *testing.T) {
	forEachDB(t, func(t *testing.T, k *kit) {
		k.user("ben")
		g := k.signIn("anna")
		u, err := k.store.FindUser(t.Context(), "anna")
		if err != nil {
			t.Fatal(err)
		}
		k.holdWaits(u.ID.String())
		token := g.str("access_token")
		for _, r := range [][3]string{
			{"DELETE", "/settings/devices?wait=1s", ""},
			{"DELETE", "/settings/devices/current?wait=1s", ""},
			{
				"PUT", "/settings/password?wait=1s",
				`{"current_password":"` + testPassword + `","new_password":"a better one it is"}`,
			},
		} {
			a := k.bearer(r[0], r[1], token, r[2])
			if a.status != http.StatusTooManyRequests || a.header.Get("Retry-After") == "" ||
				!strings.Contains(a.str("detail"), "50 are allowed") {
				t.Errorf("%s %s: %d %s", r[0], r[1], a.status, a.body)
			}
		}
		if !k.active(token) {
			t.Fatal("a refused request signed out")
		}
		if a := k.bearer("DELETE", "/settings/devices/current", token, ""); a.status != http.StatusOK {
			t.Fatalf("%d %s", a.status, a.body)
		}
		if a := k.bearer("DELETE", "/settings/devices?wait=1s", k.signIn("ben").str("access_token"), ""); a.status != 200 {
			t.Fatalf("somebody else: %d %s", a.status, a.body)
		}
		// The place is given back with the answer: as often as one likes, one after the other.
		for range models.Default().Limits.Waits + 2 {
			if a := k.bearer("DELETE", "/settings/devices?wait=1ms", k.signIn("ben").str("access_token"), ""); a.status != 200 {
				t.Fatalf("one after the other: %d %s", a.status, a.body)
			}
		}
	}, func(c *models.Config) { c.Limits.SignIns = 1000 })
}

func TestSettings_RenamesAreBounded(t *testing.T) {
	forEachDB(t, func(t *testing.T, k *kit) {
		token := k.signIn("anna").str("access_token")
		rename := func(name string) *answer {
			return k.bearer("PATCH", "/settings/devices/current", token, `{"name":"`+name+`"}`)
		}
		for _, name := range []string{"one", "one", "one", "two"} {
			if a := rename(name); a.status != http.StatusOK {
				t.Fatalf("%d %s", a.status, a.body)
			}
		}
		for range 2 {
			if a := rename("three"); a.status != http.StatusTooManyRequests || a.header.Get("Retry-After") == "" ||
				!strings.Contains(a.str("detail"), "renames") {
				t.Errorf("%d %s", a.status, a.body)
			}
		}
	}, func(c *models.Config) { c.Limits.Renames = 2 })
}

func TestToken_SignInsAreBounded(t *testing.T) {
	forEachDB(t, func(t *testing.T, k *kit) {
		k.signIn("anna")
		a := k.form("/oauth2/token", "grant_type", "password", "client_id", "web", "username", "anna",
			"password", testPassword)
		if a.status != http.StatusTooManyRequests || a.header.Get("Retry-After") == "" ||
			!strings.Contains(a.str("error_description"), "sign-ins") {
			t.Errorf("%d %s", a.status, a.body)
		}
	}, func(c *models.Config) { c.Limits.SignIns = 1 })
}

// One name too many is told so, on the stream and when it acknowledges; a known one goes on.
func TestFeed_SubscribersAreBounded(t *testing.T) {
	forEachDB(t, func(t *testing.T, k *kit) {
		api := k.apiToken()
		for range 2 {
			k.follow("?subscriber=one", api, "").next()
		}
		for _, a := range []*answer{
			k.bearer("GET", "/oauth2/revocations?subscriber=two", api, ""),
			k.bearer("POST", "/oauth2/revocations/ack", api, `{"subscriber":"two","seq":0}`),
		} {
			if a.status != http.StatusForbidden || a.str("code") != "limit_reached" ||
				!strings.Contains(a.str("detail"), "1 are allowed") {
				t.Errorf("%d %s", a.status, a.body)
			}
		}
		if a := k.bearer("POST", "/oauth2/revocations/ack", api, `{"subscriber":"one","seq":0}`); a.status != 204 {
			t.Errorf("%d %s", a.status, a.body)
		}
	}, func(c *models.Config) { c.Limits.Subscribers = 1 })
}

// The request log says why a request was refused, and tells apart what the client is not told.
func TestLog_SaysWhyARequestIsRefused(t *testing.T) {
	forEachDB(t, func(t *testing.T, k *kit) {
		var log bytes.Buffer
		srv, err := New(Config{
			Store: k.store, Metrics: web.NewMetrics(k.store), Logger: slog.New(slog.NewJSONHandler(&log, nil)), Issuer: k.url,
		})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(srv.Close)
		for form, want := range map[string]string{
			"grant_type=password&client_id=web&username=anna&password=wrong":         `"reason":"password"`,
			"grant_type=refresh_token&client_id=web&refresh_token=x":                 `"reason":"refresh_token"`,
			"grant_type=password&client_id=web&username=anna&password=a&device_id=x": `"reason":"device_id must be a UUID`,
			"client_id=web": `"reason":"grant_type is missing"`,
		} {
			log.Reset()
			r := httptest.NewRequest("POST", "/oauth2/token", strings.NewReader(form))
			r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
			w := httptest.NewRecorder()
			srv.Handler().ServeHTTP(w, r)
			if w.Code != http.StatusBadRequest || !strings.Contains(log.String(), want) {
				t.Errorf("%s: %d, logged %s", form, w.Code, log.String())
			}
		}
	})
}
