package admin

import (
	"net/http"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/google/uuid"

	"curfew/internal/web"
	"curfew/models"
)

// event is a row of the audit log: who did what to whom, from where, and why.
type event struct {
	ID        int64          `json:"id"`
	At        models.Micros  `json:"at"`
	Type      string         `json:"type"`
	Entity    string         `json:"initiating_entity"`
	Actor     string         `json:"actor,omitempty"`
	IP        string         `json:"ip,omitempty"`
	UserAgent string         `json:"user_agent,omitempty"`
	UserID    string         `json:"user_id,omitempty"`
	ClientID  string         `json:"client_id,omitempty"`
	DeviceID  string         `json:"device_id,omitempty"`
	Detail    map[string]any `json:"detail,omitempty"`
}

func (a *Admin) listEvents(c *gin.Context) error {
	q, err := web.Query(c, "type", "user_id", "client_id", "device_id", "actor", "ip", "from", "to", "limit", "cursor")
	if err != nil {
		return err
	}
	p, err := web.PageFrom(q)
	if err != nil {
		return err
	}
	f := models.AuditFilter{Type: q.Get("type"), ClientID: q.Get("client_id"), Actor: q.Get("actor")}
	for name, to := range map[string]*string{"user_id": &f.UserID, "device_id": &f.DeviceID} {
		id, err := idFilter(q, name)
		if err != nil {
			return err
		}
		if id != uuid.Nil {
			*to = id.String()
		}
	}
	if f.IP, err = addressFilter(q); err != nil {
		return err
	}
	for name, to := range map[string]*models.Micros{"from": &f.From, "to": &f.To} {
		if text := q.Get(name); text != "" {
			at, err := time.Parse(time.RFC3339Nano, text)
			if err != nil || at.UnixMicro() <= 0 { // 0 would be no limit
				return web.Invalid("%s: it takes an RFC 3339 time after 1970", name)
			}
			*to = models.Micros(at.UnixMicro())
		}
	}
	list, next, err := a.store.ListAuditEvents(c.Request.Context(), f, p)
	if err != nil {
		return err
	}
	events := make([]event, len(list))
	for i, e := range list {
		events[i] = event{e.ID, e.At, e.Type, e.Entity, e.Actor, e.IP, e.UserAgent, e.UserID, e.ClientID, e.DeviceID, e.Detail}
	}
	return answer(c, http.StatusOK, struct {
		Events []event `json:"events"`
		Next   string  `json:"next_cursor,omitempty"`
	}{events, next})
}
