package models

import (
	"context"
	"math"
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
	ReasonCodeReuse       Reason = "code_reuse"        // the authorization code of its sign-in came back
	ReasonParentSignedOut Reason = "parent_signed_out" // the browser session that it was signed in through
	ReasonTooManyDevices  Reason = "too_many_devices"
	ReasonPasswordChanged Reason = "password_changed"
	ReasonAdminRemoved    Reason = "admin_removed"
	ReasonUserDisabled    Reason = "user_disabled"
	ReasonUserDeleted     Reason = "user_deleted"
	ReasonClientDeleted   Reason = "client_deleted"
)

// Revocation is an event: a row of the append-only revocation log. Its sequence number is its place in the order of
// commits.
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
	Count      int         // devices that were signed in and are out now, if they were counted
	Counted    bool        // not those of a client and of everyone
	appended   int         // events
}

// Realm is everyone: one row.
type Realm struct {
	ID               int64 `gorm:"primaryKey"`
	ValidFrom        Micros
	Horizon          Micros // no token has a later issue time; see horizon.go
	LastSeq          int64
	LongestAccessTTL int64 `gorm:"column:longest_access_ttl"` // microseconds, of all that was ever configured
	RestoredEvents   int64 // audit events up to this number came with a dump; see outbox.go
}

// TableName implements gorm's Tabler.
func (Realm) TableName() string { return "realm" }

// lastRevocationOf is the newest event that ended a device, at whatever level; nil if it has been pruned.
func (s *Store) lastRevocationOf(tx *gorm.DB, device uuid.UUID) (*Revocation, error) {
	var list []*Revocation
	err := s.raw(tx, `SELECT v.* FROM revocations v WHERE (v.level, v.subject) IN (
			SELECT 'device', CAST(id AS text) FROM devices WHERE id = @id
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

// ListRevocations returns a page of the revocation log, newest first. So that every page is quick, a page of a filter
// by level or reason looks at some thousands of events only, of the subject if one is given: it may hold fewer than the
// limit, or none, and still name a next one.
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
	a := args{"before": before, "level": f.Level, "subject": f.Subject, "reason": f.Reason}
	indexed, other := `seq < @before`, ``
	if f.Subject != "" {
		indexed += ` AND subject = @subject`
	}
	if f.Level != "" {
		other += ` AND level = @level`
	}
	if f.Reason != "" {
		other += ` AND reason = @reason`
	}
	var stop int64
	events := boundedList[Revocation]{
		name: "revocations", args: a, stop: []any{&stop},
		key:     func(r Revocation) string { return strconv.FormatInt(r.Seq, 10) },
		stopKey: func() string { return strconv.FormatInt(stop, 10) },
		page: func(stopped bool) string {
			where := indexed + other
			if stopped {
				a["stop"] = stop
				where += ` AND seq >= @stop`
			}
			return `SELECT * FROM revocations WHERE ` + where + ` ORDER BY seq DESC`
		},
	}
	if other != "" {
		events.look = `SELECT seq FROM revocations WHERE ` + indexed + ` ORDER BY seq DESC`
	}
	return pageOfBounded(ctx, s, p, events)
}
