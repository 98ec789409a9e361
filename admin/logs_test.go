package admin

import (
	"fmt"
	"net/url"
	"strings"
	"testing"
	"time"
)

func TestEvents(t *testing.T) {
	forEachDB(t, func(t *testing.T, k *kit) {
		u := k.user("anna")
		g := k.signIn(u, "settings", "203.0.113.1")
		id := g.DeviceID.String()
		k.want(200, "PATCH", "/admin/devices/"+id, `{"name":"x"}`)
		k.want(200, "DELETE", "/admin/devices/"+id, "")
		log := k.want(200, "GET", "/admin/events?device_id="+id, "").list("events")
		var types []any
		for _, e := range log {
			types = append(types, e["type"])
		}
		if fmt.Sprint(types) != "[revoked device_renamed signed_in]" || log[0]["actor"] != "ops" ||
			log[2]["actor"] != u.ID.String() || log[2]["ip"] != "203.0.113.1" {
			t.Fatalf("%v", log)
		}
		now := url.QueryEscape(time.Now().Add(time.Minute).Format(time.RFC3339))
		for query, want := range map[string]int{
			"type=signed_in": 1, "user_id=" + u.ID.String(): 4, "actor=ops&limit=1": 1, "from=" + now: 0,
			"ip=203.0.113.1&to=" + now: 1, "client_id=web&type=revoked": 1,
		} {
			if n := len(k.want(200, "GET", "/admin/events?"+query, "").list("events")); n != want {
				t.Errorf("%s: %d events, want %d", query, n, want)
			}
		}
		k.want(400, "GET", "/admin/events?from=yesterday", "")
	})
}

func TestMetrics(t *testing.T) {
	forEachDB(t, func(t *testing.T, k *kit) {
		u := k.user("anna")
		g := k.signIn(u, "settings", "203.0.113.1")
		k.want(200, "DELETE", "/admin/devices/"+g.DeviceID.String(), "")
		m := k.askAs("", "GET", "/metrics", "")
		for _, line := range []string{
			"curfew_sign_ins_total 1", `curfew_revocations_total{level="device"} 1`, "curfew_hash_queue 0",
			`curfew_http_request_seconds_count{listener="admin",method="DELETE",route="/admin/devices/:id",status="200"} 1`,
			"go_sql_max_open_connections",
		} {
			if !strings.Contains(m.body, line) {
				t.Errorf("%q is missing", line)
			}
		}
		for _, private := range []string{"anna", u.ID.String(), g.DeviceID.String(), "203.0.113.1"} {
			if strings.Contains(m.body, private) {
				t.Errorf("%q is in the metrics", private)
			}
		}
		if a := k.askAs("", "GET", "/debug/pprof/heap", ""); a.status != 200 {
			t.Errorf("profile: %d", a.status)
		}
	})
}
