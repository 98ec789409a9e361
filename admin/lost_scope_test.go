package admin

import (
	"testing"

	"curfew/models"
)

// A token that says admin opens nothing once its client may not have that scope any more.
func TestLostScope(t *testing.T) {
	forEachDB(t, func(t *testing.T, k *kit) {
		k.want(200, "GET", "/admin/users", "")
		_, err := k.store.UpdateClient(t.Context(), "ops", models.ClientPatch{Scopes: &[]string{"orders"}}, setup)
		must(t, err)
		body := `{"username":"mallory","password":"` + testPassword + `","admin":true}`
		if a := k.ask("POST", "/admin/users", body); a.status != 403 || a.str("code") != "insufficient_scope" {
			t.Fatalf("%d %s", a.status, a.body)
		}
		if _, err := k.store.FindUser(t.Context(), "mallory"); err == nil {
			t.Fatal("an admin was created")
		}
	})
}
