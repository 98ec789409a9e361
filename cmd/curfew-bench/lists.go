package main

import (
	"bytes"
	"context"
	"fmt"
	"net/url"
	"time"

	"curfew/internal/proc"
	"curfew/internal/visit"
)

// lists: a page of the admin list, any filter, first and far.
func (b *bench) lists(ctx context.Context) error {
	return b.ofEveryKind(ctx, func(w *world) error {
		token, err := adminToken(w.node)
		if err != nil {
			return err
		}
		p := b.newPages(w, func(path string) []byte { return get(path, token) },
			func(body []byte) string { return string(field(body, "next_cursor")) })
		for _, filter := range deviceFilters() {
			if err := p.list("/admin/devices", filter); err != nil {
				return err
			}
		}
		p.report(b, "a page of the admin list", 20)
		return nil
	})
}

// ofEveryKind measures with a tenth of the devices revoked and a tenth expired.
func (b *bench) ofEveryKind(ctx context.Context, measure func(*world) error) error {
	w, err := b.bigWorld(ctx)
	if err != nil {
		return err
	}
	for _, statement := range []string{
		"UPDATE devices SET valid_from = signed_in_at + 1 WHERE substr(id::text, 36) = '3'",
		"UPDATE devices SET expires_at = 1 WHERE substr(id::text, 36) = '7'", "VACUUM ANALYZE devices",
	} {
		if _, err := w.db.Exec(ctx, statement); err != nil {
			return err
		}
	}
	if err := measure(w); err != nil {
		return err
	}
	_, err = w.db.Exec(ctx, "UPDATE devices SET expires_at = (extract(epoch FROM now()) * 1e6)::bigint + 30 * "+
		"86400000000 WHERE expires_at = 1")
	if err != nil {
		return err
	}
	if err := w.revive(ctx); err != nil {
		return err
	}
	_, err = w.db.Exec(ctx, "VACUUM devices")
	return err
}

// deviceFilters are the queries of a list of devices; the console's have the API's names.
func deviceFilters() []string {
	return []string{
		"", "user_id=" + userID(17).String(), "username=user23", "client_id=web", "client_id=nobody", "status=active",
		"status=revoked", "status=expired",
		"ip=" + address(99), "ip=192.0.2.1", "q=iphone", "q=user1234", "q=nothing+has+this", "status=expired&q=firefox",
		"client_id=web&status=revoked",
		"status=revoked&q=nothing+has+this", "ip=" + address(99) + "&status=revoked", "client_id=web&q=pixel",
	}
}

// pages measures pages, each for itself: what counts is the slowest of them.
type pages struct {
	w     *world
	times int
	get   func(path string) []byte
	next  func(body []byte) string // the cursor of the page after it, if there is one

	worst float64
	at    string
	all   []time.Duration
}

func (b *bench) newPages(w *world, get func(string) []byte, next func([]byte) string) *pages {
	return &pages{w: w, times: max(5, min(300, int(30*b.opt.Duration.Seconds()))), get: get, next: next}
}

// try measures one page, which is called by its address without the cursor.
func (p *pages) try(path, cursor, where string) error {
	cpu := func() time.Duration { return proc.CPUOfTree(p.w.node.PID()) + proc.CPUOfTree(p.w.rig.cluster.PID()) }
	before := cpu()
	all, err := timed(p.w.node.Admin, p.times, func(int) []byte { return p.get(path + cursor) }, nil)
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	each := (cpu() - before) / time.Duration(p.times)
	p.all = append(p.all, all...)
	_, p99, _ := quantiles(all)
	progress("  %-72s %-5s p99 %5.1f ms, CPU %5.2f ms", path, where, p99, each.Seconds()*1000)
	if p99 > p.worst {
		p.worst, p.at = p99, path+", "+where+" page"
	}
	return nil
}

// list measures the first page of a list and one that is far behind it.
func (p *pages) list(path, filter string) error {
	path, cursor := path+"?"+filter, ""
	if err := p.try(path, "", "first"); err != nil {
		return err
	}
	// To the thousandth page, or the last: 50 rows a page, or some thousands that were looked at.
	_, err := timed(p.w.node.Admin, min(1000, p.times*4), func(int) []byte { return p.get(path + cursor) },
		func(body []byte) error {
			if next := p.next(body); next != "" {
				cursor = "&cursor=" + url.QueryEscape(next)
			}
			return nil
		})
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return p.try(path, cursor, "far")
}

func (p *pages) report(b *bench, what string, target float64) {
	_, p99, _ := quantiles(p.all)
	b.report.add(what, fmt.Sprintf("p99 ≤ %.0f ms", target), p.worst <= target, p.worst,
		"p99 of the slowest filter %.1f ms (%s), of all %.1f ms, %d devices", p.worst, p.at, p99, p.w.devices)
	b.report.onlyUpTo(p.w.devices >= 10_000_000)
}

// console: what an admin looks at in a browser, any filter, first and far.
func (b *bench) console(ctx context.Context) error {
	return b.ofEveryKind(ctx, func(w *world) error { return b.consolePages(ctx, w) })
}

func (b *bench) consolePages(ctx context.Context, w *world) error {
	if err := w.fillLogs(ctx); err != nil {
		return err
	}
	cookie, err := consoleCookie(ctx, "http://"+w.node.Admin)
	if err != nil {
		return err
	}
	p := b.newPages(w, func(path string) []byte {
		return []byte("GET " + path + " HTTP/1.1\r\nHost: " + w.node.Admin + "\r\nCookie: " + cookie + "\r\n\r\n")
	}, nextLink)
	between := "from=" + url.QueryEscape(time.Now().Add(-20*24*time.Hour).UTC().Format(time.RFC3339)) +
		"&to=" + url.QueryEscape(time.Now().Add(-10*24*time.Hour).UTC().Format(time.RFC3339))
	for _, list := range []struct {
		path    string
		filters []string
	}{
		{"/console/devices", deviceFilters()},
		{"/console/users", []string{"", "prefix=user", "prefix=user12", "prefix=nobody"}},
		{"/console/clients", []string{""}},
		{"/console/revocations", []string{
			"", "level=device", "level=everyone", "subject=" + deviceID(5).String(), "reason=revoked",
			"reason=user_deleted", "level=device&reason=user_deleted",
		}},
		{"/console/events", []string{
			"", "type=signed_in", "type=code_reuse", "user_id=" + userID(17).String(), "device_id=" + deviceID(5).String(),
			"client_id=web", "client_id=nobody", "actor=" + userID(17).String(), "ip=" + address(99), "ip=192.0.2.1", between,
			between + "&type=code_reuse", "user_id=" + userID(17).String() + "&type=code_reuse",
		}},
	} {
		for _, filter := range list.filters {
			if err := p.list(list.path, filter); err != nil {
				return err
			}
		}
	}
	for _, path := range []string{
		"/console/", "/console/followers", "/console/devices/" + deviceID(5).String(),
		"/console/users/" + userID(17).String(), "/console/clients/web", "/console/revocations/1",
	} {
		if err := p.try(path, "", "only"); err != nil {
			return err
		}
	}
	p.report(b, "a page of the console", 40)
	return nil
}

// fillLogs makes what the console lists beside devices and users. A month of it: an event of each device's sign-in, the
// end of one in a hundred, and as many clients and followers as there may well be.
func (w *world) fillLogs(ctx context.Context) error {
	begin := time.Now()
	for _, statement := range []string{
		"SET synchronous_commit = off",
		fmt.Sprintf(`INSERT INTO audit_events
				(at, type, entity, actor, ip, user_agent, user_id, client_id, device_id, detail)
			SELECT t - 30 * 86400000000 / %[1]d * (%[1]d - n), CASE n %% 1000 WHEN 0 THEN 'refresh_token_reuse'
				WHEN 1 THEN 'wrong_password' ELSE 'signed_in' END, 'user', u, '10.' || (n >> 16 & 255) || '.' || (n >> 8 & 255)
				|| '.' || (n & 255), %[2]s, u, 'web', (%[3]s)::text, '{}'
			FROM (SELECT n, (%[4]s)::text AS u, (extract(epoch FROM now()) * 1e6)::bigint AS t
				FROM generate_series(0::bigint, %[1]d - 1) n) every`,
			w.devices, agentSQL("n"), fmt.Sprintf(deviceIDSQL, "n"), fmt.Sprintf(userIDSQL, fmt.Sprintf("n %% %d", w.users))),
		fmt.Sprintf(`WITH added AS (UPDATE realm SET last_seq = last_seq + %[1]d RETURNING last_seq - %[1]d AS before)
			INSERT INTO revocations (seq, level, subject, valid_from, reason, entity, actor, created_at, expires_at)
			SELECT before + n, 'device', (%[2]s)::text, 1, 'revoked', 'admin', 'ops',
				(extract(epoch FROM now()) * 1e6)::bigint - 86400000000, 1
			FROM added, generate_series(1::bigint, %[1]d) n`, max(100, w.devices/100), fmt.Sprintf(deviceIDSQL, "n*4")),
		`INSERT INTO clients SELECT (c).* FROM (SELECT jsonb_populate_record(c, jsonb_build_object('id', 'client' || n)) c
			FROM clients c, generate_series(1, 1000) n WHERE c.id = 'web') copies`,
		`INSERT INTO subscribers (client_id, name, live_until, acked_seq, acked_at, created_at)
			SELECT 'api', 'server-' || n, 1, 0, 1, 1 FROM generate_series(1, 1000) n`,
		"RESET synchronous_commit",
		"VACUUM ANALYZE audit_events", "VACUUM ANALYZE revocations", "VACUUM ANALYZE clients", "ANALYZE subscribers",
		"CHECKPOINT",
	} {
		if _, err := w.db.Exec(ctx, statement); err != nil {
			return fmt.Errorf("%s: %w", statement, err)
		}
	}
	progress("%s: logs for the console in %s", w.name, time.Since(begin).Round(time.Second))
	return nil
}

// consoleCookie signs the admin in at the console, as the Cookie header that opens it.
func consoleCookie(ctx context.Context, admin string) (string, error) {
	browser := visit.New()
	_, err := browser.Enter(ctx, admin+"/console/", boss, password)
	const name = "__Host-curfew-console"
	return name + "=" + browser.Cookie(name), err
}

// nextLink is the cursor in the page's link to the next one.
func nextLink(body []byte) string {
	tag, _, _ := bytes.Cut(body, []byte(`rel="next"`))
	tag = tag[bytes.LastIndexByte(tag, '<')+1:]
	if len(tag) == 0 || !bytes.Contains(body, []byte(`rel="next"`)) {
		return ""
	}
	_, cursor, _ := bytes.Cut(tag, []byte("cursor="))
	if i := bytes.IndexAny(cursor, `&"`); i >= 0 {
		cursor = cursor[:i]
	}
	return string(cursor)
}
