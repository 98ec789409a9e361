package models

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"testing"

	"gorm.io/gorm"
)

const logRows = 3*scanLimit + 500

// fill runs an INSERT … SELECT with the rows i of 1 to logRows as its table, some at a time: on a slow machine all of
// them take longer than a statement may.
func (k *kit) fill(insert string) {
	k.t.Helper()
	const numbers = `WITH RECURSIVE n (i) AS (
		SELECT CAST(@from AS integer) UNION ALL SELECT i + 1 FROM n WHERE i < @to) `
	for from := 1; from <= logRows; from += 500 {
		if err := k.write(k.t.Context(), func(tx *gorm.DB) error {
			_, err := k.exec(tx, numbers+insert, args{"from": from, "to": min(from+499, logRows)})
			return err
		}); err != nil {
			k.t.Fatal(err)
		}
	}
}

// walk follows a list to its end. It fails the test if a page is too long, and says how many pages there were and how
// many of them were not full and named a next one.
func walk[T any](t *testing.T, limit int, list func(Page) ([]T, string, error)) (all []T, pages, short int) {
	t.Helper()
	for p := (Page{Limit: limit}); ; {
		rows, next, err := list(p)
		if err != nil {
			t.Fatal(err)
		}
		if len(rows) > limit {
			t.Fatalf("a page of %d has %d rows", limit, len(rows))
		}
		all = append(all, rows...)
		pages++
		if next == "" {
			return all, pages, short
		}
		if len(rows) < limit {
			short++
		}
		if p.Cursor = next; pages > logRows {
			t.Fatal("the pages do not end")
		}
	}
}

// auditLog is a log of logRows events that a test can compute: the number of each says what it is.
type auditLog struct {
	start, early, late Micros
	rare               []int // numbers
}

func newAuditLog() *auditLog {
	l := &auditLog{start: 1_600_000_000_000_000}
	l.early, l.late = l.start+100, l.start+logRows/3-100
	// The rare ones are here and there, and where a page by number or by time has to stop.
	l.rare = []int{7, 1907, 3807, 5707, 7607}
	var timed []int
	for i := logRows; i > 0; i-- {
		if l.at(i) >= l.early && l.at(i) < l.late {
			timed = append(timed, i)
		}
	}
	slices.SortStableFunc(timed, func(a, b int) int { return cmp.Compare(l.at(b), l.at(a)) })
	for n := scanLimit; n < len(timed); n += scanLimit {
		l.rare = append(l.rare, timed[n-1], logRows-n+1)
	}
	return l
}

// at: times are not in the order of the numbers, and three events share each.
func (l *auditLog) at(i int) Micros { return l.start + Micros(i*7919%logRows/3) }

func (l *auditLog) event(i int) AuditEvent {
	is := func(set bool, name string) string {
		if set {
			return name
		}
		return "other"
	}
	return AuditEvent{
		ID: int64(i), At: l.at(i), Type: is(slices.Contains(l.rare, i), "rare"), Actor: is(i < 3, "root"),
		IP: is(i%2600 == 0, "203.0.113.9"), ClientID: is(i%3000 == 1, "api"), UserID: is(i%2 == 0, "u"),
		DeviceID: is(i%4 == 0, "d"),
	}
}

// write makes it the audit log.
func (l *auditLog) write(k *kit) {
	k.t.Helper()
	if err := k.write(k.t.Context(), func(tx *gorm.DB) error {
		return tx.Exec(`DELETE FROM audit_events`).Error
	}); err != nil {
		k.t.Fatal(err)
	}
	rare := strings.Trim(strings.ReplaceAll(fmt.Sprint(l.rare), " ", ","), "[]")
	k.fill(fmt.Sprintf(`INSERT INTO audit_events
			(at, type, entity, actor, ip, user_agent, user_id, client_id, device_id, detail)
		SELECT %d + i * 7919 %% %d / 3, CASE WHEN i IN (%s) THEN 'rare' ELSE 'other' END, 'admin',
			CASE WHEN i < 3 THEN 'root' ELSE 'other' END, CASE WHEN i %% 2600 = 0 THEN '203.0.113.9' ELSE 'other' END, '',
			CASE WHEN i %% 2 = 0 THEN 'u' ELSE 'other' END, CASE WHEN i %% 3000 = 1 THEN 'api' ELSE 'other' END,
			CASE WHEN i %% 4 = 0 THEN 'd' ELSE 'other' END, '{"i":' || i || '}' FROM n ORDER BY i`, l.start, logRows, rare))
}

// selected are the events of a filter, the newest first.
func (l *auditLog) selected(f AuditFilter, byTime bool) (want []AuditEvent) {
	for i := logRows; i > 0; i-- {
		if e := l.event(i); f.matches(e) {
			want = append(want, e)
		}
	}
	if byTime {
		slices.SortStableFunc(want, func(a, b AuditEvent) int { return cmp.Compare(b.At, a.At) })
	}
	return want
}

func (f AuditFilter) matches(e AuditEvent) bool {
	for _, pair := range [][2]string{
		{f.Type, e.Type},
		{f.Actor, e.Actor},
		{f.IP, e.IP},
		{f.ClientID, e.ClientID},
		{f.UserID, e.UserID},
		{f.DeviceID, e.DeviceID},
	} {
		if pair[0] != "" && pair[0] != pair[1] {
			return false
		}
	}
	return e.At >= f.From && (f.To == 0 || e.At < f.To)
}

// auditPages is a filter, and how its pages come.
type auditPages struct {
	name   string
	filter AuditFilter
	rows   int // that the index finds: what the pages have to look at; 0 if no page may be cut short
	byTime bool
}

// check reads all pages of a list.
func (l *auditLog) check(k *kit, c auditPages) {
	k.t.Helper()
	want := l.selected(c.filter, c.byTime)
	all, pages, short := walk(k.t, MaxPage, func(p Page) ([]AuditEvent, string, error) {
		return k.ListAuditEvents(k.t.Context(), c.filter, p)
	})
	got := make([]int64, len(all))
	for n, e := range all {
		if i, ok := e.Detail["i"].(float64); ok {
			got[n] = int64(i)
		}
		if n < len(want) && (e.At != want[n].At || e.Type != want[n].Type || e.Actor != want[n].Actor) {
			k.t.Fatalf("%s: row %d is %+v, want %+v", c.name, n, e, want[n])
		}
	}
	if wanted := column(want, func(e AuditEvent) int64 { return e.ID }); !slices.Equal(got, wanted) {
		k.t.Errorf("%s: rows %v, want %v", c.name, got, wanted)
	}
	if cuts := (c.rows - 20) / scanLimit; c.rows != 0 && (short < cuts || short > cuts+1) {
		k.t.Errorf("%s: %d of %d pages are cut short: %d rows are looked at, %d at a time", c.name, short, pages, c.rows,
			scanLimit)
	}
	// A frequent type may meet the limit on rows only near the very end; a list that an index serves never does.
	if c.rows == 0 && short != 0 {
		k.t.Errorf("%s: %d of %d pages are cut short", c.name, short, pages)
	}
}

// A filter that no index serves looks at scanLimit rows a page, and all its pages together hold every row once.
func TestListAuditEvents_BoundedPages(t *testing.T) {
	log := newAuditLog()
	start, early, late := log.start, log.early, log.late
	forEachDB(t, func(t *testing.T, k *kit) {
		log.write(k)
		for _, c := range []auditPages{
			{"nothing matches", AuditFilter{Type: "none"}, logRows, false},
			{"type", AuditFilter{Type: "rare"}, logRows, false},
			{"actor, the oldest", AuditFilter{Actor: "root"}, logRows, false},
			{"address", AuditFilter{IP: "203.0.113.9"}, logRows, false},
			{"client", AuditFilter{ClientID: "api"}, logRows, false},
			{"client and type", AuditFilter{ClientID: "api", Type: "other"}, logRows, false},
			{"user and type", AuditFilter{UserID: "u", Type: "rare"}, logRows / 2, false},
			{"device and address", AuditFilter{DeviceID: "d", IP: "203.0.113.9"}, logRows / 4, false},
			{"device of another user", AuditFilter{DeviceID: "d", UserID: "other"}, logRows / 4, false},
			{"device of the user", AuditFilter{DeviceID: "d", UserID: "u"}, 0, false},
			{"user in an hour", AuditFilter{UserID: "u", From: start + 7, To: start + 9}, logRows / 2, false},
			{"from and to, and type", AuditFilter{Type: "rare", From: early, To: late}, logRows - 600, true},
			{"from, and address", AuditFilter{IP: "203.0.113.9", From: early}, logRows - 300, true},
			{"to, and actor", AuditFilter{Actor: "root", To: late}, logRows - 300, true},
			{"from and to", AuditFilter{From: early, To: late}, 0, true},
			{"to", AuditFilter{To: start + 50}, 0, true},
			{"everything", AuditFilter{}, 0, false},
			{"a frequent type", AuditFilter{Type: "other"}, 0, false},
			{"user", AuditFilter{UserID: "u"}, 0, false},
		} {
			log.check(k, c)
		}

		// A cursor holds a place in the order that it was made for.
		_, next, err := k.ListAuditEvents(t.Context(), AuditFilter{}, Page{})
		if err != nil || next == "" {
			t.Fatal(next, err)
		}
		if _, _, err := k.ListAuditEvents(t.Context(), AuditFilter{To: late}, Page{Cursor: next}); !isOurs(err) {
			t.Errorf("a cursor of the other order: %v", err)
		}
	})
}

func TestListRevocations_BoundedPages(t *testing.T) {
	forEachDB(t, func(t *testing.T, k *kit) {
		// The clients' are also where a page has to stop.
		k.fill(`INSERT INTO revocations (seq, level, subject, valid_from, reason, entity, actor, created_at, expires_at)
			SELECT i, CASE WHEN i % 500 = 1 THEN 'client' ELSE 'device' END, CASE WHEN i % 2 = 0 THEN 's' ELSE 'other' END, 1,
				CASE WHEN i < 3 THEN 'admin_removed' ELSE 'revoked' END, 'admin', '', 1, 1 FROM n`)
		for _, c := range []struct {
			name   string
			filter RevocationFilter
			match  func(i int) bool
			rows   int // that the index finds: what the pages have to look at; 0 if no page may be cut short
		}{
			{"nothing matches", RevocationFilter{Level: LevelUser}, func(int) bool { return false }, logRows},
			{"level", RevocationFilter{Level: LevelClient}, func(i int) bool { return i%500 == 1 }, logRows},
			{"reason, the oldest", RevocationFilter{Reason: ReasonAdminRemoved}, func(i int) bool { return i < 3 }, logRows},
			{"both", RevocationFilter{Level: LevelClient, Reason: ReasonRevoked}, func(i int) bool { return i > 2 && i%500 == 1 }, logRows},
			{"subject and reason", RevocationFilter{Subject: "s", Reason: ReasonAdminRemoved}, func(i int) bool { return i == 2 }, logRows / 2},
			{"subject", RevocationFilter{Subject: "s"}, func(i int) bool { return i%2 == 0 }, 0},
			{"everything", RevocationFilter{}, func(int) bool { return true }, 0},
		} {
			var want, got []int
			for i := logRows; i > 0; i-- {
				if c.match(i) {
					want = append(want, i)
				}
			}
			all, pages, short := walk(t, MaxPage, func(p Page) ([]Revocation, string, error) { return k.ListRevocations(t.Context(), c.filter, p) })
			for _, r := range all {
				got = append(got, int(r.Seq))
			}
			if !slices.Equal(got, want) {
				t.Errorf("%s: rows %v, want %v", c.name, got, want)
			}
			if cuts := (c.rows - 20) / scanLimit; c.rows != 0 && short != cuts || c.rows == 0 && short != 0 {
				t.Errorf("%s: %d of %d pages are cut short: %d rows are looked at, %d at a time", c.name, short, pages, c.rows, scanLimit)
			}
		}
	})
}
