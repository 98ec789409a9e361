package models

import (
	"context"
	"encoding/json"
	"math"
	"strconv"

	"gorm.io/gorm"
)

// The types of audit events.
const (
	AuditSignedIn        = "signed_in"
	AuditSignedInAgain   = "signed_in_again"
	AuditRevoked         = "revoked"             // a sign-out at any level; detail has level, reason and sequence number
	AuditReplay          = "refresh_token_reuse" // likewise, and both addresses
	AuditDeviceRenamed   = "device_renamed"
	AuditPasswordChanged = "password_changed"
	AuditUserCreated     = "user_created"
	AuditUserChanged     = "user_changed"
	AuditUserDisabled    = "user_disabled"
	AuditUserEnabled     = "user_enabled"
	AuditUserDeleted     = "user_deleted"
	AuditClientCreated   = "client_created"
	AuditClientChanged   = "client_changed"
	AuditClientSecret    = "client_secret_rotated"
	AuditClientDeleted   = "client_deleted"
	AuditKeysRotated     = "keys_rotated"

	AuditSubscriberDeleted = "subscriber_deleted"
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
	ClientID  string
	DeviceID  string
	Detail    map[string]any `gorm:"serializer:json"`
}

// AuditFilter selects audit events; empty fields select all.
type AuditFilter struct {
	Type, UserID, ClientID, DeviceID, Actor, IP string
	From, To                                    Micros // From <= at < To
}

func (s *Store) audit(tx *gorm.DB, e AuditEvent, by Actor) error {
	e.Entity, e.Actor, e.IP, e.UserAgent = by.Entity, by.ID, by.IP, cleanText(by.UserAgent, 512)
	text, err := json.Marshal(e.Detail)
	if err != nil {
		return err
	}
	_, err = s.exec(tx, `INSERT INTO audit_events (at, type, entity, actor, ip, user_agent, user_id, client_id, device_id, detail)
		VALUES (@at, @type, @entity, @actor, @ip, @agent, @user, @client, @device, @detail)`, args{
		"at": int64(e.At), "type": e.Type, "entity": e.Entity, "actor": e.Actor, "ip": e.IP, "agent": e.UserAgent,
		"user": e.UserID, "client": e.ClientID, "device": e.DeviceID, "detail": string(text),
	})
	return err
}

// ListAuditEvents returns a page of the audit log, newest first.
func (s *Store) ListAuditEvents(ctx context.Context, f AuditFilter, p Page) (list []AuditEvent, next string, err error) {
	after, err := s.cursorAfter("events", p)
	if err != nil {
		return nil, "", err
	}
	before := int64(math.MaxInt64)
	if after != "" {
		if before, err = strconv.ParseInt(after, 10, 64); err != nil {
			return nil, "", invalid("cursor")
		}
	}
	err = s.read(ctx, func(tx *gorm.DB) error {
		q := tx.Where("id < ?", before)
		for column, value := range map[string]string{
			"type": f.Type, "user_id": f.UserID, "client_id": f.ClientID, "device_id": f.DeviceID, "actor": f.Actor, "ip": f.IP,
		} {
			if value != "" {
				q = q.Where(column+" = ?", value)
			}
		}
		if f.From != 0 {
			q = q.Where("at >= ?", f.From)
		}
		if f.To != 0 {
			q = q.Where("at < ?", f.To)
		}
		return q.Order("id DESC").Limit(p.limit() + 1).Find(&list).Error
	})
	list, next = pageOf(s, "events", p, list, func(e AuditEvent) string { return strconv.FormatInt(e.ID, 10) })
	return list, next, err
}
