package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"curfew/internal/harness"
)

// world is a database with devices in it and a node that serves it.
type world struct {
	rig     *rig
	name    string
	url     string
	devices int
	users   int
	node    *harness.Node
	db      *pgx.Conn
	refresh []uuid.UUID // refresh ids, by device
	minter  *minter
	pgCPU   float64 // microseconds of a transaction of the last pgbench, its own and the database's
}

// perUser is how many devices a user has.
const perUser = 10

// newWorld makes a database and fills it: users, and for each of them ten devices, each with an address of its own.
func (r *rig) newWorld(ctx context.Context, name string, devices int) (w *world, err error) {
	w = &world{rig: r, name: name, devices: devices, users: max(1, devices/perUser)}
	if w.url, err = harness.CreateDatabase(ctx, r.cluster, name); err != nil {
		return nil, err
	}
	if err := setUp(ctx, r.product(w.url)); err != nil {
		return nil, err
	}
	if w.db, err = pgx.Connect(ctx, w.url); err != nil {
		return nil, err
	}
	begin := time.Now()
	for _, statement := range w.filling() {
		if _, err := w.db.Exec(ctx, statement); err != nil {
			return nil, fmt.Errorf("%s: %w", statement, err)
		}
	}
	if w.minter, err = newMinter(r.secret); err != nil {
		return nil, err
	}
	if w.node, err = r.serve(ctx, w.url); err != nil {
		return nil, err
	}
	progress("%s: %d devices of %d users in %s", name, devices, w.users, time.Since(begin).Round(time.Second))
	return w, nil
}

// setUp migrates and makes the clients, the user whose password everybody has, and an admin.
func setUp(ctx context.Context, p harness.Product) error {
	return errors.Join(
		p.Run(ctx, "", nil, "migrate"),
		p.Run(ctx, "", nil, "client", "add", "web", "--public", "--grants", "password,refresh_token",
			"--scopes", "settings profile"),
		p.Run(ctx, clientSecret, nil, "client", "add", "api", "--grants", "client_credentials",
			"--scopes", "revocations", "--introspect", "--secret-stdin"),
		p.Run(ctx, clientSecret, nil, "client", "add", "ops", "--grants", "client_credentials",
			"--scopes", "admin", "--secret-stdin"),
		p.Run(ctx, password, nil, "user", "add", "bench", "--password-stdin"),
		p.Run(ctx, password, nil, "user", "add", boss, "--admin", "--password-stdin"),
	)
}

func agentSQL(n string) string {
	return fmt.Sprintf("(ARRAY['%s'])[%s %% %d + 1]", strings.Join(userAgents, "','"), n, len(userAgents))
}

// deviceRows inserts devices from and to inclusive; ends is when they expire, in SQL.
func deviceRows(from, to, users int, ends string) string {
	return fmt.Sprintf(`INSERT INTO devices (id, user_id, refresh_id, previous_refresh_id, rotated_at, issued_at,
			signed_in_at, valid_from,
			expires_at, ends_at, last_seen_at, created_at, client_id, name, scope, ip, user_agent)
		SELECT %s, %s, gen_random_uuid(), gen_random_uuid(), t, t, t, 0, %s, 9223372036854775807, t, t, 'web',
			(ARRAY['Chrome on Windows','Firefox on Linux','Anna''s iPhone','Pixel 10'])[n %% 4 + 1], 'settings profile',
			'10.' || (n >> 16 & 255) || '.' || (n >> 8 & 255) || '.' || (n & 255), %s
		FROM generate_series(%d::bigint, %d) n,
			(SELECT greatest((extract(epoch FROM now()) * 1e6)::bigint, valid_from + 1) AS t
				FROM clients WHERE id = 'web') clock`,
		fmt.Sprintf(deviceIDSQL, "n"), fmt.Sprintf(userIDSQL, fmt.Sprintf("n %% %d", users)), ends, agentSQL("n"), from, to)
}

const alive30Days = "t + 30 * 86400000000"

func (w *world) filling() []string {
	return []string{
		"SET synchronous_commit = off",
		fmt.Sprintf(`INSERT INTO users SELECT %s, 'user' || n, 'user' || n, password_hash,
			1, false, 0, 0, created_at, updated_at
			FROM generate_series(0::bigint, %d) n, (SELECT * FROM users WHERE username_key = 'bench') b`,
			fmt.Sprintf(userIDSQL, "n"), w.users-1),
		deviceRows(0, w.devices-1, w.users, alive30Days),
		"RESET synchronous_commit",
		"VACUUM (ANALYZE) devices", "VACUUM (ANALYZE) users", "ANALYZE", "CHECKPOINT",
	}
}

// load reads the refresh ids of the devices, which pgbench changes too.
func (w *world) load(ctx context.Context) error {
	rows, err := w.db.Query(ctx, fmt.Sprintf("SELECT refresh_id FROM devices WHERE id >= %s AND id < %s ORDER BY id",
		fmt.Sprintf(deviceIDSQL, "0"), fmt.Sprintf(deviceIDSQL, fmt.Sprint(w.devices))))
	if err != nil {
		return err
	}
	if w.refresh == nil {
		w.refresh = make([]uuid.UUID, w.devices)
	}
	n := 0
	var id [16]byte
	for rows.Next() {
		if err := rows.Scan(&id); err != nil {
			return err
		}
		w.refresh[n] = id
		n++
	}
	if n != w.devices && rows.Err() == nil {
		return fmt.Errorf("%s has %d devices, not %d", w.name, n, w.devices)
	}
	return rows.Err()
}

// lost counts the devices whose refresh id in the database is not the one that its client got last.
func (w *world) lost(ctx context.Context) (int, error) {
	had := bytes.Clone(flatten(w.refresh))
	if err := w.load(ctx); err != nil {
		return 0, err
	}
	lost := 0
	for i, now := range w.refresh {
		if !bytes.Equal(had[16*i:16*i+16], now[:]) {
			lost++
		}
	}
	return lost, nil
}

func flatten(ids []uuid.UUID) []byte {
	out := make([]byte, 0, 16*len(ids))
	for _, id := range ids {
		out = append(out, id[:]...)
	}
	return out
}

// number reads one number.
func (w *world) number(ctx context.Context, query string) (n float64, err error) {
	err = w.db.QueryRow(ctx, "SELECT ("+query+")::float8").Scan(&n)
	return n, err
}

// revive undoes every sign-out.
func (w *world) revive(ctx context.Context) error {
	for _, statement := range []string{
		"UPDATE realm SET valid_from = 0", "UPDATE users SET valid_from = 0 WHERE valid_from > 0",
		"UPDATE clients SET valid_from = 0",
		"UPDATE devices SET valid_from = 0 WHERE valid_from > 0",
	} {
		if _, err := w.db.Exec(ctx, statement); err != nil {
			return err
		}
	}
	return nil
}

// restart puts a new node in the place of the world's: the old one's database connections end, and with that report
// what they did.
func (w *world) restart(ctx context.Context) (err error) {
	w.node.Stop()
	w.node, err = w.rig.serve(ctx, w.url)
	return err
}

// stop ends the world's node.
func (w *world) stop(ctx context.Context) {
	w.node.Stop()
	w.db.Close(ctx)
}
