package admin

import (
	"net/http"
	"testing"

	"github.com/google/uuid"
)

// A dry run answers as the same request would without it, and does nothing.
func TestDryRun_LikeTheRealCall(t *testing.T) {
	forEachDB(t, func(t *testing.T, k *kit) {
		anna, berta := k.user("anna"), k.user("berta")
		phone := k.signIn(anna, "settings", "203.0.113.1")
		k.signIn(anna, "settings", "203.0.113.2")
		k.signIn(berta, "settings", "203.0.113.2")
		nobody := uuid.NewString()
		for _, c := range []struct {
			path   string // with its ? or &
			status int
			count  float64
		}{
			{"/admin/users/" + anna.ID.String() + "/devices?", 200, 2},
			{"/admin/users/" + anna.ID.String() + "?", 200, 2},
			{"/admin/users/" + nobody + "/devices?", 404, 0},
			{"/admin/users/" + nobody + "?", 404, 0},
			{"/admin/clients/web/devices?", 200, 3},
			{"/admin/clients/web?", 200, 3},
			{"/admin/clients/ops/devices?", 200, 0},
			{"/admin/clients/none/devices?", 404, 0},
			{"/admin/clients/none?", 404, 0},
			{"/admin/devices/" + phone.DeviceID.String() + "?", 200, 1},
			{"/admin/devices/" + nobody + "?", 404, 0},
			{"/admin/devices?user_id=" + nobody + "&", 404, 0},
			{"/admin/devices?username=nobody&", 404, 0},
			{"/admin/devices?client_id=none&", 404, 0},
			{"/admin/devices?username=anna&", 200, 2},
			{"/admin/devices?username=nobody&ip=203.0.113.2&", 200, 0},
			{"/admin/devices?client_id=none&status=active&", 404, 0},
			{"/admin/devices?ip=203.0.113.2&", 200, 2},
			{"/admin/devices?", 200, 3},
		} {
			dry := k.want(c.status, "DELETE", c.path+"dry_run=true", "")
			if c.status == http.StatusOK && (dry.json["dry_run"] != true || dry.json["count"] != c.count || len(dry.json) != 2) {
				t.Errorf("%s: %s, want %v", c.path, dry.body, c.count)
			}
			if c.status != http.StatusOK {
				k.want(c.status, "DELETE", c.path+"dry_run=false", "") // the real one
			}
			k.want(400, "DELETE", c.path+"dry_run=yes", "")
		}
		if !k.alive(phone) {
			t.Error("a dry run signed somebody out")
		}
		// Signed out already: nothing would be ended.
		path := "/admin/devices/" + phone.DeviceID.String()
		k.want(200, "DELETE", path, "")
		if dry := k.want(200, "DELETE", path+"?dry_run=true", ""); dry.json["count"] != 0.0 {
			t.Errorf("a device that is out: %s", dry.body)
		}
		path = "/admin/users/" + anna.ID.String() + "/devices?dry_run=false"
		if real := k.want(200, "DELETE", path, ""); real.json["count"] != 1.0 {
			t.Errorf("the real one: %s", real.body)
		}
	})
}

// What is counted is said everywhere in the same way: not for a client and for everyone, in the answer nor in the log.
func TestSignOut_Counts(t *testing.T) {
	forEachDB(t, func(t *testing.T, k *kit) {
		anna := k.user("anna")
		for _, c := range []struct {
			path    string
			counted bool
		}{
			{"/admin/clients/web/devices", false},
			{"/admin/devices?client_id=web", false},
			{"/admin/users/" + anna.ID.String() + "/devices", true},
			{"/admin/devices?username=anna", true},
			{"/admin/devices?confirm=everyone", false},
			{"/admin/clients/web", false},
		} {
			g := k.signIn(anna, "settings", "203.0.113.1")
			out := k.want(200, "DELETE", c.path, "")
			if count, has := out.json["count"]; has != c.counted || (has && count != 1.0) {
				t.Errorf("%s: %s", c.path, out.body)
			}
			if k.alive(g) {
				t.Errorf("%s: still signed in", c.path)
			}
			k.own() // everyone is also this admin
			event := k.want(200, "GET", "/admin/events?type=revoked&limit=1", "").list("events")[0]
			detail := event["detail"].(map[string]any)
			if devices, has := detail["devices"]; has != c.counted || (has && devices != 1.0) {
				t.Errorf("%s: the audit log says %v", c.path, detail)
			}
		}
	})
}

// A value that a filter cannot have is a mistake, and no empty list.
func TestFilters_UnknownValues(t *testing.T) {
	forEachDB(t, func(t *testing.T, k *kit) {
		anna := k.user("anna")
		for _, path := range []string{
			"/admin/devices?status=", "/admin/users/" + anna.ID.String() + "/devices?status=",
			"/admin/revocations?level=", "/admin/revocations?reason=", "/admin/events?type=",
		} {
			for _, value := range []string{"none", "Revoked", "revoked%20"} {
				k.want(400, "GET", path+value, "")
			}
		}
		k.want(400, "DELETE", "/admin/devices?status=none", "")
		for _, path := range []string{
			"/admin/devices?status=revoked", "/admin/revocations?level=user&reason=user_disabled",
			"/admin/events?type=refresh_token_reuse",
		} {
			k.want(200, "GET", path, "")
		}
	})
}
