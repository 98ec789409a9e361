package models

import (
	"context"
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/google/uuid"
	"gorm.io/gorm"
)

// The types of audit events.
const (
	AuditSignedIn        = "signed_in"
	AuditSignedInAgain   = "signed_in_again"
	AuditRevoked         = "revoked"               // a sign-out at any level; detail has level, reason and sequence number
	AuditReplay          = "refresh_token_reuse"   // likewise, and both addresses
	AuditRetried         = "refresh_token_retried" // from elsewhere than the refresh before; both addresses
	AuditCodeReuse       = "code_reuse"            // a sign-out: a spent code came back; both addresses
	AuditRenewed         = "browser_renewed"       // the password was given again in a browser that was signed in
	AuditAdminRefused    = "admin_refused"         // a right password, and the scope admin for somebody who is none
	AuditWrongPassword   = "wrong_password"        // of a user, or for a name that nobody has
	AuditLimitReached    = "limit_reached"         // detail has which; no event tells of what is refused afterwards
	AuditDeviceRenamed   = "device_renamed"
	AuditPasswordChanged = "password_changed"
	AuditUserCreated     = "user_created"
	AuditUserChanged     = "user_changed"
	AuditUserDisabled    = "user_disabled"
	AuditUserEnabled     = "user_enabled"
	AuditUserUnlocked    = "user_unlocked" // the counts of the limits were cleared
	AuditUserDeleted     = "user_deleted"
	AuditClientCreated   = "client_created"
	AuditClientChanged   = "client_changed"
	AuditClientSecret    = "client_secret_rotated"
	AuditClientDeleted   = "client_deleted"
	AuditKeysRotated     = "keys_rotated"

	AuditSubscriberDeleted = "subscriber_deleted"
	AuditWebhookCreated    = "webhook_created"
	AuditWebhookSecret     = "webhook_secret_rotated"
	AuditWebhookDeleted    = "webhook_deleted"
	AuditNoticesDropped    = "notices_dropped" // a receiver was not told in time; dropped_notices has how many
)

type detail = map[string]any

// AuditEvent is a row of the audit log: who did what to whom, from where, and why. It is written in the transaction of
// the change it tells of.
type AuditEvent struct {
	ID        int64 `gorm:"primaryKey"`
	At        Micros
	Type      string
	Entity    string // user, admin, policy, system
	Actor     string
	IP        string
	UserAgent string
	UserID    string // of the thing that was changed
	Username  string `gorm:"-"` // the user's of today; only in lists
	ClientID  string
	DeviceID  string
	Detail    map[string]any `gorm:"serializer:json"`
	TX        int64          `gorm:"column:tx"` // the first half of its place in the order of commits; see outbox.go
}

// AuditFilter selects audit events; empty fields select all.
type AuditFilter struct {
	Type, UserID, ClientID, DeviceID, Actor, IP string
	From, To                                    Micros // From <= at < To
}

func (s *Store) audit(tx *gorm.DB, e AuditEvent, by Actor) error {
	e.Entity, e.Actor, e.IP, e.UserAgent = by.Entity, by.ID, by.IP, cleanText(by.UserAgent, maxUserAgent)
	text, err := json.Marshal(e.Detail)
	if err != nil {
		return err
	}
	_, err = s.exec(tx, `INSERT INTO audit_events
			(at, type, entity, actor, ip, user_agent, user_id, client_id, device_id, detail)
		VALUES (@at, @type, @entity, @actor, @ip, @agent, @user, @client, @device, @detail)`, args{
		"at": e.At, "type": e.Type, "entity": e.Entity, "actor": e.Actor, "ip": e.IP, "agent": e.UserAgent,
		"user": e.UserID, "client": e.ClientID, "device": e.DeviceID, "detail": string(text),
	})
	return err
}

// auditPlace is where an event stands in a list of the audit log.
type auditPlace struct {
	at Micros
	id int64
}

func (p auditPlace) String() string { return fmt.Sprintf("%d.%d", p.at, p.id) }

func parseAuditPlace(key string) (p auditPlace, err error) {
	at, id, _ := strings.Cut(key, ".")
	micros, err := strconv.ParseInt(at, 10, 64)
	if err == nil {
		p.at = Micros(micros)
		p.id, err = strconv.ParseInt(id, 10, 64)
	}
	return p, err
}

// ListAuditEvents returns a page of the audit log, newest first: in the order of the numbers, or of the times if it is
// bounded by a time and by neither user nor device. So that every page is quick, a page of a filter by type, client,
// actor or address looks at some thousands of events only, of the user, the device or the times if those are given, and
// so does one that bounds a user's or a device's events by a time: it may hold fewer than the limit, or none, and still
// name a next one.
func (s *Store) ListAuditEvents(ctx context.Context, f AuditFilter, p Page) (list []AuditEvent, next string, err error) {
	o := f.order()
	after, err := s.cursorAfter(o.name, p)
	if err != nil {
		return nil, "", err
	}
	last := auditPlace{never, math.MaxInt64}
	if after != "" {
		if last, err = parseAuditPlace(after); err != nil {
			return nil, "", invalid("cursor")
		}
	}
	from, to := f.From, f.To-1
	if f.To == 0 {
		to = never
	}
	if o.byTime { // one bound on each side: of two SQLite's index uses any
		to = min(to, last.at)
	}
	a := args{
		"before": last.id, "before_at": last.at, "from": from, "to": to, "device": f.DeviceID, "user": f.UserID,
		"type": f.Type, "client": f.ClientID, "actor": f.Actor, "ip": f.IP,
	}
	var stop auditPlace
	events := boundedList[AuditEvent]{
		name: o.name, args: a, stop: []any{&stop.at, &stop.id},
		key:     func(e AuditEvent) string { return auditPlace{e.At, e.ID}.String() },
		stopKey: func() string { return stop.String() },
		page: func(stopped bool) string {
			other := o.other
			if stopped {
				other += o.downTo
				a["stop"], a["stop_at"] = stop.id, stop.at
				if o.byTime {
					a["from"] = stop.at
				}
			}
			return `SELECT * FROM audit_events WHERE ` + o.before + o.indexed + other + ` ORDER BY ` + o.by
		},
	}
	if o.other != "" {
		events.look = `SELECT at, id FROM audit_events WHERE ` + o.before + o.indexed + ` ORDER BY ` + o.by
	}
	if list, next, err = pageOfBounded(ctx, s, p, events); err != nil {
		return nil, "", err
	}
	return list, next, s.nameUsers(ctx, list)
}

// nameUsers puts the users' names of today into events. Who is gone has none.
func (s *Store) nameUsers(ctx context.Context, list []AuditEvent) error {
	names := map[uuid.UUID]string{}
	var ids []uuid.UUID
	for _, e := range list {
		if id, err := uuid.Parse(e.UserID); err == nil && !slices.Contains(ids, id) {
			ids = append(ids, id)
		}
	}
	if len(ids) == 0 {
		return nil
	}
	err := s.read(ctx, func(tx *gorm.DB) error {
		return s.rows(tx, `SELECT id, username FROM users WHERE id {in ids}`, args{"ids": ids},
			func(scan func(...any) error) error {
				var id uuid.UUID
				var name string
				err := scan(&id, &name)
				names[id] = name
				return err
			})
	})
	for i := range list {
		if id, err := uuid.Parse(list[i].UserID); err == nil {
			list[i].Username = names[id]
		}
	}
	return err
}

// auditOrder is how a list of audit events is read: in the order of the index that finds them. What the index does not
// know is looked up in each event.
type auditOrder struct {
	name           string // of the list
	indexed, other string // conditions that the index knows, and that it does not
	byTime         bool   // the index is that of the times
	by             string
	before, downTo string // after the page before; down to where this one may look
}

// order chooses the index: the device's, the user's, that of the times, or the primary key.
func (f AuditFilter) order() auditOrder {
	const within = ` AND at BETWEEN @from AND @to`
	o := auditOrder{name: "events", before: `id < @before`, by: `id DESC`, downTo: ` AND id >= @stop`}
	timed := f.From != 0 || f.To != 0
	switch {
	case f.DeviceID != "":
		o.indexed = ` AND device_id = @device`
		if f.UserID != "" {
			o.other += ` AND user_id = @user`
		}
	case f.UserID != "":
		o.indexed = ` AND user_id = @user`
	case timed:
		timed = false
		o = auditOrder{
			name: "events by time", byTime: true, indexed: within, by: `at DESC, id DESC`,
			before: `(at < @before_at OR id < @before)`, downTo: ` AND (at > @stop_at OR id >= @stop)`,
		}
	}
	if timed {
		o.other += within
	}
	for _, term := range []struct{ value, condition string }{
		{f.Type, ` AND type = @type`},
		{f.ClientID, ` AND client_id = @client`},
		{f.Actor, ` AND actor = @actor`},
		{f.IP, ` AND ip = @ip`},
	} {
		if term.value != "" {
			o.other += term.condition
		}
	}
	return o
}
