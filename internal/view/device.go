package view

import (
	"github.com/google/uuid"

	"curfew/models"
)

// Device is a device as an admin sees it.
type Device struct {
	ID         string        `json:"id"`
	Name       string        `json:"name"`
	UserID     string        `json:"user_id"`
	Username   string        `json:"username"`
	ClientID   string        `json:"client_id"`
	ClientName string        `json:"client_name"`
	Scope      string        `json:"scope"`
	Status     string        `json:"status"`
	UserAgent  string        `json:"user_agent"`
	Platform   string        `json:"platform"`
	IP         string        `json:"ip"`
	CreatedAt  models.Micros `json:"created_at"`
	SignedInAt models.Micros `json:"signed_in_at"`
	LastSeenAt models.Micros `json:"last_seen_at"`
	ExpiresAt  models.Micros `json:"expires_at"`
	ParentID   *uuid.UUID    `json:"parent_id"` // the browser session that it was signed in through
}

// parentOf is nil for none.
func parentOf(d *models.DeviceInfo) *uuid.UUID {
	if d.ParentID == uuid.Nil {
		return nil
	}
	return &d.ParentID
}

// NewDevice shows a device to an admin.
func NewDevice(d *models.DeviceInfo) Device {
	return Device{
		ID: d.ID.String(), Name: d.Name, UserID: d.UserID.String(), Username: d.Username,
		ClientID: d.ClientID, ClientName: d.ClientName, Scope: d.Scope, Status: d.Status,
		UserAgent: d.UserAgent, Platform: Platform(d.UserAgent), IP: d.IP,
		CreatedAt: d.CreatedAt, SignedInAt: d.SignedInAt, LastSeenAt: d.LastSeenAt, ExpiresAt: d.ExpiresAt,
		ParentID: parentOf(d),
	}
}

// OwnDevice is one of a user's own devices.
type OwnDevice struct {
	ID         string        `json:"id"`
	Name       string        `json:"name"`
	ClientID   string        `json:"client_id"`
	ClientName string        `json:"client_name"`
	UserAgent  string        `json:"user_agent"`
	Platform   string        `json:"platform"`
	IP         string        `json:"ip"`
	CreatedAt  models.Micros `json:"created_at"`
	SignedInAt models.Micros `json:"signed_in_at"`
	LastSeenAt models.Micros `json:"last_seen_at"`
	ExpiresAt  models.Micros `json:"expires_at"`
	Current    bool          `json:"current"` // it is the one that asks
	ParentID   *uuid.UUID    `json:"parent_id"`
	Bound      *string       `json:"bound"`    // null until there is key binding
	EndedAt    models.Micros `json:"ended_at"` // null while it is signed in, like the reason
	Reason     *string       `json:"reason"`   // null also where it is not known any more
}

// NewOwnDevice shows a user one of the user's devices.
func NewOwnDevice(d *models.DeviceInfo, current uuid.UUID) OwnDevice {
	return OwnDevice{
		ID: d.ID.String(), Name: d.Name, ClientID: d.ClientID, ClientName: d.ClientName,
		UserAgent: d.UserAgent, Platform: Platform(d.UserAgent), IP: d.IP,
		CreatedAt: d.CreatedAt, SignedInAt: d.SignedInAt, LastSeenAt: d.LastSeenAt, ExpiresAt: d.ExpiresAt, Current: d.ID == current,
		ParentID: parentOf(d),
	}
}

// NewEndedDevice shows a user one that is out.
func NewEndedDevice(d *models.EndedDevice) OwnDevice {
	v := NewOwnDevice(&d.DeviceInfo, uuid.Nil)
	v.EndedAt = d.EndedAt
	if d.Reason != "" {
		reason := string(d.Reason)
		v.Reason = &reason
	}
	return v
}
