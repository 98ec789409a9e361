package web

import (
	"context"
	"net/http"
	"net/url"
	"time"

	"github.com/gin-gonic/gin"

	"curfew/models"
)

// maxWait bounds ?wait=.
const maxWait = 10 * time.Second

// ParseWait reads ?wait=, how long the answer may wait for acknowledgements. It is read before anything is signed out.
func ParseWait(q url.Values) (time.Duration, error) {
	text := q.Get("wait")
	if text == "" {
		return 0, nil
	}
	d, err := time.ParseDuration(text)
	if err != nil || d < 0 || d > maxWait {
		return 0, Invalid("wait: it takes a duration like 500ms, at most %s", maxWait)
	}
	return d, nil
}

// Revocation is an event as the APIs show it.
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

// RevocationView shows an event; nil shows as null.
func RevocationView(r *models.Revocation) *Revocation {
	if r == nil {
		return nil
	}
	v := &Revocation{
		Seq: r.Seq, Level: r.Level, ValidFrom: r.ValidFrom, Reason: r.Reason, InitiatingEntity: r.Entity, Actor: r.Actor,
		CreatedAt: r.CreatedAt, ExpiresAt: r.ExpiresAt,
	}
	if r.Level != models.LevelEveryone {
		v.Subject = &r.Subject
	}
	return v
}

// Applied is a receipt in short.
type Applied struct {
	Subscribers  int      `json:"subscribers"`
	Acknowledged int      `json:"acknowledged"`
	SlowestMS    int64    `json:"slowest_ms"`
	Missing      []string `json:"missing,omitempty"` // client/name of those who have not acknowledged
}

// SignOut is the answer to every sign-out.
type SignOut struct {
	Revocation *Revocation `json:"revocation"` // the last event; null if there was nothing to end
	Count      *int        `json:"count,omitempty"`
	Applied    *Applied    `json:"applied,omitempty"` // with ?wait=
}

// SignOutView waits for the acknowledgements, if asked to, and shows what a sign-out did.
func SignOutView(ctx context.Context, store *models.Store, out *models.SignOut, wait time.Duration) SignOut {
	v := SignOut{Revocation: RevocationView(out.Revocation)}
	if out.Counted { // of a client and of everyone it was not counted
		v.Count = &out.Count
	}
	if wait == 0 {
		return v
	}
	v.Applied = &Applied{}
	if out.Revocation == nil {
		return v
	}
	ctx, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	r, err := store.WaitApplied(ctx, out.Revocation.Seq)
	if err != nil { // the sign-out stands; only the receipt is not known
		v.Applied = nil
		return v
	}
	v.Applied = &Applied{Subscribers: len(r.Subscribers), Acknowledged: r.Acknowledged(), SlowestMS: r.SlowestMillis(), Missing: r.Missing()}
	return v
}

// AnswerSignOut answers a sign-out that has happened.
func AnswerSignOut(c *gin.Context, store *models.Store, out *models.SignOut, wait time.Duration) {
	c.Header("Cache-Control", "no-store")
	c.JSON(http.StatusOK, SignOutView(c.Request.Context(), store, out, wait))
}
