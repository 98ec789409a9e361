package view

import (
	"context"
	"time"

	"curfew/models"
)

// SignOut is what a sign-out did.
type SignOut struct {
	Revocation *Revocation `json:"revocation"`        // the last event; null if there was nothing to end
	Count      *int        `json:"count,omitempty"`   // absent for a client and for everyone: one step, nothing is counted
	Applied    *Applied    `json:"applied,omitempty"` // only if somebody waited for it
	Told       *Told       `json:"told,omitempty"`    // likewise, as it is then: nothing waits for it
}

// DryRun is what a sign-out would have done.
type DryRun struct {
	DryRun bool `json:"dry_run"` // true
	Count  int  `json:"count"`   // devices that are signed in and would be out; counted at every level
}

// Applied is a receipt in short: at how many resource servers an event has been applied.
type Applied struct {
	Subscribers  int      `json:"subscribers"`
	Acknowledged int      `json:"acknowledged"`
	SlowestMS    int64    `json:"slowest_ms"`
	Missing      []string `json:"missing,omitempty"` // client/name of those who have not acknowledged; for admins
}

// NewApplied shows a receipt in short, to an admin.
func NewApplied(r *models.Receipt) Applied {
	return Applied{
		Subscribers: len(r.Subscribers), Acknowledged: r.Acknowledged(),
		SlowestMS: r.SlowestMillis(), Missing: r.Missing(),
	}
}

// NewSignOut shows what a sign-out did. With a wait above 0 it also shows where the event has been applied, when that
// is everywhere or the time is over: how many, not who. A receipt that cannot be read is left out: the sign-out stands.
func NewSignOut(ctx context.Context, store *models.Store, out *models.SignOut, wait time.Duration) SignOut {
	v := NewNamedSignOut(ctx, store, out, wait)
	if v.Applied != nil {
		v.Applied.Missing = nil
	}
	return v
}

// NewNamedSignOut is [NewSignOut] for admins: it names those who have not applied the event.
func NewNamedSignOut(ctx context.Context, store *models.Store, out *models.SignOut, wait time.Duration) SignOut {
	v := SignOut{Revocation: NewRevocation(out.Revocation)}
	if out.Counted {
		v.Count = &out.Count
	}
	switch {
	case wait == 0:
		return v
	case out.Revocation == nil:
		v.Applied, v.Told = &Applied{}, &Told{}
		return v
	}
	waiting, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	if r, err := store.WaitApplied(waiting, out.Revocation.Seq); err == nil {
		applied := NewApplied(r)
		v.Applied = &applied
	}
	if t, err := store.Told(context.WithoutCancel(ctx), out.Revocation.Seq); err == nil {
		told := NewTold(t)
		v.Told = &told
	}
	return v
}

// Receipt is an event with all that is known of it at the resource servers.
type Receipt struct {
	Revocation  *Revocation         `json:"revocation"`
	Applied     Applied             `json:"applied"`
	Told        Told                `json:"told"`
	Subscribers []SubscriberReceipt `json:"subscribers"`
}

// NewReceipt shows an event and its receipt.
func NewReceipt(event *models.Revocation, r *models.Receipt, told models.Told) Receipt {
	return Receipt{NewRevocation(event), NewApplied(r), NewTold(told), List(r.Subscribers, newSubscriberReceipt)}
}

// SubscriberReceipt says what is known of an event at one resource server.
type SubscriberReceipt struct {
	ClientID       string        `json:"client_id"`
	Name           string        `json:"name"`
	Live           bool          `json:"live"`            // it is listening now
	Acknowledged   bool          `json:"acknowledged"`    // if not, it is missing
	AcknowledgedAt models.Micros `json:"acknowledged_at"` // null if it has not, or if that is long ago
	Millis         *int64        `json:"ms"`              // after the event; null likewise
}

func newSubscriberReceipt(s *models.SubscriberReceipt) SubscriberReceipt {
	v := SubscriberReceipt{
		ClientID: s.ClientID, Name: s.Name, Live: s.Live, Acknowledged: s.Acknowledged, AcknowledgedAt: s.AcknowledgedAt,
	}
	if s.AcknowledgedAt != 0 {
		v.Millis = &s.Millis
	}
	return v
}

// Subscriber is a resource server that follows the feed, or did.
type Subscriber struct {
	ClientID  string        `json:"client_id"`
	Name      string        `json:"name"`
	Live      bool          `json:"live"`
	LiveUntil models.Micros `json:"live_until"`
	Seq       int64         `json:"seq"` // it has applied everything up to here
	AckedAt   models.Micros `json:"acknowledged_at"`
	CreatedAt models.Micros `json:"created_at"`
}

// NewSubscriber shows a resource server that follows the feed.
func NewSubscriber(s *models.Subscriber) Subscriber {
	return Subscriber{
		ClientID: s.ClientID, Name: s.Name, Live: s.Live, LiveUntil: s.LiveUntil,
		Seq: s.AckedSeq, AckedAt: s.AckedAt, CreatedAt: s.CreatedAt,
	}
}
