package admin

import (
	"context"
	"net/http"
	"net/url"
	"time"

	"github.com/gin-gonic/gin"

	"curfew/internal/web"
	"curfew/models"
)

// device is a device as an admin sees it.
type device struct {
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
}

func deviceView(d *models.DeviceInfo) device {
	return device{
		ID: d.ID.String(), Name: d.Name, UserID: d.UserID.String(), Username: d.Username, ClientID: d.ClientID, ClientName: d.ClientName,
		Scope: d.Scope, Status: d.Status, UserAgent: d.UserAgent, Platform: web.Platform(d.UserAgent), IP: d.IP,
		CreatedAt: d.CreatedAt, SignedInAt: d.SignedInAt, LastSeenAt: d.LastSeenAt, ExpiresAt: d.ExpiresAt,
	}
}

// filters are the parameters that select devices, the same for the list and for the revocation of what it shows.
var filters = []string{"user_id", "username", "client_id", "status", "ip", "q"}

func deviceFilter(q url.Values) (f models.DeviceFilter, err error) {
	f = models.DeviceFilter{Username: q.Get("username"), ClientID: q.Get("client_id"), Status: q.Get("status"), Q: q.Get("q")}
	if f.UserID, err = idFilter(q, "user_id"); err != nil {
		return f, err
	}
	if f.IP, err = addressFilter(q); err != nil {
		return f, err
	}
	switch f.Status {
	case "", models.StatusActive, models.StatusRevoked, models.StatusExpired:
		return f, nil
	}
	return f, web.Invalid("status: it takes active, revoked or expired")
}

func (a *Admin) listDevices(c *gin.Context) error {
	q, err := web.Query(c, append(filters[:len(filters):len(filters)], "limit", "cursor")...)
	if err != nil {
		return err
	}
	f, err := deviceFilter(q)
	if err != nil {
		return err
	}
	return a.answerDevices(c, f, q)
}

func (a *Admin) answerDevices(c *gin.Context, f models.DeviceFilter, q url.Values) error {
	p, err := web.PageFrom(q)
	if err != nil {
		return err
	}
	list, next, err := a.store.ListDevices(c.Request.Context(), f, p)
	if err != nil {
		return err
	}
	devices := make([]device, len(list))
	for i := range list {
		devices[i] = deviceView(&list[i])
	}
	return answer(c, http.StatusOK, struct {
		Devices []device `json:"devices"`
		Next    string   `json:"next_cursor,omitempty"`
	}{devices, next})
}

func (a *Admin) getDevice(c *gin.Context) error {
	id, err := pathID(c)
	if err != nil {
		return err
	}
	d, err := a.store.GetDevice(c.Request.Context(), models.DeviceFilter{ID: id})
	if err != nil {
		return err
	}
	return answer(c, http.StatusOK, deviceView(d))
}

func (a *Admin) renameDevice(c *gin.Context) error {
	id, err := pathID(c)
	if err != nil {
		return err
	}
	var in struct {
		Name *string `json:"name"`
	}
	if err := web.BindJSON(c, &in); err != nil {
		return err
	}
	if in.Name == nil {
		return web.Invalid("name is missing: it takes what the device shall be called")
	}
	d, err := a.store.RenameDevice(c.Request.Context(), models.DeviceFilter{ID: id}, *in.Name, web.ActorFrom(c, models.EntityAdmin))
	if err != nil {
		return err
	}
	return answer(c, http.StatusOK, deviceView(d))
}

func (a *Admin) revokeDevice(c *gin.Context) error {
	id, err := pathID(c)
	if err != nil {
		return err
	}
	q, err := web.Query(c, "wait")
	if err != nil {
		return err
	}
	return a.revoke(c, models.OneDevice(id), q)
}

// revoke signs out, and answers. What is wrong with the query is said before.
func (a *Admin) revoke(c *gin.Context, t models.Target, q url.Values) error {
	wait, err := web.ParseWait(q)
	if err != nil {
		return err
	}
	out, err := a.store.Revoke(c.Request.Context(), t, models.ReasonRevoked, web.ActorFrom(c, models.EntityAdmin))
	if err != nil {
		return err
	}
	web.AnswerSignOut(c, a.store, out, wait)
	return nil
}

// revokeDevices ends all that the list with the same filters shows. A filter that is exactly a user or a client moves
// that level's timestamp; without a filter it is everyone, and that must be said.
func (a *Admin) revokeDevices(c *gin.Context) error {
	q, err := web.Query(c, append(filters[:len(filters):len(filters)], "dry_run", "confirm", "wait")...)
	if err != nil {
		return err
	}
	f, err := deviceFilter(q)
	if err != nil {
		return err
	}
	everyone, dry, confirm := f == (models.DeviceFilter{}), q.Get("dry_run") == "true", q.Get("confirm")
	switch {
	case q.Has("dry_run") && !dry && q.Get("dry_run") != "false":
		return web.Invalid("dry_run: it takes true or false")
	case !everyone && confirm != "":
		return web.Invalid("confirm goes without a filter only")
	case everyone && confirm != "everyone" && (!dry || confirm != ""):
		return &web.Problem{
			Status: http.StatusBadRequest, Code: "confirmation_required", Detail: "without a filter this signs everyone out; say confirm=everyone, or give a filter",
		}
	case dry:
		return a.countDevices(c, f, q)
	}
	target, err := a.store.TargetFor(c.Request.Context(), f)
	if err != nil {
		return err
	}
	return a.revoke(c, target, q)
}

// countTimeout bounds a dry run, which looks at every device.
const countTimeout = 25 * time.Second

// countDevices answers how many devices the same request would end without dry_run.
func (a *Admin) countDevices(c *gin.Context, f models.DeviceFilter, q url.Values) error {
	if _, err := web.ParseWait(q); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(c.Request.Context(), countTimeout)
	defer cancel()
	n, err := a.store.CountDevices(ctx, f)
	if err != nil {
		return err
	}
	return answer(c, http.StatusOK, struct {
		DryRun bool `json:"dry_run"`
		Count  int  `json:"count"`
	}{true, n})
}
