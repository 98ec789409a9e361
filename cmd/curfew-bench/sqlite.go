package main

import (
	"context"
	"database/sql"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/glebarez/sqlite"
	"github.com/google/uuid"
)

// sqliteUpdate is the statement of a refresh, with everything that it asks, as a bare loop runs it.
const sqliteUpdate = `UPDATE devices SET refresh_id = ?, previous_refresh_id = refresh_id, rotated_at = ?,
	issued_at = max(?, issued_at),
	expires_at = min(? + 2592000000000, ends_at), last_seen_at = ?, ip = ip, user_agent = user_agent
	WHERE id = ? AND refresh_id = ? AND client_id = 'web' RETURNING user_id, scope, issued_at, expires_at`

// sqlite: refreshes on SQLite over HTTP, against a loop of the same UPDATE in one process.
func (b *bench) sqlite(ctx context.Context) error {
	path := filepath.Join(b.rig.dir, "bench.db")
	w := &world{rig: b.rig, name: "sqlite", url: "sqlite:" + path, devices: min(b.opt.Devices, 100_000), users: 1000}
	if err := setUp(ctx, b.rig.product(w.url)); err != nil {
		return err
	}
	q := "?_txlock=immediate"
	for _, p := range []string{
		"busy_timeout(4000)", "journal_mode(WAL)", "synchronous(FULL)", "foreign_keys(1)",
		"temp_store(MEMORY)",
	} {
		q += "&_pragma=" + p
	}
	db, err := sql.Open(sqlite.DriverName, "file:"+path+q)
	if err != nil {
		return err
	}
	defer db.Close()
	db.SetMaxOpenConns(1)
	if err := w.fillSQLite(ctx, db); err != nil {
		return err
	}
	if w.node, err = b.rig.serve(ctx, w.url); err != nil {
		return err
	}
	defer func() { w.node.Stop() }()
	var all []trial
	for range b.opt.Repeat {
		w.node.Stop() // one process at a time
		bare, err := w.bareSQLite(ctx, db, b.opt.Duration)
		if err != nil {
			return err
		}
		if w.node, err = b.rig.serve(ctx, w.url); err != nil {
			return err
		}
		f, err := b.rig.measure(ctx, "refresh, SQLite", load{
			duration: b.opt.Duration,
			workers:  w.refreshers(b.opt.Concurrency, w.devices),
		}, w.node)
		if err != nil {
			return err
		}
		progress("  bare loop %.0f/s, ratio %.2f", bare, f.PerSecond/bare)
		all = append(all, trial{figures: f, bare: bare, ratio: f.PerSecond / bare})
	}
	slices.SortFunc(all, func(a, b trial) int { return int(1e6 * (a.ratio - b.ratio)) })
	t := all[len(all)/2]
	b.keep(t.figures)
	b.report.add("refresh on SQLite", "≥ 0.5 of a bare loop", t.ratio >= .5 && t.Failed == 0, t.ratio,
		"%.2f: %.0f/s, the bare loop %.0f/s; %d failed", t.ratio, t.PerSecond, t.bare, t.Failed)
	return nil
}

func (w *world) fillSQLite(ctx context.Context, db *sql.DB) error {
	tx, err := db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer func() { _ = tx.Rollback() }()
	var at int64
	var hash string
	if err := tx.QueryRow("SELECT valid_from + 1 FROM clients WHERE id = 'web'").Scan(&at); err != nil {
		return err
	}
	if err := tx.QueryRow("SELECT password_hash FROM users WHERE username_key = 'bench'").Scan(&hash); err != nil {
		return err
	}
	at = max(at, time.Now().UnixMicro())
	for n := range w.users {
		name := fmt.Sprintf("user%d", n)
		if _, err := tx.Exec("INSERT INTO users (id, username, username_key, password_hash, password_version, admin, "+
			"disabled_at, valid_from, created_at, updated_at) VALUES (?, ?, ?, ?, 1, 0, 0, 0, ?, ?)",
			userID(n), name, name, hash, at, at); err != nil {
			return err
		}
	}
	insert, err := tx.Prepare("INSERT INTO devices (id, user_id, refresh_id, previous_refresh_id, rotated_at, " +
		"issued_at, signed_in_at, valid_from, expires_at, ends_at, " +
		"last_seen_at, created_at, client_id, name, scope, ip, user_agent) VALUES (" + strings.Repeat("?, ", 16) + "?)")
	if err != nil {
		return err
	}
	w.refresh = make([]uuid.UUID, w.devices)
	for n := range w.devices {
		w.refresh[n] = uuid.New()
		if _, err := insert.Exec(deviceID(n), userID(n%w.users), w.refresh[n], uuid.New(), at, at, at, 0, at+30*86400_000_000,
			int64(1)<<62, at, at, "web",
			"Pixel 10", "settings profile", address(n), userAgents[n%len(userAgents)]); err != nil {
			return err
		}
	}
	return tx.Commit()
}

// bareSQLite runs the UPDATE and nothing else, one after the other: SQLite has one writer.
func (w *world) bareSQLite(ctx context.Context, db *sql.DB, d time.Duration) (float64, error) {
	update, err := db.PrepareContext(ctx, sqliteUpdate)
	if err != nil {
		return 0, err
	}
	defer update.Close()
	begin := time.Now()
	n := 0
	for ; time.Since(begin) < d; n++ {
		k, next, now := rand.IntN(w.devices), uuid.New(), time.Now().UnixMicro()
		var user, scope string
		var issued, expires int64
		if err := update.QueryRowContext(ctx, next, now, now, now, now, deviceID(k), w.refresh[k]).Scan(&user, &scope,
			&issued, &expires); err != nil {
			return 0, err
		}
		w.refresh[k] = next
	}
	return float64(n) / time.Since(begin).Seconds(), nil
}
