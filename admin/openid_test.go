package admin

import (
	"net/url"
	"strings"
	"testing"
	"time"

	"curfew/models"
)

// An ID token or a logout token of an admin opens no door of this listener, while the access token beside it does.
func TestOpenID_IDTokenOpensNothing(t *testing.T) {
	forEachDB(t, func(t *testing.T, k *kit) {
		u, admin := k.admin("anna")
		desk, _, err := k.store.CreateClient(t.Context(), models.NewClient{
			ID: "desk", Public: true, Grants: []string{"password", "refresh_token"}, Scopes: []string{"openid", "admin"},
		}, setup)
		must(t, err)
		g, err := k.store.SignIn(t.Context(), models.SignIn{User: u, Client: desk, Scope: "openid admin", Name: "desk"})
		must(t, err)
		logoutToken, err := k.store.SignIdentity("logout+jwt", g.Claims, models.Micros(time.Now().UnixMicro()))
		must(t, err)
		if a := k.askAs(g.AccessToken, "GET", "/admin/users", ""); a.status != 200 || g.IDToken == "" {
			t.Fatalf("the access token: %d %s", a.status, a.body)
		}
		fill := strings.NewReplacer(
			"users/:id", "users/"+u.ID.String(), "clients/:id", "clients/web", ":id", g.DeviceID.String(), ":seq", "1",
			":client_id", "web", ":name", "rs",
		)
		before := k.state()
		for name, token := range map[string]string{"ID token": g.IDToken, "logout token": logoutToken} {
			k.each("/admin/", fill, func(method, path string) {
				if a := k.askAs(token, method, path, ""); a.status != 401 || a.str("code") != "invalid_token" {
					t.Errorf("%s: %s %s: %d %s", name, method, path, a.status, a.body)
				}
			})
			b := k.browser()
			b.cookies[consoleCookie] = token
			b.headers["Authorization"] = "Bearer " + token
			k.each("/console/", fill, func(method, path string) {
				if strings.HasPrefix(path, "/console/sign-") {
					return
				}
				if a := b.do(method, path, url.Values{"confirm": {"everyone"}}); a.status != 303 ||
					!strings.HasPrefix(a.header.Get("Location"), "/console/sign-in") {
					t.Errorf("%s as a cookie: %s %s: %d %s", name, method, path, a.status, a.body)
				}
			})
		}
		if after := k.state(); after != before {
			t.Errorf("something changed: %s, was %s", after, before)
		}
		admin.page("/console/", "anna", "Overview")
	})
}
