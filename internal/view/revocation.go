package view

import "curfew/models"

// Revocation is an event of the revocation log as the APIs and the command line show it.
type Revocation struct {
	Seq              int64         `json:"seq"`
	Level            models.Level  `json:"level"`
	Subject          *string       `json:"subject"` // null for everyone
	ValidFrom        models.Micros `json:"valid_from"`
	Reason           models.Reason `json:"reason"`
	InitiatingEntity string        `json:"initiating_entity"`
	Actor            string        `json:"actor,omitempty"`
	CreatedAt        models.Micros `json:"created_at"`
	ExpiresAt        models.Micros `json:"expires_at"`
}

// NewRevocation shows an event; nil shows as null.
func NewRevocation(r *models.Revocation) *Revocation {
	if r == nil {
		return nil
	}
	return &Revocation{
		Seq: r.Seq, Level: r.Level, Subject: subject(r), ValidFrom: r.ValidFrom, Reason: r.Reason,
		InitiatingEntity: r.Entity, Actor: r.Actor, CreatedAt: r.CreatedAt, ExpiresAt: r.ExpiresAt,
	}
}

// RevocationEvent is the same event as resource servers follow it, docs/revocation-feed.md: valid_from and expires_at
// are integers, microseconds, because they are compared with a token's iat_us. subject, reason, initiating_entity and
// event_timestamp are the facts of a CAEP 1.0 session-revoked event (section 3.1).
type RevocationEvent struct {
	Seq              int64         `json:"seq"`
	Level            models.Level  `json:"level"`
	Subject          *string       `json:"subject"` // null for everyone
	ValidFrom        int64         `json:"valid_from"`
	ExpiresAt        int64         `json:"expires_at"`
	Reason           models.Reason `json:"reason"`
	InitiatingEntity string        `json:"initiating_entity"`
	EventTimestamp   int64         `json:"event_timestamp"` // seconds
}

// NewRevocationEvent shows an event to a follower of the feed. Who did it is nothing to them.
func NewRevocationEvent(r *models.Revocation) RevocationEvent {
	return RevocationEvent{
		Seq: r.Seq, Level: r.Level, Subject: subject(r), ValidFrom: int64(r.ValidFrom), ExpiresAt: int64(r.ExpiresAt),
		Reason: r.Reason, InitiatingEntity: r.Entity, EventTimestamp: r.CreatedAt.Time().Unix(),
	}
}

func subject(r *models.Revocation) *string {
	if r.Level == models.LevelEveryone {
		return nil
	}
	return &r.Subject
}
