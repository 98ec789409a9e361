package server

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/uuid"

	"curfew/models"
)

// What the account's pages show, an app gets for pages of its own: the same, and of the user alone.
func TestSettings_OwnPages(t *testing.T) {
	forEachBrowser(t, func(t *testing.T, k *kit) {
		k.user("ben")
		k.signIn("ben", "device_name", "Ben’s")
		b := k.browser()
		child := k.exchange("app", b.newCode("app"))
		session := b.get("/account").deviceHere()
		g, gone := k.signIn("anna", "device_name", "Phone"), k.signIn("anna", "device_name", "Gone")
		get := func(path string) *answer { return k.bearer("GET", path, g.str("access_token"), "") }
		if a := get("/settings/me"); a.str("username") != "anna" || a.str("id") != k.userID("anna").String() ||
			strings.Contains(string(a.body), "password") {
			t.Errorf("%s", a.body)
		}
		k.bearer("DELETE", "/settings/devices/"+gone.str("device_id"), g.str("access_token"), "")
		list := func(path string) (ids []string, by map[string]map[string]any) {
			by = map[string]map[string]any{}
			for _, d := range get(path).json["devices"].([]any) {
				d := d.(map[string]any)
				ids, by[d["id"].(string)] = append(ids, d["id"].(string)), d
			}
			return ids, by
		}
		if ids, by := list("/settings/devices"); len(ids) != 3 || by[child.str("device_id")]["parent_id"] != session ||
			by[g.str("device_id")]["parent_id"] != nil || by[g.str("device_id")]["created_at"] == nil {
			t.Errorf("%v", by)
		}
		ids, by := list("/settings/devices?include=ended")
		if d := by[gone.str("device_id")]; len(ids) != 4 || ids[3] != gone.str("device_id") || d["reason"] != "signed_out" || d["ended_at"] == nil {
			t.Errorf("%v %v", ids, d)
		}
		for _, bad := range []string{"devices?include=all", "devices?include=", "devices?x=1", "me?x=1", "events?cursor=x", "events?limit=0", "events?user_id=x"} {
			k.wantProblem(bad, get("/settings/"+bad), 400)
		}
		admin := models.Actor{Entity: models.EntityAdmin, ID: "an-admin", IP: "192.0.2.99", UserAgent: "AdminBrowser/1"}
		if _, err := k.store.RenameDevice(t.Context(), models.DeviceFilter{ID: uuid.MustParse(session)}, "Desk", admin); err != nil {
			t.Fatal(err)
		}
		var types, text []string
		for path := "/settings/events?limit=2"; path != ""; {
			a := get(path)
			for _, e := range a.json["events"].([]any) {
				types = append(types, e.(map[string]any)["type"].(string))
			}
			text = append(text, string(a.body))
			if path = ""; a.str("next_cursor") != "" {
				path = "/settings/events?limit=2&cursor=" + a.str("next_cursor")
			}
		}
		want := []string{"device_renamed", "revoked", "signed_in", "signed_in", "signed_in", "signed_in", "user_created"}
		if !slices.Equal(types, want) {
			t.Errorf("%v, want %v", types, want)
		}
		all := strings.Join(text, "\n")
		for _, secret := range []string{"192.0.2.99", "an-admin", "AdminBrowser", "Ben", k.userID("ben").String(), "actor", "user_agent"} {
			if strings.Contains(all, secret) {
				t.Errorf("%q is told: %s", secret, all)
			}
		}
	})
}
