package admin

import (
	"net/url"
	"slices"
	"strings"

	"github.com/gin-gonic/gin"
	"github.com/google/uuid"

	"curfew/internal/view"
	"curfew/internal/web"
	"curfew/models"
)

func (a *Admin) listEvents(c *gin.Context) error {
	q, p, err := web.QueryPage(c, auditFilters[:]...)
	if err != nil {
		return err
	}
	f, err := auditFilter(q)
	if err != nil {
		return err
	}
	list, next, err := a.store.ListAuditEvents(c.Request.Context(), f, p)
	if err != nil {
		return err
	}
	return page(c, "events", view.List(list, view.NewAuditEvent), next)
}

// auditFilters are the parameters that select audit events.
var auditFilters = [8]string{"type", "user_id", "client_id", "device_id", "actor", "ip", "from", "to"}

func auditFilter(q url.Values) (f models.AuditFilter, err error) {
	f = models.AuditFilter{Type: q.Get("type"), ClientID: q.Get("client_id"), Actor: q.Get("actor")}
	if f.Type != "" && !slices.Contains(models.AuditTypes, f.Type) {
		return f, web.Invalid("there is no such type; there are: %s", oneOf(models.AuditTypes))
	}
	for name, to := range map[string]*string{"user_id": &f.UserID, "device_id": &f.DeviceID} {
		id, err := web.UUIDParameter(q, name)
		if err != nil {
			return f, err
		}
		if id != uuid.Nil {
			*to = id.String()
		}
	}
	if f.IP, err = web.IPParameter(q, "ip"); err != nil {
		return f, err
	}
	if f.From, err = web.TimeParameter(q, "from"); err != nil {
		return f, err
	}
	f.To, err = web.TimeParameter(q, "to")
	return f, err
}

// oneOf are the values of a filter, for people.
func oneOf[V ~string](values []V) string {
	var b strings.Builder
	for i, v := range values {
		if i > 0 {
			b.WriteString(", ")
		}
		b.WriteString(string(v))
	}
	return b.String()
}
