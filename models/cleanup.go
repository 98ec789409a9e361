package models

import (
	"context"
	"fmt"
	"time"

	"github.com/google/uuid"
	"gorm.io/gorm"
)

const (
	rotateEvery  = time.Minute
	cleanEvery   = 10 * time.Minute // of all nodes together
	cleanBatch   = 1000
	cleanRest    = 4 // how many times as long as a batch took the next one waits: refreshes come first
	cleanRestMin = 20 * time.Millisecond
)

// Cleaned counts the rows that a clean-up removed.
type Cleaned struct {
	Devices     int64 `json:"devices"`
	Revocations int64 `json:"revocations"`
	AuditEvents int64 `json:"audit_events"`
	RateLimits  int64 `json:"rate_limits"`
	SigningKeys int64 `json:"signing_keys"`
	Subscribers int64 `json:"subscribers"`
	Receipts    int64 `json:"receipts"`
	Codes       int64 `json:"codes"`
}

// maintainKeys does what is due without being asked: it fetches the signing keys that other nodes made, and makes our
// own.
func (s *Store) maintainKeys(ctx context.Context) {
	reload, rotate := time.NewTicker(keysReloadTime), time.NewTicker(rotateEvery)
	defer reload.Stop()
	defer rotate.Stop()
	for {
		var err error
		select {
		case <-ctx.Done():
			return
		case <-reload.C:
			err = s.loadKeys(ctx)
		case <-rotate.C:
			err = s.rotateOldKeys(ctx)
		}
		s.upkeep(ctx, err)
	}
}

// maintainRows cleans up when that is due. It takes minutes when there is much to do, so nothing else waits behind it.
func (s *Store) maintainRows(ctx context.Context) {
	look := time.NewTicker(time.Minute)
	defer look.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-look.C:
		}
		due, err := s.cleanUpIsDue(ctx)
		if due {
			_, err = s.Cleanup(ctx)
		}
		s.upkeep(ctx, err)
	}
}

// codeRetention is for how long after its end a code is remembered: a replay that comes late is judged all the same.
const codeRetention = 24 * time.Hour

// takeCleanUp says with a row among the limits, which all nodes see, that a clean-up is under way and the next one due
// cleanEvery later. Every batch says so anew: those of two clean-ups wait for each other, and a node that dies delays
// the next one by no more.
const takeCleanUp = `INSERT INTO rate_limits (k, tat) VALUES ('clean-up', {now} + @every)
	ON CONFLICT (k) DO UPDATE SET tat = excluded.tat`

// cleanUpIsDue is true for one node, cleanEvery after the last batch of any.
func (s *Store) cleanUpIsDue(ctx context.Context) (due bool, err error) {
	err = s.write(ctx, func(tx *gorm.DB) error {
		n, err := s.exec(tx, takeCleanUp+` WHERE rate_limits.tat <= {now}`, args{"every": cleanEvery})
		due = n > 0
		return err
	})
	return due && err == nil, err
}

func (s *Store) upkeep(ctx context.Context, err error) {
	if err != nil && ctx.Err() == nil {
		s.log.Warn("upkeep failed; it is tried again", "error", err)
	}
}

// Cleanup removes, in small batches: devices that ended longer than the retention ago, log rows that old which matter
// to nobody any more, spent limits, old codes, retired keys. What it leaves matters still, also when another node is at
// it.
func (s *Store) Cleanup(ctx context.Context) (Cleaned, error) {
	var c Cleaned
	var now Micros
	if err := s.read(ctx, func(tx *gorm.DB) (err error) { now, err = s.now(tx); return err }); err != nil {
		return c, err
	}
	cutoff := now.Add(-s.cfg.RevokedRetention)
	for after := uuid.Nil; ; {
		next, n, err := s.cleanDevices(ctx, after, cutoff, now.Add(-NoticeTTL))
		c.Devices += n
		if err != nil {
			return c, err
		}
		if next == uuid.Nil {
			break
		}
		after = next
	}
	for _, part := range []struct {
		count             *int64
		table, key, spent string // rows are removed that are spent, in batches of the key
		lock              string // what is in use is left alone
		cutoff            Micros
	}{
		{&c.Revocations, "revocations", "seq", `expires_at < @read_at AND created_at < @cutoff
			AND (created_at < @told OR NOT EXISTS (SELECT 1 FROM receivers WHERE kind = @logout))`, ``, cutoff},
		{&c.AuditEvents, "audit_events", "id", `at < @cutoff
			AND (at < @told OR NOT EXISTS (SELECT 1 FROM receivers WHERE kind = @webhook))`, ``, now.Add(-s.cfg.AuditRetention)},
		{&c.RateLimits, "rate_limits", "k", `tat < @read_at`, `{skip locked}`, cutoff},
		{&c.SigningKeys, accessKeys, "kid", `retires_at <> 0 AND retires_at < @cutoff`, ``, cutoff},
		{&c.SigningKeys, identityKeys, "kid", `retires_at <> 0 AND retires_at < @cutoff`, ``, cutoff},
		{&c.Subscribers, "subscribers", "name", `live_until < @cutoff`, ``, cutoff},
		{&c.Codes, "codes", "hash", `expires_at < @cutoff`, `{skip locked}`, now.Add(-codeRetention)},
		{&c.Receipts, "dropped_notices", "receiver_id", `at < @cutoff`, ``, cutoff},
		{&c.Subscribers, "receivers", "id", `ends_at_seq <> 0 AND ends_at_seq < @told`, ``, cutoff},
		{&c.Receipts, "acknowledgements", "seq", `at < @cutoff`, ``, now.Add(-ackRetention)},
	} {
		// The condition stands there twice: a key may be that of several rows, and one may have changed since it was
		// read.
		statement := fmt.Sprintf(`DELETE FROM %s WHERE %s IN (
				SELECT %[2]s FROM %[1]s WHERE %[3]s LIMIT @batch %[4]s) AND %[3]s`,
			part.table, part.key, part.spent, part.lock)
		a := args{
			"read_at": now, "cutoff": part.cutoff, "batch": cleanBatch, "told": now.Add(-NoticeTTL), "logout": ReceiverLogout,
			"webhook": ReceiverWebhook,
		}
		for {
			n, err := s.cleanBatch(ctx, func(tx *gorm.DB) (int64, error) { return s.exec(tx, statement, a) })
			*part.count += n
			if err != nil {
				return c, err
			}
			if n < cleanBatch {
				break
			}
		}
	}
	return c, nil
}

// cleanBatch runs one batch and lets the others breathe after it, also when there was nothing to remove: looking costs
// too.
func (s *Store) cleanBatch(ctx context.Context, fn func(tx *gorm.DB) (int64, error)) (n int64, err error) {
	if err := ctx.Err(); err != nil {
		return 0, err
	}
	begin := time.Now()
	err = s.write(ctx, func(tx *gorm.DB) (err error) {
		if _, err := s.exec(tx, takeCleanUp, args{"every": cleanEvery}); err != nil {
			return err
		}
		n, err = fn(tx)
		return err
	})
	select {
	case <-ctx.Done():
	case <-time.After(max(cleanRestMin, cleanRest*time.Since(begin))):
	}
	return n, err
}

// endedLongAgo is the end of a device that somebody made before the cutoff.
const endedLongAgo = `NOT EXISTS (SELECT 1 FROM users u, clients c, realm r WHERE u.id = d.user_id AND c.id = d.client_id
	AND (` + notSignedOut + ` OR ` + deviceValidFrom + ` >= @cutoff))`

// mayHaveToBeTold: the app of the device has to be told of its end, which it may not have been yet.
const mayHaveToBeTold = `(EXISTS (SELECT 1 FROM receivers w WHERE w.client_id = d.client_id AND w.kind = @logout) AND (
	d.expires_at >= @told AND NOT EXISTS (SELECT 1 FROM users u, clients c WHERE u.id = d.user_id AND c.id = d.client_id
		AND {greatest}(d.valid_from, u.valid_from, c.valid_from, (SELECT valid_from FROM realm)) < @told)))`

// cleanDevices looks at one range of the devices in the order of their ids: no index knows when a device ends, because
// every refresh would have to change it. next is where to go on, uuid.Nil at the end.
func (s *Store) cleanDevices(ctx context.Context, after uuid.UUID, cutoff, told Micros) (next uuid.UUID, n int64, err error) {
	n, err = s.cleanBatch(ctx, func(tx *gorm.DB) (int64, error) {
		next = uuid.Nil
		a, within := args{
			"after": after, "cutoff": cutoff, "told": told, "logout": ReceiverLogout,
		}, ` FROM devices AS d WHERE d.id > @after AND NOT `+mayHaveToBeTold
		found, err := s.scanStop(tx, `SELECT id FROM devices WHERE id > @after ORDER BY id`, a, cleanBatch, &next)
		if err != nil {
			return 0, err
		}
		if found {
			a["upto"] = next
			within += ` AND d.id <= @upto`
		}
		expired, err := s.exec(tx, `DELETE`+within+` AND d.expires_at < @cutoff`, a)
		if err != nil {
			return 0, err
		}
		if !s.d.postgres {
			n, err := s.exec(tx, `DELETE`+within+` AND `+endedLongAgo, a)
			return expired + n, err
		}
		// These are held first, and looked at once more by a statement of its own: it sees who signed in meanwhile, and
		// that the client is there again.
		var held []uuid.UUID
		hold := func(scan func(...any) error) error {
			var id uuid.UUID
			err := scan(&id)
			held = append(held, id)
			return err
		}
		err = s.rows(tx, `SELECT d.id`+within+` AND `+endedLongAgo+` {skip locked}`, a, hold)
		if err != nil || len(held) == 0 {
			return expired, err
		}
		n, err := s.exec(tx, `DELETE FROM devices AS d WHERE d.id {in held} AND `+endedLongAgo,
			args{"held": held, "cutoff": cutoff})
		return expired + n, err
	})
	return next, n, err
}
