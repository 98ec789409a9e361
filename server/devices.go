package server

import (
	"net/http"

	"github.com/gin-gonic/gin"
	"github.com/google/uuid"

	"curfew/internal/web"
	"curfew/models"
)

// userOnly keeps a client's own token out of the settings: it has no user.
func userOnly(c *gin.Context) error {
	if web.CallerFrom(c).UserID == uuid.Nil {
		return &web.Problem{Status: http.StatusForbidden, Code: "user_required", Detail: "the settings are a user's: a client's own token has none"}
	}
	return nil
}

// device is one of the user's own devices.
type device struct {
	ID         string        `json:"id"`
	Name       string        `json:"name"`
	ClientID   string        `json:"client_id"`
	ClientName string        `json:"client_name"`
	UserAgent  string        `json:"user_agent"`
	Platform   string        `json:"platform"`
	IP         string        `json:"ip"`
	SignedInAt models.Micros `json:"signed_in_at"`
	LastSeenAt models.Micros `json:"last_seen_at"`
	ExpiresAt  models.Micros `json:"expires_at"`
	Current    bool          `json:"current"`
}

func deviceView(d *models.DeviceInfo, current uuid.UUID) device {
	return device{
		ID: d.ID.String(), Name: d.Name, ClientID: d.ClientID, ClientName: d.ClientName, UserAgent: d.UserAgent, Platform: web.Platform(d.UserAgent),
		IP: d.IP, SignedInAt: d.SignedInAt, LastSeenAt: d.LastSeenAt, ExpiresAt: d.ExpiresAt, Current: d.ID == current,
	}
}

func (s *Server) listDevices(c *gin.Context) error {
	if _, err := web.Query(c); err != nil {
		return err
	}
	caller := web.CallerFrom(c)
	list, err := s.store.UserDevices(c.Request.Context(), caller.UserID)
	if err != nil {
		return err
	}
	devices := make([]device, len(list))
	for i := range list {
		devices[i] = deviceView(&list[i], caller.DeviceID)
	}
	c.Header("Cache-Control", "no-store")
	c.JSON(http.StatusOK, gin.H{"devices": devices})
	return nil
}

// ownDevice is the device of the path, as a filter that also says whose it is. Another user's is not found.
func ownDevice(c *gin.Context) (models.DeviceFilter, error) {
	caller, text := web.CallerFrom(c), c.Param("id")
	if text == "current" {
		return models.DeviceFilter{ID: caller.DeviceID, UserID: caller.UserID}, nil
	}
	id, ok := web.ParseUUID(text)
	if !ok {
		return models.DeviceFilter{}, models.ErrNotFound
	}
	return models.DeviceFilter{ID: id, UserID: caller.UserID}, nil
}

func (s *Server) renameDevice(c *gin.Context) error {
	if _, err := web.Query(c); err != nil {
		return err
	}
	f, err := ownDevice(c)
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
	d, err := s.store.RenameDevice(c.Request.Context(), f, *in.Name, web.ActorFrom(c, models.EntityUser))
	if err != nil {
		return err
	}
	c.Header("Cache-Control", "no-store")
	c.JSON(http.StatusOK, deviceView(d, web.CallerFrom(c).DeviceID))
	return nil
}

func (s *Server) signOutDevice(c *gin.Context) error {
	f, err := ownDevice(c)
	if err != nil {
		return err
	}
	return s.signOut(c, models.UserDevice(f.UserID, f.ID))
}

// signOutEverywhere moves the user's timestamp; with ?except=current each other device's.
func (s *Server) signOutEverywhere(c *gin.Context) error {
	caller := web.CallerFrom(c)
	switch c.Query("except") {
	case "":
		return s.signOut(c, models.WholeUser(caller.UserID), "except")
	case "current":
		return s.signOut(c, models.OtherDevices(caller.UserID, caller.DeviceID), "except")
	}
	return web.Invalid("except: it takes current")
}

func (s *Server) signOut(c *gin.Context, t models.Target, parameters ...string) error {
	q, err := web.Query(c, append(parameters, "wait")...)
	if err != nil {
		return err
	}
	wait, err := web.ParseWait(q)
	if err != nil {
		return err
	}
	out, err := s.store.Revoke(c.Request.Context(), t, models.ReasonSignedOut, web.ActorFrom(c, models.EntityUser))
	if err != nil {
		return err
	}
	web.AnswerSignOut(c, s.store, out, wait)
	return nil
}
