package models

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/google/uuid"
	"gorm.io/gorm"
)

// How receivers follow the logs. The revocation log is in the order of commits by its numbers. The audit log has no
// lock that would order it: on PostgreSQL an event's place is its transaction's number, then its own, and it is read
// when no transaction with a lower number is open any more, so nothing can appear behind a position. SQLite has one
// writer: there the order of the numbers is that of the commits.

// Position is a place in one of the logs. TX is 0 in the revocation log, and on SQLite.
type Position struct{ TX, ID int64 }

// Before tells whether p comes before another position.
func (p Position) Before(other Position) bool {
	return p.TX < other.TX || p.TX == other.TX && p.ID < other.ID
}

// auditAfter reads the next @most events of the audit log after (@tx, @id) that are settled. What came with a dump has
// the transaction numbers of another cluster: all of that counts as number 0, in the order of its own numbers.
func (s *Store) auditAfter(columns string) string {
	if !s.d.postgres {
		return `SELECT ` + columns + ` FROM audit_events WHERE id > @id AND @tx = @tx ORDER BY id LIMIT @most`
	}
	return `SELECT ` + columns + ` FROM (
		(SELECT e.*, CAST(0 AS bigint) AS place FROM audit_events e WHERE @tx = 0 AND e.id > @id
			AND e.id <= (SELECT restored_events FROM realm) ORDER BY e.id LIMIT @most)
		UNION ALL
		-- mutant: audit-log-read-out-of-order
		(SELECT e.*, e.tx AS place FROM audit_events e WHERE (e.tx, e.id) > (@tx, @id) AND e.tx < {oldest open}
			AND e.id > (SELECT restored_events FROM realm) ORDER BY e.tx, e.id LIMIT @most)) events
		ORDER BY place, id LIMIT @most`
}

// auditEnd is the position behind all that is settled.
func (s *Store) auditEnd(tx *gorm.DB) (p Position, err error) {
	if s.d.postgres {
		return p, s.row(tx, `SELECT {oldest open} - 1, 9223372036854775807 FROM realm`, nil, &p.TX, &p.ID)
	}
	return p, s.row(tx, `SELECT 0, coalesce(max(id), 0) FROM audit_events`, nil, &p.TX, &p.ID)
}

// noteRestored looks whether the audit log came with a dump from another cluster, whose transaction numbers are ahead
// of this one's. It is all that was written there; receivers go on where the first event lies that they were not told
// of.
func (s *Store) noteRestored(ctx context.Context) error {
	if !s.d.postgres {
		return nil
	}
	var ahead bool
	if err := s.read(ctx, func(tx *gorm.DB) error {
		return s.row(tx, `SELECT coalesce((SELECT e.tx >= pg_snapshot_xmax(pg_current_snapshot())::text::bigint
			FROM audit_events e, realm r WHERE e.id > r.restored_events ORDER BY e.tx DESC LIMIT 1), false)`, nil, &ahead)
	}); err != nil || !ahead {
		return err
	}
	s.log.Warn("the database was restored from a dump; receivers may be told twice of what happened shortly before it")
	return s.write(ctx, func(tx *gorm.DB) error {
		realm, err := s.lockRealm(tx, 0)
		if err != nil {
			return err
		}
		if _, err := s.exec(tx, `UPDATE receivers SET pos_tx = 0, pos_part = '', pos_id = coalesce((
				SELECT min(e.id) - 1 FROM audit_events e, realm r WHERE e.at > @old AND CASE WHEN e.id <= r.restored_events
					THEN pos_tx = 0 AND e.id > pos_id ELSE (e.tx, e.id) > (pos_tx, pos_id) END),
				(SELECT max(id) FROM audit_events)) WHERE kind = @kind`,
			args{"kind": ReceiverWebhook, "old": realm.Now.Add(-NoticeTTL)}); err != nil {
			return err
		}
		_, err = s.exec(tx, `UPDATE realm SET restored_events = (SELECT max(id) FROM audit_events)`, nil)
		return err
	})
}

// OutboxEvent is an event of one of the logs, as receivers are told of it.
type OutboxEvent struct {
	At         Position
	Happened   Micros
	Revocation *Revocation // of the revocation log
	Clients    []string    // whose devices it may have ended; nil for any
	Audit      *AuditEvent // of the audit log
	SignedIn   bool        // the audit event's device is in by its own row: what ended its tokens signed it in anew
	Username   string      // of the audit event's user, and the name of its device; empty if they are gone
	DeviceName string
}

// Outbox is one reading of a log.
type Outbox struct {
	Events  []OutboxEvent
	Now     Micros // the database's clock
	Whole   bool   // that is the end of the log
	Unready bool   // the next events are there already, but an older transaction may still put some before them
	Shorter bool   // the log ends before the position: the database was restored, or lost its end in a failover
}

// outboxBatch bounds one reading.
const outboxBatch = 500

// ReadOutbox reads a receiver's log after a position. With including it begins at the position itself.
func (s *Store) ReadOutbox(ctx context.Context, kind string, after Position, including bool) (o Outbox, err error) {
	if including {
		after.ID--
	}
	err = s.read(ctx, func(tx *gorm.DB) (err error) {
		o = Outbox{}
		var last, oldest int64
		if err := s.row(tx, `SELECT {now}, last_seq, {oldest open} FROM realm`, nil, &o.Now, &last, &oldest); err != nil {
			return err
		}
		if kind == ReceiverLogout {
			o.Shorter, err = last < after.ID, s.readRevocations(tx, after, &o)
		} else {
			o.Shorter, err = oldest <= after.TX, s.readAudit(tx, after, &o)
		}
		o.Whole = len(o.Events) < outboxBatch
		return err
	})
	return o, err
}

func (s *Store) readRevocations(tx *gorm.DB, after Position, o *Outbox) error {
	var list []*Revocation
	if err := s.raw(tx, `SELECT * FROM revocations WHERE seq > @id ORDER BY seq LIMIT @most`,
		args{"id": after.ID, "most": outboxBatch}).Scan(&list).Error; err != nil {
		return err
	}
	var devices, users []uuid.UUID
	for _, v := range list {
		id, err := uuid.Parse(v.Subject)
		switch {
		case err != nil:
		case v.Level == LevelDevice:
			devices = append(devices, id)
		case v.Level == LevelUser:
			users = append(users, id)
		}
	}
	clients := map[string][]string{} // of a device or a user
	note := func(scan func(...any) error) error {
		var id uuid.UUID
		var client string
		err := scan(&id, &client)
		clients[id.String()] = append(clients[id.String()], client)
		return err
	}
	if len(devices) > 0 {
		if err := s.rows(tx, `SELECT id, client_id FROM devices WHERE id {in ids}`, args{"ids": devices}, note); err != nil {
			return err
		}
	}
	if len(users) > 0 {
		if err := s.rows(tx, `SELECT DISTINCT user_id, client_id FROM devices WHERE user_id {in ids}`, args{"ids": users},
			note); err != nil {
			return err
		}
	}
	for _, v := range list {
		e := OutboxEvent{At: Position{ID: v.Seq}, Happened: v.CreatedAt, Revocation: v}
		switch v.Level {
		case LevelDevice, LevelUser:
			e.Clients = append([]string{}, clients[v.Subject]...)
		case LevelClient:
			e.Clients = []string{v.Subject}
		}
		o.Events = append(o.Events, e)
	}
	return nil
}

func (s *Store) readAudit(tx *gorm.DB, after Position, o *Outbox) error {
	var list []*AuditEvent
	columns := `*`
	if s.d.postgres {
		columns = `id, at, type, entity, actor, ip, user_agent, user_id, client_id, device_id, detail, place AS tx`
	}
	a := args{"tx": after.TX, "id": after.ID, "most": outboxBatch}
	if err := s.raw(tx, s.auditAfter(columns), a).Scan(&list).Error; err != nil {
		return err
	}
	if len(list) == 0 && s.d.postgres {
		return s.row(tx, `SELECT EXISTS (SELECT 1 FROM audit_events WHERE tx >= {oldest open}
			AND id > (SELECT restored_events FROM realm))`, nil, &o.Unready)
	}
	names, in := map[string]string{}, map[string]bool{}
	for _, of := range []struct {
		statement string
		id        func(*AuditEvent) string
	}{
		{`SELECT id, username, 0 FROM users WHERE id {in ids}`, func(e *AuditEvent) string { return e.UserID }},
		{
			`SELECT id, name, CASE WHEN signed_in_at > valid_from THEN 1 ELSE 0 END FROM devices WHERE id {in ids}`,
			func(e *AuditEvent) string { return e.DeviceID },
		},
	} {
		var ids []uuid.UUID
		for _, e := range list {
			if id, err := uuid.Parse(of.id(e)); err == nil && !slices.Contains(ids, id) {
				ids = append(ids, id)
			}
		}
		if len(ids) == 0 {
			continue
		}
		if err := s.rows(tx, of.statement, args{"ids": ids}, func(scan func(...any) error) error {
			var id uuid.UUID
			var name string
			var signedIn int
			err := scan(&id, &name, &signedIn)
			names[id.String()], in[id.String()] = name, signedIn != 0
			return err
		}); err != nil {
			return err
		}
	}
	for _, e := range list {
		o.Events = append(o.Events, OutboxEvent{
			At: Position{TX: e.TX, ID: e.ID}, Happened: e.At, Audit: e, Username: names[e.UserID], DeviceName: names[e.DeviceID],
			SignedIn: in[e.DeviceID],
		})
	}
	return nil
}

// DeviceToTell is a device that an event has ended, and whose app is to be told.
type DeviceToTell struct{ ID, UserID uuid.UUID }

// DevicesEndedBy returns the devices of a client that an event has ended and that are still out, in the order of their
// ids, after the given one. Whoever was out before, or had expired, has nothing to be told; a device that was signed in
// again since has a session that is not this event's.
func (s *Store) DevicesEndedBy(
	ctx context.Context, v *Revocation, client string, after uuid.UUID, most int,
) (list []DeviceToTell, err error) {
	if v.Reason == ReasonSignedInAgain {
		return nil, nil
	}
	where, a := endedBy(v)
	a["client"], a["after"], a["most"] = client, after, most
	err = s.read(ctx, func(tx *gorm.DB) error {
		return s.raw(tx, `SELECT d.id, d.user_id FROM devices d WHERE d.client_id = @client AND d.id > @after AND `+where+`
			ORDER BY d.id LIMIT @most`, a).Scan(&list).Error
	})
	return list, err
}

// StillEnded tells whether a device that an event has ended is still out.
func (s *Store) StillEnded(ctx context.Context, v *Revocation, id uuid.UUID) (ended bool, err error) {
	where, a := endedBy(v)
	a["device"] = id
	err = s.read(ctx, func(tx *gorm.DB) error {
		return s.row(tx, `SELECT EXISTS (SELECT 1 FROM devices d WHERE d.id = @device AND `+where+`)`, a, &ended)
	})
	return ended, err
}

// endedBy is the condition, over devices d, that an event has ended them and they are still out.
func endedBy(v *Revocation) (where string, a args) {
	a = args{
		"seq": v.Seq, "valid_from": v.ValidFrom, "at": v.CreatedAt, "subject": v.Subject, "is_everyone": LevelEveryone,
	}
	where = `d.signed_in_at <= @valid_from`
	switch v.Level {
	case LevelDevice:
		return `d.id = @subject AND ` + where, a
	case LevelUser:
		where += ` AND d.user_id = @subject`
	}
	// One that was ended by itself was so before, because a device that is out is not ended again; but a deleted user's
	// devices, which are kept until all are told, have the value of the event that ended them.
	where += ` AND d.expires_at > @at AND NOT (d.signed_in_at <= d.valid_from AND d.valid_from <> @valid_from)
		AND NOT EXISTS (SELECT 1 FROM revocations o WHERE o.seq < @seq AND o.valid_from >= d.signed_in_at AND o.subject = ''
			AND o.level = @is_everyone)
		AND NOT EXISTS (SELECT 1 FROM revocations o WHERE o.seq < @seq AND o.valid_from >= d.signed_in_at
			AND o.subject = CAST(d.user_id AS text))
		AND NOT EXISTS (SELECT 1 FROM revocations o WHERE o.seq < @seq AND o.valid_from >= d.signed_in_at
			AND o.subject = d.client_id)`
	return where, a
}

// notifierLease is how long a node that says nothing keeps its receivers.
const notifierLease = 6 * time.Second

// TakeReceivers says that a node tells receivers, takes those that nobody does, and returns all that are its own now.
func (s *Store) TakeReceivers(ctx context.Context, node string) (list []*Receiver, err error) {
	err = s.write(ctx, func(tx *gorm.DB) error {
		a := args{"node": node, "lease": notifierLease}
		if _, err := s.exec(tx, `INSERT INTO notifiers (node, until) VALUES (@node, {now} + @lease)
			ON CONFLICT (node) DO UPDATE SET until = excluded.until`, a); err != nil {
			return err
		}
		if _, err := s.exec(tx, `UPDATE receivers SET node = @node WHERE node <> @node AND NOT EXISTS (
			SELECT 1 FROM notifiers n WHERE n.node = receivers.node AND n.until > {now})`, a); err != nil {
			return err
		}
		list = nil
		return tx.Where("node = ?", node).Find(&list).Error
	})
	return list, err
}

// LeaveReceivers lets the others take a node's receivers at once.
func (s *Store) LeaveReceivers(ctx context.Context, node string) error {
	return s.autocommit(ctx, func(tx *gorm.DB) error {
		_, err := s.exec(tx, `DELETE FROM notifiers WHERE node = @node OR until < {now} - @old`,
			args{"node": node, "old": time.Hour})
		return err
	})
}

// SaveReceiver writes how far a receiver has been told, and how that went. It returns [ErrNotFound] if the receiver is
// gone, or another node's by now, or if the log of this database does not go that far: it was restored or failed over.
func (s *Store) SaveReceiver(ctx context.Context, r *Receiver) error {
	return s.autocommit(ctx, func(tx *gorm.DB) error {
		n, err := s.exec(tx, saveReceiver, r.saved())
		if err == nil && n == 0 {
			err = ErrNotFound
		}
		return err
	})
}

const saveReceiver = `UPDATE receivers SET pos_tx = @pos_tx, pos_id = @pos_id, pos_part = @part, tries = @tries,
		failing_since = @since, next_try_at = @next, last_try_at = @last, last_answer = @answer, told = @told,
		dropped = @dropped
	WHERE id = @id AND node = @node AND @pos_tx < {oldest open}
		AND (kind = 'webhook' OR @pos_id <= (SELECT last_seq FROM realm))`

func (r *Receiver) saved() args {
	return args{
		"id": r.ID, "node": r.Node, "pos_tx": r.PosTX, "pos_id": r.PosID, "part": r.PosPart, "tries": r.Tries,
		"since": r.FailingSince, "next": r.NextTryAt, "last": r.LastTryAt, "answer": r.LastAnswer, "told": r.Told,
		"dropped": r.Dropped,
	}
}

// MoveReceivers moves receivers of a node that had nothing to be told on to a position.
func (s *Store) MoveReceivers(ctx context.Context, node string, ids []uuid.UUID, to Position) error {
	return s.autocommit(ctx, func(tx *gorm.DB) error {
		_, err := s.exec(tx, `UPDATE receivers SET pos_tx = @to_tx, pos_id = @to_id, pos_part = '' WHERE id {in ids}
			AND node = @node AND pos_part = '' AND (pos_tx < @to_tx OR (pos_tx = @to_tx AND pos_id < @to_id))`,
			args{"node": node, "ids": ids, "to_tx": to.TX, "to_id": to.ID})
		return err
	})
}

// DropNotices writes that a receiver was not told of some events because they were too old, up to its position. The
// first of them begins a range and is in the audit log; from is where the range began.
func (s *Store) DropNotices(ctx context.Context, r *Receiver, from Position, notices int64) error {
	return s.write(ctx, func(tx *gorm.DB) error {
		n, err := s.exec(tx, saveReceiver, r.saved())
		if err != nil {
			return err
		}
		if n == 0 {
			return ErrNotFound
		}
		now, err := s.now(tx)
		if err != nil {
			return err
		}
		var all int64
		if err := s.row(tx, `INSERT INTO dropped_notices (receiver_id, from_tx, from_id, to_tx, to_id, notices, at)
				VALUES (@id, @from_tx, @from_id, @to_tx, @to_id, @n, @at)
			ON CONFLICT (receiver_id, from_tx, from_id) DO UPDATE SET to_tx = excluded.to_tx, to_id = excluded.to_id,
				notices = dropped_notices.notices + excluded.notices, at = excluded.at
			RETURNING notices`, args{
			"id": r.ID, "from_tx": from.TX, "from_id": from.ID, "to_tx": r.PosTX, "to_id": r.PosID, "n": notices, "at": now,
		}, &all); err != nil {
			return fmt.Errorf("the range of dropped notices: %w", err)
		}
		if all != notices {
			return nil
		}
		return s.audit(tx, AuditEvent{
			At: now, Type: AuditNoticesDropped, ClientID: r.ClientID,
			Detail: detail{"receiver_id": r.ID, "url": r.URL, "failing_since": r.FailingSince, "last_answer": r.LastAnswer},
		}, Actor{Entity: EntitySystem})
	})
}

// OutboxEnd is the position behind all that is in a receiver's log by now.
func (s *Store) OutboxEnd(ctx context.Context, kind string) (p Position, err error) {
	err = s.read(ctx, func(tx *gorm.DB) (err error) {
		if kind == ReceiverWebhook {
			p, err = s.auditEnd(tx)
			return err
		}
		return s.row(tx, `SELECT last_seq FROM realm`, nil, &p.ID)
	})
	return p, err
}
