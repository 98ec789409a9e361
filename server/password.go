package server

import (
	"errors"
	"net/http"

	"github.com/gin-gonic/gin"

	"curfew/internal/web"
	"curfew/models"
)

// changePassword is PUT /settings/password. The other devices are signed out.
func (s *Server) changePassword(c *gin.Context) error {
	var in struct {
		Current *string `json:"current_password"`
		New     *string `json:"new_password"`
	}
	q, err := web.Query(c, "wait")
	if err != nil {
		return err
	}
	wait, err := web.ParseWait(q)
	if err != nil {
		return err
	}
	if err := web.BindJSON(c, &in); err != nil {
		return err
	}
	if in.Current == nil || in.New == nil {
		return web.Invalid("it takes current_password and new_password")
	}
	caller := web.CallerFrom(c)
	out, err := s.store.ChangePassword(c.Request.Context(), models.PasswordChange{
		UserID: caller.UserID, Current: *in.Current, New: *in.New, KeepDevice: caller.DeviceID, IP: web.ClientIP(c),
	}, web.ActorFrom(c, models.EntityUser))
	if errors.Is(err, models.ErrCredentials) {
		return &web.Problem{Status: http.StatusForbidden, Code: "wrong_password", Detail: "the current password is not right"}
	}
	if err != nil {
		return err
	}
	web.AnswerSignOut(c, s.store, out, wait)
	return nil
}
