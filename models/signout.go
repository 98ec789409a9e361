package models

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"

	"github.com/google/uuid"
	"gorm.io/gorm"
)

const (
	// batchSize is how many devices go in one transaction of a sign-out by filter.
	batchSize = 500
	// rangeSize is how many devices one transaction looks at: a filter that selects few of many would pass every time
	// limit.
	rangeSize = 20_000
)

// Revoke signs out, at any of the four levels: it moves the level's valid_from and appends one event, in one commit. At
// the device level it does so for each selected device that is signed in, in batches; the answer names the last event.
// A single device that is out already is no error and makes no event. It returns [ErrNotFound] if the user, client or
// single device does not exist, and [ErrInvalid] for a filter that selects all devices: everyone is a level of its own.
//
// Once it has returned, no token of a request that read the database before it is alive.
func (s *Store) Revoke(ctx context.Context, t Target, why Reason, by Actor) (*SignOut, error) {
	if t.level != LevelDevice || t.one {
		return s.writeSignOut(ctx, func(tx *gorm.DB) (*SignOut, error) { return s.revokeIn(tx, t, why, by) })
	}
	total := &SignOut{Counted: true}
	selectsAny, err := s.byUserID(ctx, &t.filter)
	if err != nil || !selectsAny {
		return total, err
	}
	for after := uuid.Nil; ; {
		var last uuid.UUID
		out, err := s.writeSignOut(ctx, func(tx *gorm.DB) (out *SignOut, err error) {
			out, last, err = s.revokeBatch(tx, t, after, batchSize, why, by)
			return out, err
		})
		if err != nil {
			return nil, err
		}
		if out.Revocation != nil {
			total.Revocation = out.Revocation
		}
		total.Count += out.Count
		if last == uuid.Nil {
			return total, nil
		}
		after = last
	}
}

// writeSignOut is a write that may sign out; when it is committed, the followers of the log are woken.
func (s *Store) writeSignOut(ctx context.Context, fn func(tx *gorm.DB) (*SignOut, error)) (*SignOut, error) {
	var out *SignOut
	err := s.write(ctx, func(tx *gorm.DB) (err error) {
		out, err = fn(tx)
		return err
	})
	if _, committed := err.(*committedError); err != nil && !committed {
		return nil, err
	}
	if out != nil && out.appended > 0 {
		s.Stats.Revocations[slices.Index(Levels[:], out.Revocation.Level)].Add(int64(out.appended))
		s.wakeFollowers()
	}
	return out, err
}

// revokeIn is Revoke inside a transaction; at the device level all that is selected, in one batch.
func (s *Store) revokeIn(tx *gorm.DB, t Target, why Reason, by Actor) (*SignOut, error) {
	switch t.level {
	case LevelDevice:
		if t.one {
			return s.revokeOneDevice(tx, t, why, by)
		}
		out, _, err := s.revokeBatch(tx, t, uuid.Nil, 0, why, by)
		return out, err
	case LevelUser:
		id, err := uuid.Parse(t.subject)
		if err != nil {
			return nil, ErrNotFound
		}
		if _, err := s.lockUser(tx, id); err != nil {
			return nil, err
		}
	case LevelClient:
		if _, err := s.lockClient(tx, t.subject, &Client{}); err != nil {
			return nil, err
		}
	case LevelEveryone:
	default:
		return nil, invalid("a sign-out without a target")
	}
	return s.revokeLevel(tx, t, why, by)
}

// revokeOneDevice signs out the one device that the target names, and finds the event of one that is out already.
func (s *Store) revokeOneDevice(tx *gorm.DB, t Target, why Reason, by Actor) (*SignOut, error) {
	if t.filter.ID == uuid.Nil { // which a filter takes for any device
		return nil, ErrNotFound
	}
	out, found, err := s.revokeBatch(tx, t, uuid.Nil, 1, why, by)
	if err != nil || out.Revocation != nil {
		return out, err
	}
	if found == uuid.Nil {
		return nil, ErrNotFound
	}
	out.Revocation, err = s.lastRevocationOf(tx, t.filter.ID)
	return out, err
}

// revokeLevel moves the valid_from of a user, of a client or of everyone, whose row is locked: one row and one event,
// whatever the number of devices below it.
func (s *Store) revokeLevel(tx *gorm.DB, t Target, why Reason, by Actor) (*SignOut, error) {
	realm, err := s.lockRealm(tx, 1)
	if err != nil {
		return nil, err
	}
	out := &SignOut{}
	event := AuditEvent{At: realm.Now, Type: AuditRevoked}
	move := `UPDATE realm SET valid_from = @v`
	switch t.level {
	case LevelUser:
		move, event.UserID = `UPDATE users SET valid_from = @v WHERE id = @subject`, t.subject
		// Counted with the realm's lock: what signed out some of them before is committed, and what comes later finds
		// them out.
		out.Counted = true
		if err := s.row(tx, `SELECT count(*) FROM devices d, users u, clients c, realm r
			WHERE d.user_id = @id AND`+ruleJoin+`AND `+signedIn, args{"id": t.subject}, &out.Count); err != nil {
			return nil, err
		}
	case LevelClient:
		move, event.ClientID = `UPDATE clients SET valid_from = @v WHERE id = @subject`, t.subject
	}
	if n, err := s.exec(tx, move, args{"v": realm.ValidFrom, "subject": t.subject}); err != nil || n != 1 {
		return nil, errors.Join(err, fmt.Errorf("valid_from of %s %q: %d rows moved", t.level, t.subject, n))
	}
	out.Revocation = realm.event(realm.LastSeq, t.level, t.subject, realm.ValidFrom, why, by)
	event.Detail = detail{"level": t.level, "reason": why, "seq": realm.LastSeq}
	if out.Counted {
		event.Detail["devices"] = out.Count
	}
	if err := s.audit(tx, event, by); err != nil {
		return nil, err
	}
	return out, s.appendRevocations(tx, out, []*Revocation{out.Revocation})
}

// revokeBatch signs out those of the selected devices that are signed in, up to limit of them unless it is 0, within
// one range of the ids, after the given one. last is the last device that was looked at, uuid.Nil if there are no more.
func (s *Store) revokeBatch(tx *gorm.DB, t Target, after uuid.UUID, limit int, why Reason, by Actor) (
	out *SignOut, last uuid.UUID, err error,
) {
	out = &SignOut{Counted: true}
	if t.filter == (DeviceFilter{}) {
		return nil, last, invalid("devices without a filter: everyone is a level of its own")
	}
	where, a, err := s.selects(t.filter)
	if err != nil {
		return nil, last, err
	}
	a["after"], a["keep"], a["limit"] = after, t.keep, limit
	if !t.one { // which is looked at also when it is out
		where += ` AND ` + aliveDevice
	}
	if t.keep != uuid.Nil { // and the browser session that it was signed in through
		where += ` AND d.id <> @keep AND NOT EXISTS (SELECT 1 FROM devices k WHERE k.id = @keep AND k.parent_id = d.id)`
	}
	var stop uuid.UUID
	if !t.one && t.filter.UserID == uuid.Nil { // a user's are few
		indexed, b, err := s.selects(DeviceFilter{ClientID: t.filter.ClientID, IP: t.filter.IP})
		if err != nil {
			return nil, last, err
		}
		b["after"] = after
		found, err := s.scanStop(tx, `SELECT d.id FROM devices d WHERE d.id > @after AND `+indexed+` ORDER BY d.id`,
			b, rangeSize, &stop)
		if err != nil {
			return nil, last, err
		}
		if found {
			a["stop"], where = stop, where+` AND d.id <= @stop`
		}
	}
	atMost := ``
	if limit > 0 {
		atMost = ` LIMIT @limit`
	}
	var devices []struct {
		Device
		Alive bool
	}
	// {lock d} waits for a refresh that is under way and then looks at the row again. CROSS JOIN tells SQLite to begin
	// with the devices.
	if err := s.raw(tx, `SELECT d.*, (`+aliveDevice+`) AS alive
		FROM devices d CROSS JOIN users u CROSS JOIN clients c CROSS JOIN realm r
		WHERE`+ruleJoin+`AND d.id > @after AND `+where+`
		ORDER BY d.id`+atMost+` {lock d}`, a).Scan(&devices).Error; err != nil {
		return nil, last, err
	}
	last = stop
	if limit > 0 && len(devices) == limit {
		last = devices[len(devices)-1].ID
	}
	live := make([]*Device, 0, len(devices))
	for i := range devices {
		if devices[i].Alive {
			live = append(live, &devices[i].Device)
		}
	}
	return out, last, s.revokeDevices(tx, out, live, why, by, nil)
}

// revokeDevices signs out devices whose rows are locked, all for the same reason; see endDevices. extra goes into the
// audit log beside the reason.
func (s *Store) revokeDevices(tx *gorm.DB, out *SignOut, devices []*Device, why Reason, by Actor, extra detail) error {
	return s.endDevices(tx, out, column(devices, func(d *Device) ending { return ending{d, why, by, extra} }))
}

// endDevices moves the valid_from of devices whose rows are locked, and of the children of the browser sessions among
// them, and appends one event each. One that a wider sign-out has ended since it was looked at is out already, and gets
// none. It locks the realm: a transaction calls it once.
func (s *Store) endDevices(tx *gorm.DB, out *SignOut, ends []ending) error {
	if len(ends) == 0 {
		return nil
	}
	ends, err := s.withChildren(tx, ends)
	if err != nil {
		return err
	}
	realm, err := s.lockRealm(tx, len(ends))
	if err != nil {
		return err
	}
	if ends, err = s.moveValidFrom(tx, &realm, ends); err != nil || len(ends) == 0 {
		return err
	}
	events := make([]*Revocation, len(ends))
	for i, e := range ends {
		// Whatever issues for a device writes its row, so the row knows its newest issue time.
		e.ValidFrom = max(realm.Now, e.IssuedAt)
		seq := realm.LastSeq - int64(len(ends)-1-i)
		events[i] = realm.event(seq, LevelDevice, e.ID.String(), e.ValidFrom, e.why, e.by)
		audit := detail{"level": LevelDevice, "reason": e.why, "seq": seq}
		maps.Copy(audit, e.extra)
		if err := s.audit(tx, AuditEvent{
			At: realm.Now, Type: e.auditType(), UserID: e.UserID.String(), ClientID: e.ClientID, DeviceID: e.ID.String(),
			Detail: audit,
		}, e.by); err != nil {
			return err
		}
	}
	out.Count += len(ends)
	out.Revocation = events[len(events)-1]
	return s.appendRevocations(tx, out, events)
}

// auditType is what the audit log calls the end of a device.
func (e ending) auditType() string {
	switch e.why {
	case ReasonReuse:
		return AuditReplay
	case ReasonCodeReuse:
		return AuditCodeReuse
	}
	return AuditRevoked
}

// moveValidFrom returns those of the devices that it has signed out, and gives back the sequence numbers of the others.
// A row's lock does not keep its user, its client or everyone from being signed out. Whoever does that locks the realm,
// and this statement begins after ours did: it sees all that came before, and what comes after sees it.
func (s *Store) moveValidFrom(tx *gorm.DB, realm *lockedRealm, ends []ending) ([]ending, error) {
	ids := column(ends, func(e ending) uuid.UUID { return e.ID })
	moved := make(map[uuid.UUID]bool, len(ids))
	if err := s.rows(tx, `UPDATE devices SET valid_from = CASE WHEN issued_at > @read_at THEN issued_at ELSE @read_at END
		WHERE id IN (SELECT d.id FROM devices d, users u, clients c, realm r WHERE d.id {in ids} AND`+ruleJoin+`
			AND `+notSignedOut+`) RETURNING id`, args{"read_at": realm.Now, "ids": ids},
		func(scan func(...any) error) error {
			var id uuid.UUID
			err := scan(&id)
			moved[id] = true
			return err
		}); err != nil {
		return nil, err
	}
	if len(moved) == len(ends) {
		return ends, nil
	}
	realm.LastSeq -= int64(len(ends) - len(moved))
	if _, err := s.exec(tx, `UPDATE realm SET last_seq = @seq`, args{"seq": realm.LastSeq}); err != nil {
		return nil, err
	}
	return slices.DeleteFunc(slices.Clone(ends), func(e ending) bool { return !moved[e.ID] }), nil
}

// event is one revocation at the moment of the lock.
func (r *lockedRealm) event(seq int64, level Level, subject string, validFrom Micros, why Reason, by Actor) *Revocation {
	return &Revocation{
		Seq: seq, Level: level, Subject: subject, ValidFrom: validFrom, Reason: why,
		Entity: by.Entity, Actor: by.ID, CreatedAt: r.Now, ExpiresAt: r.ExpiresAt,
	}
}

// appendRevocations writes the events whose numbers lockRealm gave, and rings the other nodes when they are committed.
func (s *Store) appendRevocations(tx *gorm.DB, out *SignOut, events []*Revocation) error {
	out.appended += len(events)
	if err := tx.CreateInBatches(events, 1000).Error; err != nil {
		return err
	}
	if !s.d.postgres {
		return nil
	}
	_, err := s.exec(tx, `SELECT pg_notify('`+notifyChannel+`', @seq)`,
		args{"seq": strconv.FormatInt(events[len(events)-1].Seq, 10)})
	return err
}
