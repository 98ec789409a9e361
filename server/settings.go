package server

import (
	"errors"
	"net/http"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/google/uuid"

	"curfew/internal/view"
	"curfew/internal/web"
	"curfew/models"
)

// userOnly keeps a client's own token out of the settings: it has no user.
func userOnly(c *gin.Context) error {
	if web.CallerFrom(c).UserID == uuid.Nil {
		return &web.Problem{
			Status: http.StatusForbidden, Code: "user_required",
			Detail: "this is about a user: a client's own token has none",
		}
	}
	return nil
}

// self is the user who asks, as the audit log names whoever does something.
func self(c *gin.Context) models.Actor { return web.ActorFrom(c, models.EntityUser) }

func (s *Server) me(c *gin.Context) error {
	u, err := s.store.GetUser(c.Request.Context(), web.CallerFrom(c).UserID)
	if err != nil {
		return err
	}
	return web.OK(c, view.NewMe(u))
}

func (s *Server) listEvents(c *gin.Context) error {
	_, p, err := web.QueryPage(c)
	if err != nil {
		return err
	}
	list, next, err := s.store.UserEvents(c.Request.Context(), web.CallerFrom(c).UserID, p)
	if err != nil {
		return err
	}
	body := gin.H{"events": view.List(list, view.NewOwnEvent)}
	if next != "" {
		body["next_cursor"] = next
	}
	return web.OK(c, body)
}

// endedListed is how many devices that are out the list has at most.
const endedListed = 100

// listDevices is where the user is signed in; with ?include=ended also what is out, behind it.
func (s *Server) listDevices(c *gin.Context) error {
	q, err := web.Query(c, "include")
	if err != nil {
		return err
	}
	if include := q.Get("include"); include != "" && include != "ended" {
		return web.Invalid("include must be ended")
	}
	ctx, caller := c.Request.Context(), web.CallerFrom(c)
	list, err := s.store.UserDevices(ctx, caller.UserID)
	if err != nil {
		return err
	}
	own := func(d *models.DeviceInfo) view.OwnDevice { return view.NewOwnDevice(d, caller.DeviceID) }
	devices := view.List(list, own)
	if q.Has("include") {
		ended, _, err := s.store.EndedDevices(ctx, caller.UserID, endedListed)
		if err != nil {
			return err
		}
		devices = append(devices, view.List(ended, view.NewEndedDevice)...)
	}
	return web.OK(c, gin.H{"devices": devices})
}

// ownDevice is the id of the device in the path.
func ownDevice(c *gin.Context) (uuid.UUID, error) {
	text := c.Param("id")
	if text == "current" {
		return web.CallerFrom(c).DeviceID, nil
	}
	id, ok := view.ParseUUID(text)
	if !ok {
		return uuid.Nil, models.ErrNotFound
	}
	return id, nil
}

func (s *Server) renameDevice(c *gin.Context) error {
	id, err := ownDevice(c)
	if err != nil {
		return err
	}
	name, err := web.BindName(c)
	if err != nil {
		return err
	}
	caller := web.CallerFrom(c)
	mine := models.DeviceFilter{ID: id, UserID: caller.UserID} // another user's is not found
	d, err := s.store.RenameDevice(c.Request.Context(), mine, name, self(c))
	if err != nil {
		return err
	}
	return web.OK(c, view.NewOwnDevice(d, caller.DeviceID))
}

func (s *Server) signOutDevice(c *gin.Context) error {
	id, err := ownDevice(c)
	if err != nil {
		return err
	}
	_, wait, err := web.QueryWait(c)
	if err != nil {
		return err
	}
	return s.signOut(c, models.UserDevice(web.CallerFrom(c).UserID, id), wait, id == web.CallerFrom(c).DeviceID)
}

// signOutEverywhere moves the user's timestamp; with ?except=current each other device's.
func (s *Server) signOutEverywhere(c *gin.Context) error {
	q, wait, err := web.QueryWait(c, "except")
	if err != nil {
		return err
	}
	caller := web.CallerFrom(c)
	switch q.Get("except") {
	case "":
		return s.signOut(c, models.WholeUser(caller.UserID), wait, true)
	case "current":
		return s.signOut(c, models.OtherDevices(caller.UserID, caller.DeviceID), wait, false)
	}
	return web.Invalid("except must be current")
}

// signOut ends what t names; own: the caller's own device is among it.
func (s *Server) signOut(c *gin.Context, t models.Target, wait time.Duration, own bool) error {
	out, err := s.store.Revoke(c.Request.Context(), t, models.ReasonSignedOut, self(c))
	if err != nil {
		return err
	}
	if own {
		s.forgetOwnCookie(c)
	}
	return web.SignedOut(c, s.store, out, wait)
}

// changePassword signs the other devices out, and this one in anew.
func (s *Server) changePassword(c *gin.Context) error {
	_, wait, err := web.QueryWait(c)
	if err != nil {
		return err
	}
	var in struct {
		Current *string `json:"current_password"`
		New     *string `json:"new_password"`
	}
	if err := web.BindJSON(c, &in); err != nil {
		return err
	}
	if in.Current == nil || in.New == nil {
		return web.Invalid("there must be current_password and new_password")
	}
	caller := web.CallerFrom(c)
	issued, out, err := s.store.ChangePassword(c.Request.Context(), models.PasswordChange{
		UserID: caller.UserID, Current: *in.Current, New: *in.New,
		KeepDevice: caller.DeviceID, IP: web.LimitIP(c), ByProxy: web.ClientIP(c) == "",
	}, self(c))
	if errors.Is(err, models.ErrCredentials) {
		return &web.Problem{
			Status: http.StatusForbidden, Code: "wrong_password", Detail: "the current password is not right",
		}
	}
	if err != nil {
		return err
	}
	return web.OK(c, struct {
		view.SignOut
		tokenAnswer
	}{view.NewSignOut(c.Request.Context(), s.store, out, wait), deliver(c, issued)})
}
