package models

import (
	"context"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5/pgtype"
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
}

// maintainKeys does what is due without being asked: it fetches the signing keys that other nodes made, and makes our own.
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
			_, err = s.rotateKeys(ctx, false, s.cfg.KeyRotation, Actor{Entity: EntitySystem})
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

// takeCleanUp says with a row among the limits, which all nodes see, that a clean-up is under way and the next one due cleanEvery
// later. Every batch says so anew: those of two clean-ups wait for each other, and a node that dies delays the next one by no more.
const takeCleanUp = `INSERT INTO rate_limits (k, tat) VALUES ('clean-up', {now} + @every) ON CONFLICT (k) DO UPDATE SET tat = excluded.tat`

// cleanUpIsDue is true for one node, cleanEvery after the last batch of any.
func (s *Store) cleanUpIsDue(ctx context.Context) (due bool, err error) {
	err = s.write(ctx, func(tx *gorm.DB) error {
		n, err := s.exec(tx, takeCleanUp+` WHERE rate_limits.tat <= {now}`, args{"every": cleanEvery.Microseconds()})
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

// Cleanup removes, in small batches: devices that ended longer than the retention ago, log rows that old which matter to
// nobody any more, spent limits, retired keys. What it leaves matters still, also when another node is at it.
func (s *Store) Cleanup(ctx context.Context) (Cleaned, error) {
	var c Cleaned
	var now int64
	if err := s.read(ctx, func(tx *gorm.DB) error { return s.row(tx, `SELECT {now} FROM realm`, nil, &now) }); err != nil {
		return c, err
	}
	cutoff := now - s.cfg.RevokedRetention.Microseconds()
	for after := uuid.Nil; ; {
		next, n, err := s.cleanDevices(ctx, after, cutoff)
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
		count     *int64
		statement string
		cutoff    int64
	}{
		{&c.Revocations, `DELETE FROM revocations WHERE seq IN (SELECT seq FROM revocations WHERE expires_at < @now_read AND created_at < @cutoff LIMIT @batch)`, cutoff},
		{&c.AuditEvents, `DELETE FROM audit_events WHERE id IN (SELECT id FROM audit_events WHERE at < @cutoff LIMIT @batch)`, now - s.cfg.AuditRetention.Microseconds()},
		{&c.RateLimits, `DELETE FROM rate_limits WHERE k IN (SELECT k FROM rate_limits WHERE tat < @now_read LIMIT @batch {lock free})`, cutoff},
		{&c.SigningKeys, `DELETE FROM signing_keys WHERE kid IN (SELECT kid FROM signing_keys WHERE retires_at <> 0 AND retires_at < @cutoff LIMIT @batch)`, cutoff},
		{&c.Subscribers, `DELETE FROM subscribers WHERE name IN (SELECT name FROM subscribers WHERE live_until < @cutoff LIMIT @batch) AND live_until < @cutoff`, cutoff},
		{&c.Receipts, `DELETE FROM acknowledgements WHERE seq IN (SELECT seq FROM acknowledgements WHERE at < @cutoff LIMIT @batch) AND at < @cutoff`, now - ackRetention.Microseconds()},
	} {
		for {
			n, err := s.cleanBatch(ctx, func(tx *gorm.DB) (int64, error) {
				return s.exec(tx, part.statement, args{"now_read": now, "cutoff": part.cutoff, "batch": cleanBatch})
			})
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

// cleanBatch runs one batch and lets the others breathe after it, also when there was nothing to remove: looking costs too.
func (s *Store) cleanBatch(ctx context.Context, fn func(tx *gorm.DB) (int64, error)) (n int64, err error) {
	if err := ctx.Err(); err != nil {
		return 0, err
	}
	begin := time.Now()
	err = s.write(ctx, func(tx *gorm.DB) (err error) {
		if _, err := s.exec(tx, takeCleanUp, args{"every": cleanEvery.Microseconds()}); err != nil {
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

// cleanDevices looks at one stretch of the devices in the order of their ids: no index knows when a device ends, because
// every refresh would have to change it. next is where to go on, uuid.Nil at the end.
func (s *Store) cleanDevices(ctx context.Context, after uuid.UUID, cutoff int64) (next uuid.UUID, n int64, err error) {
	n, err = s.cleanBatch(ctx, func(tx *gorm.DB) (int64, error) {
		next = uuid.Nil
		a, upto := args{"after": after, "cutoff": cutoff}, ``
		found, err := s.scanStop(tx, `SELECT id FROM devices WHERE id > @after ORDER BY id`, a, cleanBatch, &next)
		if err != nil {
			return 0, err
		}
		if found {
			a["upto"], upto = next, ` AND id <= @upto`
		}
		stretch := ` FROM devices WHERE id > @after` + upto
		expired, err := s.exec(tx, `DELETE`+stretch+` AND expires_at < @cutoff`, a)
		if err != nil {
			return 0, err
		}
		const ended = ` AND NOT EXISTS (SELECT 1 FROM users u, clients c, realm r WHERE u.id = devices.user_id AND c.id = devices.client_id
			AND (devices.signed_in_at > {greatest}(devices.valid_from, u.valid_from, c.valid_from, r.valid_from)
				OR {greatest}(devices.valid_from, u.valid_from, c.valid_from, r.valid_from) >= @cutoff))`
		if !s.d.postgres {
			n, err := s.exec(tx, `DELETE`+stretch+ended, a)
			return expired + n, err
		}
		// These are held first, and looked at once more by a statement of its own: it sees who signed in meanwhile, and that the
		// client is there again.
		var held []pgtype.UUID
		if err := s.rows(tx, `SELECT id`+stretch+ended+` FOR UPDATE SKIP LOCKED`, a, func(scan func(...any) error) error {
			var id uuid.UUID
			err := scan(&id)
			held = append(held, uuidOf(id))
			return err
		}); err != nil || len(held) == 0 {
			return expired, err
		}
		n, err := s.exec(tx, `DELETE FROM devices WHERE id = ANY(@held::uuid[])`+ended, args{"held": held, "cutoff": cutoff})
		return expired + n, err
	})
	return next, n, err
}
