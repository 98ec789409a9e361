package view

import (
	"curfew/models"
)

// Me is the user who asks.
type Me struct {
	ID            string        `json:"id"`
	Username      string        `json:"username"`
	Name          string        `json:"name"`
	Email         string        `json:"email"`
	EmailVerified bool          `json:"email_verified"`
	CreatedAt     models.Micros `json:"created_at"`
}

// NewMe shows users themselves.
func NewMe(u *models.User) Me {
	return Me{
		ID: u.ID.String(), Username: u.Username, Name: u.Name, Email: u.Email, EmailVerified: u.EmailVerified,
		CreatedAt: u.CreatedAt,
	}
}

// OwnEvent is something that happened to a user's account, as the user may see it. Who an admin is, and where, is
// nothing to them.
type OwnEvent struct {
	At         models.Micros `json:"at"`
	Type       string        `json:"type"`
	Entity     string        `json:"initiating_entity"`
	Level      string        `json:"level,omitempty"`  // of a sign-out
	Reason     string        `json:"reason,omitempty"` // likewise
	DeviceID   string        `json:"device_id,omitempty"`
	DeviceName string        `json:"device_name,omitempty"` // what it is called now
	ClientID   string        `json:"client_id,omitempty"`
	ClientName string        `json:"client_name,omitempty"`
	IP         string        `json:"ip,omitempty"`
	Platform   string        `json:"platform,omitempty"`
	OwnerIP    string        `json:"owner_ip,omitempty"` // of a replay or a retry: where the device itself was
}

// NewOwnEvent shows a user an event about the user.
func NewOwnEvent(e *models.OwnEvent) OwnEvent {
	text := func(name string) string {
		s, _ := e.Detail[name].(string)
		return s
	}
	v := OwnEvent{
		At: e.At, Type: e.Type, Entity: e.Entity, Level: text("level"), Reason: text("reason"),
		DeviceID: e.DeviceID, DeviceName: e.DeviceName, ClientID: e.ClientID, ClientName: e.ClientName,
		OwnerIP: text("owner_ip"),
	}
	if e.Entity == models.EntityUser || e.Entity == models.EntityPolicy {
		v.IP = e.IP
		if e.UserAgent != "" {
			v.Platform = Platform(e.UserAgent)
		}
	}
	return v
}
