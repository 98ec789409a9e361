package admin

import (
	"fmt"
	"net/http"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/google/uuid"

	"curfew/internal/web"
)

// freshEnough is the error of an admin whose password was given too long ago for what makes credentials or ends many,
// RFC 9470. A client's own token stands for no password, and is exempt.
func (a *Admin) freshEnough(c *gin.Context) error {
	caller := web.CallerFrom(c)
	if c.Request.Method == http.MethodDelete && c.Query("dry_run") == "true" { // which only counts
		return nil
	}
	if a.stepUp == 0 || caller.UserID == uuid.Nil || time.Since(time.Unix(caller.AuthTime, 0)) < a.stepUp {
		return nil
	}
	return &web.Problem{
		Status: http.StatusUnauthorized, Code: "insufficient_user_authentication",
		Detail: "the password was given too long ago for this; sign in again",
		Challenge: fmt.Sprintf(`Bearer realm="curfew", error="insufficient_user_authentication", `+
			`error_description="the password was given too long ago", max_age="%d"`, int64(a.stepUp/time.Second)),
	}
}

// again makes a handler of what asks for a fresh password.
func (a *Admin) again(fn web.HandlerFunc) web.HandlerFunc {
	return func(c *gin.Context) error {
		if err := a.freshEnough(c); err != nil {
			return err
		}
		return fn(c)
	}
}
