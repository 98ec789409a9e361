package admin

import (
	"strings"
	"testing"

	"curfew/models"
)

// The overview counts what this node did, and says how the database, the followers and the keys are.
func TestConsole_Overview(t *testing.T) {
	forEachDB(t, func(t *testing.T, k *kit) {
		_, b := k.admin("anna")
		ben := k.user("ben")
		for range 3 {
			k.signIn(ben, "settings", "203.0.113.1")
		}
		b2 := k.browser()
		b2.signIn("ben", "wrong")
		page := b.page("/console/", "Sign-ins", "Refused sign-ins", "ES256", "Signs", "test", "Database")
		for _, want := range []string{`Wrong password <strong>1</strong>`, `New <strong>4</strong>`} {
			if !strings.Contains(page.body, want) {
				t.Errorf("without %s: %s", want, page.body)
			}
		}
		run := models.NewNodeRun("other node", "v9.9")
		_, err := k.store.TakeReceivers(t.Context(), run)
		must(t, err)
		b.page("/console/", "other-node", "v9.9", ">Up<", "This one")
		k.exec(`UPDATE notifiers SET node = '<b>old', until = until - 60000000`)
		b.page("/console/", "&lt;b&gt;old", ">Away<")
		k.exec(`UPDATE notifiers SET until = until - 3600000000`)
		if page := b.page("/console/"); strings.Contains(page.body, "&lt;b&gt;old") {
			t.Error("a node that broke off long ago is still there")
		}
		_, err = k.store.RotateKeys(t.Context(), false, setup)
		must(t, err)
		b.page("/console/", "Next", "Signs")
		b.want(b.get("/console/?nothing=1"), 400, "unknown parameter")
	})
}
