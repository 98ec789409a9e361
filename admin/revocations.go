package admin

import (
	"net/http"
	"slices"
	"strconv"

	"github.com/gin-gonic/gin"

	"curfew/internal/web"
	"curfew/models"
)

func (a *Admin) listRevocations(c *gin.Context) error {
	q, err := web.Query(c, "level", "subject", "reason", "limit", "cursor")
	if err != nil {
		return err
	}
	p, err := web.PageFrom(q)
	if err != nil {
		return err
	}
	f := models.RevocationFilter{Level: models.Level(q.Get("level")), Subject: q.Get("subject"), Reason: models.Reason(q.Get("reason"))}
	if f.Level != "" && !slices.Contains(models.Levels[:], f.Level) {
		return web.Invalid("level: it takes device, user, client or everyone")
	}
	list, next, err := a.store.ListRevocations(c.Request.Context(), f, p)
	if err != nil {
		return err
	}
	revocations := make([]*web.Revocation, len(list))
	for i := range list {
		revocations[i] = web.RevocationView(&list[i])
	}
	return answer(c, http.StatusOK, struct {
		Revocations []*web.Revocation `json:"revocations"`
		Next        string            `json:"next_cursor,omitempty"`
	}{revocations, next})
}

// subscriberReceipt says what is known of an event at one resource server.
type subscriberReceipt struct {
	ClientID       string        `json:"client_id"`
	Name           string        `json:"name"`
	Live           bool          `json:"live"`            // it is listening now
	Acknowledged   bool          `json:"acknowledged"`    // if not, it is missing
	AcknowledgedAt models.Micros `json:"acknowledged_at"` // null if it has not, or if that is long ago
	Millis         *int64        `json:"ms"`              // after the event; null likewise
}

// getRevocation is one event with its receipt.
func (a *Admin) getRevocation(c *gin.Context) error {
	seq, err := strconv.ParseInt(c.Param("seq"), 10, 64)
	if err != nil || strconv.FormatInt(seq, 10) != c.Param("seq") {
		return models.ErrNotFound
	}
	event, err := a.store.GetRevocation(c.Request.Context(), seq)
	if err != nil {
		return err
	}
	receipt, err := a.store.Receipt(c.Request.Context(), seq)
	if err != nil {
		return err
	}
	subscribers := make([]subscriberReceipt, len(receipt.Subscribers))
	for i, s := range receipt.Subscribers {
		subscribers[i] = subscriberReceipt{ClientID: s.ClientID, Name: s.Name, Live: s.Live, Acknowledged: s.Acknowledged, AcknowledgedAt: s.AcknowledgedAt}
		if s.AcknowledgedAt != 0 {
			subscribers[i].Millis = &s.Millis
		}
	}
	return answer(c, http.StatusOK, struct {
		Revocation  *web.Revocation     `json:"revocation"`
		Applied     web.Applied         `json:"applied"`
		Subscribers []subscriberReceipt `json:"subscribers"`
	}{
		web.RevocationView(event),
		web.Applied{Subscribers: len(subscribers), Acknowledged: receipt.Acknowledged(), SlowestMS: receipt.SlowestMillis(), Missing: receipt.Missing()},
		subscribers,
	})
}

// subscriber is a resource server that follows the feed, or did.
type subscriber struct {
	ClientID  string        `json:"client_id"`
	Name      string        `json:"name"`
	Live      bool          `json:"live"`
	LiveUntil models.Micros `json:"live_until"`
	Seq       int64         `json:"seq"` // it has applied everything up to here
	AckedAt   models.Micros `json:"acknowledged_at"`
	CreatedAt models.Micros `json:"created_at"`
}

func (a *Admin) listSubscribers(c *gin.Context) error {
	list, err := a.store.ListSubscribers(c.Request.Context())
	if err != nil {
		return err
	}
	subscribers := make([]subscriber, len(list))
	for i, s := range list {
		subscribers[i] = subscriber{s.ClientID, s.Name, s.Live, s.LiveUntil, s.AckedSeq, s.AckedAt, s.CreatedAt}
	}
	return answer(c, http.StatusOK, gin.H{"subscribers": subscribers})
}

// deleteSubscriber forgets a resource server that is gone for good: no receipt names it as missing any more.
func (a *Admin) deleteSubscriber(c *gin.Context) error {
	client, err := pathName(c, "client_id")
	if err != nil {
		return err
	}
	name, err := pathName(c, "name")
	if err != nil {
		return err
	}
	if err := a.store.DeleteSubscriber(c.Request.Context(), models.SubscriberID{ClientID: client, Name: name},
		web.ActorFrom(c, models.EntityAdmin)); err != nil {
		return err
	}
	c.Status(http.StatusNoContent)
	return nil
}
