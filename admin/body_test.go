package admin

import (
	"net/http"
	"strings"
	"testing"
)

// A body is an object whose fields have exactly the documented names, each once.
func TestBody_Strict(t *testing.T) {
	forEachDB(t, func(t *testing.T, k *kit) {
		user := k.user("anna")
		for _, body := range []string{
			`null`, ` null`, `[]`, `[{"disabled":true}]`, `"disabled"`, `true`,
			`{"Disabled":true}`, `{"DISABLED":true}`, `{"di\u017fabled":true}`, `{"disabled":true,"Disabled":true}`,
			`{"disabled":true,"disabled":true}`, `{"disabled":true,"\u0064isabled":true}`, `{"disabled":true,"other":1}`,
			`{"disabled":true}{}`,
		} {
			if a := k.ask(http.MethodPatch, "/admin/users/"+user.ID.String(), body); a.status != http.StatusBadRequest ||
				a.str("code") != "invalid_request" {
				t.Errorf("%s: %d %s", body, a.status, a.body)
			}
		}
		if a := k.want(
			http.StatusOK, http.MethodGet, "/admin/users/"+user.ID.String(), "",
		); !strings.Contains(a.body, `"disabled":false`) {
			t.Errorf("a refused body changed the user: %s", a.body)
		}
		k.want(http.StatusOK, http.MethodPatch, "/admin/users/"+user.ID.String(), ` {"\u0064isabled":true} `)
	})
}
