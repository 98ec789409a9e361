package admin

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	"curfew/models"
)

// A webhook's life in the console: made, tried, its secret changed and shown once, deleted by its host's name.
func TestConsole_Receivers(t *testing.T) {
	forEachDB(t, func(t *testing.T, k *kit) {
		var status, got atomic.Int64
		status.Store(http.StatusNoContent)
		hook := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.Header.Get("Webhook-Signature") != "" {
				got.Add(1)
			}
			w.WriteHeader(int(status.Load()))
		}))
		t.Cleanup(hook.Close)
		_, b := k.admin("anna")
		b.page("/console/receivers", "No app is to be told", "curfew webhook list", k.http.URL+"/admin/receivers")
		b.page("/console/receivers/new", models.NoticeUserOut, "curfew webhook add URL")
		b.want(b.get("/console/receivers?nothing=1"), 400, "unknown parameter")
		for _, wrong := range [][]string{
			{"url", "ftp://wrong.example"}, {"url", ""}, {"url", "https://wrong.example", "types", "device.born"},
		} {
			b.want(b.post("/console/receivers", append(wrong, "types", models.NoticeUserOut)...), 400, wrong[1], "cannot be",
				`value="`+wrong[1]+`"`, `value="user.signed_out" checked`)
		}
		made := b.want(b.post("/console/receivers", "url", hook.URL, "types", models.NoticeUserOut, "types",
			models.NoticeEveryoneOut), 200, "made", "Created.", models.SecretPrefix, "Not tried yet")
		list, err := k.store.ListReceivers(t.Context(), "")
		must(t, err)
		if len(list) != 1 || list[0].Types != "user.signed_out everyone.signed_out" {
			t.Fatalf("%+v", list)
		}
		path := "/console/receivers/" + list[0].ID.String()
		host := strings.TrimPrefix(hook.URL, "http://")
		b.page("/console/receivers", host, path)
		secret := shownSecret.FindStringSubmatch(made.body)
		page := b.page(path, hook.URL, "user.signed_out", "curfew webhook rotate "+list[0].ID.String(), "/admin/webhooks/")
		if secret == nil || strings.Contains(page.body, models.SecretPrefix) {
			t.Errorf("the secret is not shown once: %v", secret)
		}
		b.want(b.post(path+"/test"), 200, "a good answer", "It took the test: 204 No Content")
		status.Store(http.StatusTeapot)
		b.want(b.post(path+"/test"), 200, "a bad answer", "did not take the test: 418")
		if got.Load() != 2 {
			t.Errorf("%d signed messages came, want 2", got.Load())
		}
		again := shownSecret.FindStringSubmatch(b.want(b.post(path+"/secret"), 200, "a new secret").body)
		if again == nil || again[1] == secret[1] {
			t.Errorf("%v", again)
		}
		for _, typed := range []string{"", "web", strings.ToUpper(hook.URL)} {
			b.want(b.post(path+"/delete", "confirm", typed), 409, typed, "Nothing has happened")
		}
		b.leads(b.post(path+"/delete", "confirm", host), "/console/receivers", "Deleted.", "No app is to be told")
		for _, gone := range []string{"/test", "/secret", "/delete"} {
			b.want(b.post(path+gone, "confirm", host), 404, gone)
		}
		b.want(b.get(path), 404, "gone")
		b.want(b.get("/console/receivers/x"), 404, "no id")
	})
}

// A client's address for back-channel logout is a receiver too, and no webhook. How it goes with a receiver, whatever
// that one answered, is text on the pages; and a revocation says who was told beside where it was applied.
func TestConsole_ReceiversTold(t *testing.T) {
	forEachDB(t, func(t *testing.T, k *kit) {
		_, b := k.admin("anna")
		var err error
		k.web, err = k.store.UpdateClient(t.Context(), "web",
			models.ClientPatch{BackchannelLogoutURI: new("https://web.example/logout")}, setup)
		must(t, err)
		list, err := k.store.ListReceivers(t.Context(), "")
		must(t, err)
		path := "/console/receivers/" + list[0].ID.String()
		b.page(path, "Back-channel logout", `href="/console/clients/web"`, "https://web.example/logout")
		for _, webhooks := range []string{"/test", "/secret", "/delete"} {
			b.want(b.post(path+webhooks, "confirm", "web.example"), 404, webhooks)
		}
		k.want(404, "GET", "/admin/webhooks/"+list[0].ID.String(), "")

		fails, _, err := k.store.CreateWebhook(t.Context(), "https://hook.example/", nil, setup)
		must(t, err)
		const evil = `"><script>alert(1)</script><img src=x onerror=alert(1)>`
		k.exec(`UPDATE receivers SET last_answer = '` + evil + `', url = 'https://hook.example/` + evil + `', tries = 7,
			dropped = 12, last_try_at = 1764000000000000, failing_since = 1764000000000000, next_try_at = 1764000000000000
			WHERE kind = 'webhook'`)
		k.exec(`UPDATE receivers SET pos_tx = 0, pos_id = 0`)
		g := k.signIn(k.user("ben"), "settings", "203.0.113.1")
		out, err := k.store.Revoke(t.Context(), models.WholeUser(g.UserID), models.ReasonRevoked, setup)
		must(t, err)
		revocation := fmt.Sprintf("/console/revocations/%d", out.Revocation.Seq)
		for page, texts := range map[string][]string{
			"/console/receivers":                      {"Failing", "24 November 2025", "12", "behind"},
			"/console/receivers/" + fails.ID.String(): {"Failing", "after 7 tries", "hook.example", "&lt;script&gt;"},
			revocation: {"0 of 2 apps told so far", "Receivers that had to be told", `<dd class="big">2</dd>`},
		} {
			if a := b.page(page, texts...); strings.Contains(a.body, "<script>alert") || strings.Contains(a.body, "<img") {
				t.Errorf("%s: markup got through", page)
			}
		}
		k.exec(`DELETE FROM receivers`)
		b.page(revocation, "No app had to be told of it")
	})
}
