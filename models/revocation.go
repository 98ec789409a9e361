package models

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"

	"github.com/google/uuid"
	"gorm.io/gorm"
)

// Level says what a valid_from belongs to.
type Level string

// The four levels.
const (
	LevelDevice   Level = "device"
	LevelUser     Level = "user"
	LevelClient   Level = "client"
	LevelEveryone Level = "everyone"
)

// Levels are the four, from the narrowest.
var Levels = [4]Level{LevelDevice, LevelUser, LevelClient, LevelEveryone}

// Reason says why tokens were ended.
type Reason string

// The reasons.
const (
	ReasonSignedOut       Reason = "signed_out" // by the user, or by an app's log-out
	ReasonRevoked         Reason = "revoked"    // by an admin
	ReasonSignedInAgain   Reason = "signed_in_again"
	ReasonReuse           Reason = "refresh_token_reuse"
	ReasonTooManyDevices  Reason = "too_many_devices"
	ReasonPasswordChanged Reason = "password_changed"
	ReasonAdminRemoved    Reason = "admin_removed"
	ReasonUserDisabled    Reason = "user_disabled"
	ReasonUserDeleted     Reason = "user_deleted"
	ReasonClientDeleted   Reason = "client_deleted"
)

// Revocation is an event: a row of the append-only revocation log. Its sequence number is its place in the order of commits.
type Revocation struct {
	Seq       int64 `gorm:"primaryKey;autoIncrement:false"`
	Level     Level
	Subject   string // device or user id, client id; empty for everyone
	ValidFrom Micros // tokens of the subject issued at or before it are dead
	Reason    Reason
	Entity    string // who initiated it: user, admin, policy, system
	Actor     string
	CreatedAt Micros // the clock's value just before the commit
	ExpiresAt Micros // when the last token that it ends has expired
}

// SignOut is what a sign-out did.
type SignOut struct {
	Revocation *Revocation // the last event; nil if all was out already and the old event is forgotten
	Count      int         // devices that were signed in and are out now; -1 for a client and for everyone: it was not counted
	appended   int         // events
}

// Realm is everyone: one row.
type Realm struct {
	ID               int64 `gorm:"primaryKey"`
	ValidFrom        Micros
	Horizon          Micros // no token has a later issue time; see horizon.go
	LastSeq          int64
	LongestAccessTTL int64 `gorm:"column:longest_access_ttl"` // microseconds, of all that was ever configured
}

// TableName implements gorm's Tabler.
func (Realm) TableName() string { return "realm" }

// Target says what is signed out. An empty one is an error: everyone must be said.
type Target struct {
	Level   Level
	Subject string // of a user or a client
	// For the device level: the devices that the filter selects, but for Keep.
	Filter DeviceFilter
	Keep   uuid.UUID
}

const (
	// batchSize is how many devices go in one transaction of a sign-out by filter.
	batchSize = 500
	// stretchSize is how many devices one transaction looks at: a filter that selects few of many would pass every time limit.
	stretchSize = 20_000
)

// Revoke signs out, at any of the four levels: it moves the level's valid_from and appends one event, in one commit. At
// the device level it does so for each selected device that is signed in, in batches; the answer names the last event.
// A single device that is out already is no error and makes no event. It returns [ErrNotFound] if the user, client or
// single device does not exist, and [ErrInvalid] for a filter that selects all devices: everyone is a level of its own.
//
// Once it has returned, no token of a request that read the database before it is alive.
func (s *Store) Revoke(ctx context.Context, t Target, why Reason, by Actor) (*SignOut, error) {
	if t.Level != LevelDevice || t.Filter.ID != uuid.Nil {
		return s.change(ctx, func(tx *gorm.DB) (*SignOut, error) { return s.revokeIn(tx, t, why, by) })
	}
	total := &SignOut{}
	selectsAny, err := s.byUserID(ctx, &t.Filter)
	if err != nil || !selectsAny {
		return total, err
	}
	for after := uuid.Nil; ; {
		var last uuid.UUID
		out, err := s.change(ctx, func(tx *gorm.DB) (out *SignOut, err error) {
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

// change is a write that may sign out; when it is committed, the followers of the log are woken.
func (s *Store) change(ctx context.Context, fn func(tx *gorm.DB) (*SignOut, error)) (*SignOut, error) {
	var out *SignOut
	err := s.write(ctx, func(tx *gorm.DB) (err error) {
		out, err = fn(tx)
		return err
	})
	if err != nil {
		return nil, err
	}
	s.appended(out)
	return out, nil
}

func (s *Store) appended(out *SignOut) {
	if out != nil && out.appended > 0 {
		s.Stats.Revocations[slices.Index(Levels[:], out.Revocation.Level)].Add(int64(out.appended))
		s.feed.wake()
	}
}

// revokeIn is Revoke inside a transaction; at the device level all that is selected, in one batch.
func (s *Store) revokeIn(tx *gorm.DB, t Target, why Reason, by Actor) (*SignOut, error) {
	out := &SignOut{Count: -1}
	var err error
	switch t.Level {
	case LevelDevice:
		var found uuid.UUID
		if out, found, err = s.revokeBatch(tx, t, uuid.Nil, math.MaxInt32, why, by); err != nil || out.Revocation != nil {
			return out, err
		}
		if t.Filter.ID != uuid.Nil {
			if found == uuid.Nil {
				return nil, ErrNotFound
			}
			out.Revocation, err = s.lastRevocationOf(tx, t.Filter.ID)
		}
		return out, err
	case LevelUser:
		id, errID := uuid.Parse(t.Subject)
		if errID != nil {
			return nil, ErrNotFound
		}
		_, err = s.lockUser(tx, id)
	case LevelClient:
		_, err = s.lockClient(tx, t.Subject, &Client{})
	case LevelEveryone:
		if t.Subject != "" {
			return nil, invalid("everyone has no name: it got %q", t.Subject)
		}
	default:
		return nil, invalid("the level %q: it takes device, user, client or everyone", t.Level)
	}
	if err != nil {
		return nil, err
	}
	turn, err := s.takeTurn(tx, 1)
	if err != nil {
		return nil, err
	}
	if t.Level == LevelUser {
		// Counted in its turn: what signed out some of them before is committed, and what comes later finds them out.
		if err := s.row(tx, `SELECT count(*) FROM devices d, users u, clients c, realm r
			WHERE d.user_id = @id AND u.id = d.user_id AND c.id = d.client_id AND `+signedIn, args{"id": t.Subject}, &out.Count); err != nil {
			return nil, err
		}
	}
	// One row each; the level's own, whatever the number of devices below it.
	move := map[Level]string{
		LevelUser:     `UPDATE users SET valid_from = @v WHERE id = @subject`,
		LevelClient:   `UPDATE clients SET valid_from = @v WHERE id = @subject`,
		LevelEveryone: `UPDATE realm SET valid_from = @v`,
	}[t.Level]
	if n, err := s.exec(tx, move, args{"v": turn.ValidFrom, "subject": t.Subject}); err != nil || n != 1 {
		return nil, errors.Join(err, fmt.Errorf("valid_from of %s %q: %d rows moved", t.Level, t.Subject, n))
	}
	out.Revocation = &Revocation{
		Seq: turn.LastSeq, Level: t.Level, Subject: t.Subject, ValidFrom: Micros(turn.ValidFrom), Reason: why,
		Entity: by.Entity, Actor: by.ID, CreatedAt: Micros(turn.Now), ExpiresAt: Micros(turn.ExpiresAt),
	}
	event := AuditEvent{
		At: out.Revocation.CreatedAt, Type: AuditRevoked,
		Detail: detail{"level": t.Level, "reason": why, "seq": turn.LastSeq, "devices": out.Count},
	}
	switch t.Level {
	case LevelUser:
		event.UserID = t.Subject
	case LevelClient:
		event.ClientID = t.Subject
	}
	if err := s.audit(tx, event, by); err != nil {
		return nil, err
	}
	return out, s.appendRevocations(tx, out, []*Revocation{out.Revocation})
}

// revokeBatch signs out those of the selected devices that are signed in, up to limit of them, of one stretch in the order of
// their ids. last is the last device that was looked at, uuid.Nil if there are no more.
func (s *Store) revokeBatch(tx *gorm.DB, t Target, after uuid.UUID, limit int, why Reason, by Actor) (out *SignOut, last uuid.UUID, err error) {
	out = &SignOut{}
	if t.Filter == (DeviceFilter{}) {
		return nil, last, invalid("devices without a filter: everyone is a level of its own")
	}
	where, a, err := s.selects(t.Filter)
	if err != nil {
		return nil, last, err
	}
	if t.Filter.ID == uuid.Nil { // a single one is looked at also when it is out
		where += ` AND ` + aliveDevice
	}
	a["after"], a["keep"], a["limit"] = after, t.Keep, limit
	var stop uuid.UUID
	if t.Filter.ID == uuid.Nil && t.Filter.UserID == uuid.Nil { // a user's are few
		indexed, b, err := s.selects(DeviceFilter{ClientID: t.Filter.ClientID, IP: t.Filter.IP})
		if err != nil {
			return nil, last, err
		}
		b["after"] = after
		found, err := s.scanStop(tx, `SELECT d.id FROM devices d WHERE d.id > @after AND `+indexed+` ORDER BY d.id`, b, stretchSize, &stop)
		if err != nil {
			return nil, last, err
		}
		if found {
			a["stop"], where = stop, where+` AND d.id <= @stop`
		}
	}
	var devices []struct {
		Device
		Alive bool
	}
	// {lock d} waits for a refresh that is under way and then looks at the row again. CROSS JOIN tells SQLite to begin with the devices.
	if err := s.raw(tx, `SELECT d.*, (`+aliveDevice+`) AS alive FROM devices d CROSS JOIN users u CROSS JOIN clients c CROSS JOIN realm r
		WHERE u.id = d.user_id AND c.id = d.client_id AND d.id > @after AND d.id <> @keep AND `+where+`
		ORDER BY d.id LIMIT @limit {lock d}`, a).Scan(&devices).Error; err != nil {
		return nil, last, err
	}
	last = stop
	if len(devices) > 0 && (len(devices) == limit || t.Filter.ID != uuid.Nil) {
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

// revokeDevices moves the valid_from of devices whose rows are locked, and appends one event each. One that a wider
// sign-out has ended since it was looked at is out already, and gets none. extra goes into the audit log beside the reason.
func (s *Store) revokeDevices(tx *gorm.DB, out *SignOut, devices []*Device, why Reason, by Actor, extra detail) error {
	if len(devices) == 0 {
		return nil
	}
	turn, err := s.takeTurn(tx, len(devices))
	if err != nil {
		return err
	}
	ids := make([]uuid.UUID, len(devices))
	for i, d := range devices {
		ids[i] = d.ID
	}
	// A row's lock does not keep its user, its client or everyone from being signed out. Whoever does that takes a turn, and this
	// statement begins after ours: it sees all that came before, and what comes after sees it.
	var moved []string
	if err := tx.Raw(s.d.words.Replace(`UPDATE devices SET valid_from = CASE WHEN issued_at > ? THEN issued_at ELSE ? END
		WHERE id IN (SELECT d.id FROM devices d, users u, clients c, realm r WHERE d.id IN ? AND u.id = d.user_id AND c.id = d.client_id
			AND `+notSignedOut+`) RETURNING CAST(id AS text)`), turn.Now, turn.Now, ids).Scan(&moved).Error; err != nil {
		return err
	}
	if out := len(devices) - len(moved); out > 0 {
		devices = slices.DeleteFunc(slices.Clone(devices), func(d *Device) bool { return !slices.Contains(moved, d.ID.String()) })
		if len(devices) != len(moved) {
			return fmt.Errorf("valid_from of %d devices: %d rows moved", len(devices), len(moved))
		}
		turn.LastSeq -= int64(out)
		if _, err := s.exec(tx, `UPDATE realm SET last_seq = @seq`, args{"seq": turn.LastSeq}); err != nil || len(devices) == 0 {
			return err
		}
	}
	kind := AuditRevoked
	if why == ReasonReuse {
		kind = AuditReplay
	}
	events := make([]*Revocation, len(devices))
	for i, d := range devices {
		// Whatever issues for a device writes its row, so the row knows its newest issue time.
		d.ValidFrom = max(Micros(turn.Now), d.IssuedAt)
		events[i] = &Revocation{
			Seq: turn.LastSeq - int64(len(devices)-1-i), Level: LevelDevice, Subject: d.ID.String(), ValidFrom: d.ValidFrom, Reason: why,
			Entity: by.Entity, Actor: by.ID, CreatedAt: Micros(turn.Now), ExpiresAt: Micros(turn.ExpiresAt),
		}
		audit := detail{"level": LevelDevice, "reason": why, "seq": events[i].Seq}
		for k, v := range extra {
			audit[k] = v
		}
		if err := s.audit(tx, AuditEvent{
			At: Micros(turn.Now), Type: kind, UserID: d.UserID.String(), ClientID: d.ClientID, DeviceID: d.ID.String(), Detail: audit,
		}, by); err != nil {
			return err
		}
	}
	out.Count += len(devices)
	out.Revocation = events[len(events)-1]
	return s.appendRevocations(tx, out, events)
}

// appendRevocations writes the events whose numbers takeTurn gave, and rings the other nodes when they are committed.
func (s *Store) appendRevocations(tx *gorm.DB, out *SignOut, events []*Revocation) error {
	out.appended += len(events)
	if err := tx.CreateInBatches(events, 1000).Error; err != nil {
		return err
	}
	if !s.d.postgres {
		return nil
	}
	_, err := s.exec(tx, `SELECT pg_notify('`+notifyChannel+`', @seq)`, args{"seq": strconv.FormatInt(events[len(events)-1].Seq, 10)})
	return err
}

// lastRevocationOf is the newest event that ended a device, at whatever level; nil if it has been pruned.
func (s *Store) lastRevocationOf(tx *gorm.DB, device uuid.UUID) (*Revocation, error) {
	var list []*Revocation
	err := s.raw(tx, `SELECT v.* FROM revocations v WHERE (v.level, v.subject) IN (SELECT 'device', CAST(id AS text) FROM devices WHERE id = @id
			UNION ALL SELECT 'user', CAST(user_id AS text) FROM devices WHERE id = @id
			UNION ALL SELECT 'client', client_id FROM devices WHERE id = @id UNION ALL SELECT 'everyone', '')
		ORDER BY v.seq DESC LIMIT 1`, args{"id": device}).Scan(&list).Error
	if err != nil || len(list) == 0 {
		return nil, err
	}
	return list[0], nil
}

// GetRevocation returns one event.
func (s *Store) GetRevocation(ctx context.Context, seq int64) (*Revocation, error) {
	var r Revocation
	if err := s.read(ctx, func(tx *gorm.DB) error { return tx.Where("seq = ?", seq).Take(&r).Error }); err != nil {
		return nil, err
	}
	return &r, nil
}

// RevocationFilter selects events; empty fields select all.
type RevocationFilter struct {
	Level   Level
	Subject string
	Reason  Reason
}

// ListRevocations returns a page of the revocation log, newest first. So that every page is quick, a page of a filter by
// level or reason looks at some thousands of events only, of the subject if one is given: it may hold fewer than the limit,
// or none, and still name a next one.
func (s *Store) ListRevocations(ctx context.Context, f RevocationFilter, p Page) (list []Revocation, next string, err error) {
	after, err := s.cursorAfter("revocations", p)
	if err != nil {
		return nil, "", err
	}
	before := int64(math.MaxInt64)
	if after != "" {
		if before, err = strconv.ParseInt(after, 10, 64); err != nil {
			return nil, "", invalid("cursor")
		}
	}
	a := args{"before": before, "limit": p.limit() + 1, "level": f.Level, "subject": f.Subject, "reason": f.Reason}
	where, other := `seq < @before`, ``
	if f.Subject != "" {
		where += ` AND subject = @subject`
	}
	if f.Level != "" {
		other += ` AND level = @level`
	}
	if f.Reason != "" {
		other += ` AND reason = @reason`
	}
	var stop int64
	err = s.read(ctx, func(tx *gorm.DB) error {
		if other != "" {
			found, err := s.scanStop(tx, `SELECT seq FROM revocations WHERE `+where+` ORDER BY seq DESC`, a, scanLimit, &stop)
			if err != nil {
				return err
			}
			if found {
				other += ` AND seq >= @stop`
				a["stop"] = stop
			}
		}
		return s.raw(tx, `SELECT * FROM revocations WHERE `+where+other+` ORDER BY seq DESC LIMIT @limit`, a).Scan(&list).Error
	})
	key := func(seq int64) string { return strconv.FormatInt(seq, 10) }
	list, next = pageOf(s, "revocations", p, list, func(r Revocation) string { return key(r.Seq) })
	if next == "" && stop != 0 {
		next = s.cursor("revocations", key(stop))
	}
	return list, next, err
}
