package view

import (
	"strings"

	"curfew/models"
)

// Receiver is an outside app that has to be told of what happened: a webhook, or a client with a back-channel logout
// URI.
type Receiver struct {
	ID           string        `json:"id"`
	Kind         string        `json:"kind"` // webhook or logout
	URL          string        `json:"url"`
	ClientID     string        `json:"client_id,omitempty"` // of a back-channel logout
	Types        []string      `json:"types"`               // of a webhook's messages; empty for a back-channel logout
	CreatedAt    models.Micros `json:"created_at"`
	LastTryAt    models.Micros `json:"last_try_at"`
	LastAnswer   string        `json:"last_answer"` // to the last try; empty before the first
	FailingSince models.Micros `json:"failing_since"`
	NextTryAt    models.Micros `json:"next_try_at"`
	Tries        int           `json:"tries"`  // since the last good answer
	Behind       int           `json:"behind"` // events of its log that it has not come to
	BehindSince  models.Micros `json:"behind_since"`
	Told         int64         `json:"told"`    // notices
	Dropped      int64         `json:"dropped"` // events that were too old when they could have been told
	Ending       bool          `json:"ending"`  // its client is deleted: it is told of what happened until then
}

// NewReceiver shows a receiver and what is left to tell it.
func NewReceiver(r *models.ReceiverState) Receiver {
	v := Receiver{
		ID: r.ID.String(), Kind: r.Kind, URL: r.URL, ClientID: r.ClientID, Types: []string{}, CreatedAt: r.CreatedAt,
		LastTryAt: r.LastTryAt, LastAnswer: r.LastAnswer, FailingSince: r.FailingSince, NextTryAt: r.NextTryAt, Tries: r.Tries,
		Behind: r.Behind, BehindSince: r.BehindSince, Told: r.Told, Dropped: r.Dropped, Ending: r.EndsAtSeq != 0,
	}
	switch {
	case r.Kind != models.ReceiverWebhook:
	case r.Types == "":
		v.Types = models.NoticeTypes
	default:
		v.Types = strings.Fields(r.Types)
	}
	return v
}

// WebhookSecret is a webhook's new secret, which is shown this once.
type WebhookSecret struct {
	ID     string `json:"id"`
	Secret string `json:"secret"`
}

// WebhookTest is what came of a test message.
type WebhookTest struct {
	OK     bool   `json:"ok"`
	Status int    `json:"status,omitempty"` // none if there was no answer
	Answer string `json:"answer"`
	Millis int64  `json:"ms"`
}

// Told says how far outside apps have been told of an event. It counts receivers.
type Told struct {
	Receivers int `json:"receivers"`
	Answered  int `json:"answered"`
	Pending   int `json:"pending"`
	Failed    int `json:"failed"`
}

// NewTold shows how far outside apps have been told.
func NewTold(t models.Told) Told {
	return Told{Receivers: t.Receivers, Answered: t.Answered, Pending: t.Pending, Failed: t.Failed}
}
