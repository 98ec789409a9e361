package admin

import (
	"fmt"
	"net/url"
	"strings"
	"testing"

	"github.com/google/uuid"
)

// Keyset pages: each row once, whatever comes in between, and a cursor is good for its own list only, as it was given.
func TestPages(t *testing.T) {
	forEachDB(t, func(t *testing.T, k *kit) {
		for i := range 7 {
			g := k.signIn(k.user(fmt.Sprintf("user%d", i)), "settings", "203.0.113.1")
			k.want(200, "DELETE", "/admin/devices/"+g.DeviceID.String(), "")
			k.want(201, "POST", "/admin/clients", fmt.Sprintf(`{"client_id":"client%d","public":true}`, i))
		}
		lists := []struct{ path, rows, id string }{
			{"/admin/devices?status=revoked&", "devices", "id"},
			{"/admin/users?q=USER&", "users", "id"},
			{"/admin/clients?", "clients", "client_id"},
			{"/admin/revocations?level=device&", "revocations", "seq"},
			{"/admin/events?type=signed_in&", "events", "id"},
		}
		cursors := map[string]string{}
		for _, l := range lists {
			seen, pages, total := map[any]bool{}, 0, 7
			if l.rows == "clients" {
				total = 9 // and the two that were there
			}
			for cursor := ""; pages == 0 || cursor != ""; pages++ {
				page := k.want(200, "GET", l.path+"limit=2"+cursor, "")
				for _, row := range page.list(l.rows) {
					if seen[row[l.id]] {
						t.Fatalf("%s: %v is on two pages", l.path, row[l.id])
					}
					seen[row[l.id]] = true
				}
				if len(page.list(l.rows)) > 2 {
					t.Fatalf("%s: %d rows", l.path, len(page.list(l.rows)))
				}
				next := page.str("next_cursor")
				if cursor = ""; next != "" {
					cursors[l.rows], cursor = next, "&cursor="+url.QueryEscape(next)
				}
				if pages == 0 { // what comes in between shifts nothing
					name := fmt.Sprintf("aaa-%s", l.rows)
					g := k.signIn(k.user(name), "settings", "203.0.113.9")
					k.want(200, "DELETE", "/admin/devices/"+g.DeviceID.String(), "")
				}
			}
			if pages < 4 || len(seen) < total {
				t.Fatalf("%s: %d pages, %d rows", l.path, pages, len(seen))
			}
		}
		for _, l := range lists {
			good := cursors[l.rows]
			bad := []string{"x", good + "A", good[1:], good[:len(good)-1], good + "%3D", good + "%0A", strings.Repeat("A", 1000)}
			for i, c := range good {
				other := "A"
				if c == 'A' {
					other = "B"
				}
				bad = append(bad, good[:i]+other+good[i+1:])
			}
			for rows, cursor := range cursors {
				if rows != l.rows {
					bad = append(bad, cursor)
				}
			}
			for _, cursor := range bad {
				if a := k.ask("GET", l.path+"cursor="+cursor, ""); a.status != 400 || a.str("code") != "invalid_request" {
					t.Errorf("%scursor=%s: %d %s", l.path, cursor, a.status, a.body)
				}
			}
			for _, limit := range []string{"0", "-1", "201", "x", "1e1", "9999999999999999999"} {
				k.want(400, "GET", l.path+"limit="+limit, "")
			}
		}
	})
}

func TestBadFilters(t *testing.T) {
	forEachDB(t, func(t *testing.T, k *kit) {
		id := uuid.NewString()
		for _, path := range []string{
			"/admin/devices?user_id=x", "/admin/devices?user_id=%7B" + id + "%7D",
			"/admin/devices?user_id=" + uuid.Nil.String(), "/admin/devices?user_id=" + strings.ReplaceAll(id, "-", ""),
			"/admin/devices?status=odd", "/admin/devices?status=ACTIVE", "/admin/devices?q=%ff", "/admin/devices?q=a%00b",
			"/admin/devices?q=" + strings.Repeat("a", 2000),
			"/admin/devices?ip=x", "/admin/devices?ip=203.0.113.0/24", "/admin/devices?ip=203.0.113.07",
			"/admin/devices?username=a%00b",
			"/admin/events?user_id=x", "/admin/events?device_id=x", "/admin/events?ip=x", "/admin/events?from=yesterday",
			"/admin/events?to=2026-01-01",
			"/admin/events?to=1970-01-01T00:00:00Z", "/admin/events?from=2026-13-01T00:00:00Z", "/admin/events?type=",
			"/admin/revocations?level=planet", "/admin/revocations?subject=%00", "/admin/users?q=%ff",
			"/admin/users/" + id + "/devices?user_id=" + id,
		} {
			if a := k.ask("GET", path, ""); a.status != 400 || a.str("code") != "invalid_request" {
				t.Errorf("%s: %d %s", path, a.status, a.body)
			}
		}
	})
}
