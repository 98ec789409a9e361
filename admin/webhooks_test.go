package admin

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/google/uuid"

	"curfew/models"
)

func TestWebhooks(t *testing.T) {
	forEachDB(t, func(t *testing.T, k *kit) {
		status := http.StatusOK
		hook := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(status) }))
		t.Cleanup(hook.Close)
		for _, bad := range []string{
			`{}`, `{"url":"ftp://example.com"}`, `{"url":"https://u:p@example.com"}`, `{"url":"https://example.com/#x"}`,
			`{"url":"https://example.com","types":["device.born"]}`,
			`{"url":"https://example.com","types":["device.ended","device.ended"]}`,
		} {
			k.want(400, "POST", "/admin/webhooks", bad)
		}
		made := k.want(201, "POST", "/admin/webhooks", `{"url":"`+hook.URL+`","types":["user.signed_out"]}`)
		id, secret := made.str("id"), made.str("secret")
		if !strings.HasPrefix(secret, "whsec_") {
			t.Fatalf("%s", made.body)
		}
		path := "/admin/webhooks/" + id
		for _, body := range []string{
			k.want(200, "GET", path, "").body, k.want(200, "GET", "/admin/webhooks", "").body,
			k.want(200, "GET", "/admin/receivers", "").body,
		} {
			if !strings.Contains(body, id) || strings.Contains(body, "whsec") || strings.Contains(body, secret[6:]) {
				t.Errorf("%s", body)
			}
		}
		if a := k.want(200, "POST", path+"/test", ""); !strings.Contains(a.body, `"ok":true`) {
			t.Errorf("%s", a.body)
		}
		status = http.StatusTeapot
		if a := k.want(200, "POST", path+"/test", ""); !strings.Contains(a.body, `"ok":false`) || !strings.Contains(a.body, `418`) {
			t.Errorf("%s", a.body)
		}
		if a := k.want(200, "POST", path+"/secret", ""); a.str("secret") == secret || a.str("id") != id {
			t.Errorf("%s", a.body)
		}
		// Nobody tells it here: it is pending in the receipt, and nobody waits for it.
		u := k.user("anna")
		k.signIn(u, "settings", "203.0.113.1")
		out := k.want(200, "DELETE", "/admin/users/"+u.ID.String()+"/devices?wait=1s", "")
		if !strings.Contains(out.body, `"told":{"receivers":1,"answered":0,"pending":1,"failed":0}`) {
			t.Errorf("%s", out.body)
		}
		k.want(204, "DELETE", path, "")
		for _, ask := range [][2]string{{"GET", path}, {"DELETE", path}, {"POST", path + "/test"}, {"POST", path + "/secret"}} {
			k.want(404, ask[0], ask[1], "")
			k.want(404, ask[0], strings.Replace(ask[1], id, uuid.NewString(), 1), "")
		}
		events, _, err := k.store.ListAuditEvents(t.Context(), models.AuditFilter{Type: models.AuditWebhookDeleted}, models.Page{})
		if err != nil || len(events) != 1 {
			t.Errorf("%+v, %v", events, err)
		}
	})
}
