package admin

import (
	"context"
	"net/http"
	"net/url"
	"time"

	"github.com/gin-gonic/gin"

	"curfew/internal/view"
	"curfew/internal/web"
	"curfew/models"
)

// filters are the parameters that select devices, the same for the list and for the sign-out of what it shows.
var filters = [6]string{"user_id", "username", "client_id", "status", "ip", "q"}

func deviceFilter(q url.Values) (f models.DeviceFilter, err error) {
	f = models.DeviceFilter{
		Username: q.Get("username"), ClientID: q.Get("client_id"), Status: q.Get("status"), Q: q.Get("q"),
	}
	if f.UserID, err = web.UUIDParameter(q, "user_id"); err != nil {
		return f, err
	}
	if f.IP, err = web.IPParameter(q, "ip"); err != nil {
		return f, err
	}
	switch f.Status {
	case "", models.StatusActive, models.StatusRevoked, models.StatusExpired:
		return f, nil
	}
	return f, web.Invalid("status must be active, revoked or expired")
}

func (a *Admin) listDevices(c *gin.Context) error {
	q, p, err := web.QueryPage(c, filters[:]...)
	if err != nil {
		return err
	}
	f, err := deviceFilter(q)
	if err != nil {
		return err
	}
	return a.answerDevices(c, f, p)
}

func (a *Admin) answerDevices(c *gin.Context, f models.DeviceFilter, p models.Page) error {
	list, next, err := a.store.ListDevices(c.Request.Context(), f, p)
	if err != nil {
		return err
	}
	return page(c, "devices", view.List(list, view.NewDevice), next)
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
	return web.OK(c, view.NewDevice(d))
}

func (a *Admin) renameDevice(c *gin.Context) error {
	id, err := pathID(c)
	if err != nil {
		return err
	}
	name, err := web.BindName(c)
	if err != nil {
		return err
	}
	d, err := a.store.RenameDevice(c.Request.Context(), models.DeviceFilter{ID: id}, name, actor(c))
	if err != nil {
		return err
	}
	return web.OK(c, view.NewDevice(d))
}

func (a *Admin) revokeDevice(c *gin.Context) error {
	id, err := pathID(c)
	if err != nil {
		return err
	}
	return a.revoke(c, models.OneDevice(id))
}

// revoke signs out, and answers. What is wrong with the query is said before.
func (a *Admin) revoke(c *gin.Context, t models.Target) error {
	q, wait, err := web.QueryWait(c, "dry_run")
	if err != nil {
		return err
	}
	if dry, err := dryRun(q); err != nil || dry {
		return a.countOr(c, t, err)
	}
	return a.revokeAndWait(c, t, wait)
}

func (a *Admin) revokeAndWait(c *gin.Context, t models.Target, wait time.Duration) error {
	out, err := a.store.Revoke(c.Request.Context(), t, models.ReasonRevoked, actor(c))
	if err != nil {
		return err
	}
	return web.SignedOutByAdmin(c, a.store, out, wait)
}

// revokeDevices ends all that the list with the same filters shows. A filter that is exactly a user or a client moves
// that level's timestamp; without a filter it is everyone, and that must be said.
func (a *Admin) revokeDevices(c *gin.Context) error {
	q, wait, err := web.QueryWait(c, append(filters[:], "dry_run", "confirm")...)
	if err != nil {
		return err
	}
	f, err := deviceFilter(q)
	if err != nil {
		return err
	}
	dry, err := dryRun(q)
	if err != nil {
		return err
	}
	everyone, confirm := f == (models.DeviceFilter{}), q.Get("confirm")
	switch {
	case !everyone && confirm != "":
		return web.Invalid("confirm goes without a filter only")
	case everyone && confirm != "everyone" && (!dry || confirm != ""):
		return &web.Problem{
			Status: http.StatusBadRequest, Code: "confirmation_required",
			Detail: "without a filter this signs everyone out; say confirm=everyone, or give a filter",
		}
	}
	if err := a.freshEnough(c); err != nil {
		return err
	}
	target, err := a.store.TargetFor(c.Request.Context(), f)
	if err != nil || dry {
		return a.countOr(c, target, err)
	}
	return a.revokeAndWait(c, target, wait)
}

// countTimeout bounds a dry run, which looks at every device.
const countTimeout = 25 * time.Second

// dryRun reads the parameter dry_run.
func dryRun(q url.Values) (bool, error) {
	switch q.Get("dry_run") {
	case "":
		return false, nil
	case "true", "false":
		return q.Get("dry_run") == "true", nil
	}
	return false, web.Invalid("dry_run must be true or false")
}

// countOr answers a dry run, unless there was an error already: how many devices the same request would end without
// dry_run. It fails as that would.
func (a *Admin) countOr(c *gin.Context, t models.Target, err error) error {
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(c.Request.Context(), countTimeout)
	defer cancel()
	n, err := a.store.CountTarget(ctx, t)
	if err != nil {
		return err
	}
	return web.OK(c, view.DryRun{DryRun: true, Count: n})
}
