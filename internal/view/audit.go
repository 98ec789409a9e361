package view

import "curfew/models"

// AuditEvent is a row of the audit log: who did what to whom, from where, and why.
type AuditEvent struct {
	ID        int64          `json:"id"`
	At        models.Micros  `json:"at"`
	Type      string         `json:"type"`
	Entity    string         `json:"initiating_entity"`
	Actor     string         `json:"actor,omitempty"`
	IP        string         `json:"ip,omitempty"`
	UserAgent string         `json:"user_agent,omitempty"`
	UserID    string         `json:"user_id,omitempty"`
	Username  string         `json:"username,omitempty"` // of today; absent when the user is gone
	ClientID  string         `json:"client_id,omitempty"`
	DeviceID  string         `json:"device_id,omitempty"`
	Detail    map[string]any `json:"detail,omitempty"`
	TX        int64          `json:"-"`
}

// NewAuditEvent shows an audit event.
func NewAuditEvent(e *models.AuditEvent) AuditEvent {
	return AuditEvent{
		ID: e.ID, At: e.At, Type: e.Type, Entity: e.Entity, Actor: e.Actor, IP: e.IP, UserAgent: e.UserAgent,
		UserID: e.UserID, Username: e.Username, ClientID: e.ClientID, DeviceID: e.DeviceID, Detail: e.Detail,
	}
}
