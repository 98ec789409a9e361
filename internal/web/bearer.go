package web

import (
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/gin-gonic/gin"
	"github.com/google/uuid"

	"curfew/models"
)

const callerKey = "caller"

// Authenticate lets only living access tokens with a scope through, RFC 6750. The token is taken from the Authorization
// header and from nowhere else; it is checked against the database, with no window. The scope admin also takes a user
// who is an admin now, or a client's own token.
func Authenticate(store *models.Store, scope string) gin.HandlerFunc {
	return Handle(func(c *gin.Context) error {
		raw, err := bearerToken(c.Request)
		if err != nil {
			return err
		}
		token, err := store.CheckAccessToken(c.Request.Context(), raw)
		switch {
		case errors.Is(err, models.ErrAccessToken):
			return &Problem{
				Status: http.StatusUnauthorized, Code: "invalid_token", Detail: "the access token is malformed, expired or signed out",
				Challenge: `Bearer realm="curfew", error="invalid_token", error_description="the access token is malformed, expired or signed out"`,
			}
		case err != nil:
			return err
		case !token.HasScope(scope) || (scope == models.ScopeAdmin && token.UserID != uuid.Nil && !token.Admin):
			return &Problem{
				Status: http.StatusForbidden, Code: "insufficient_scope", Detail: "it takes an access token with the scope " + scope,
				Challenge: fmt.Sprintf(`Bearer realm="curfew", error="insufficient_scope", scope=%q`, scope),
			}
		}
		c.Set(callerKey, token)
		return nil
	})
}

// bearerToken finds the token, RFC 6750 section 2.1. Without one the challenge has no error code (section 3.1).
func bearerToken(r *http.Request) (string, error) {
	values := r.Header.Values("Authorization")
	if len(values) > 1 {
		return "", &Problem{
			Status: http.StatusBadRequest, Code: "invalid_request", Detail: "there is more than one Authorization header",
			Challenge: `Bearer realm="curfew", error="invalid_request"`,
		}
	}
	if len(values) == 1 {
		scheme, token, _ := strings.Cut(values[0], " ")
		if token = strings.Trim(token, " "); strings.EqualFold(scheme, "Bearer") && token != "" {
			return token, nil
		}
	}
	return "", &Problem{
		Status: http.StatusUnauthorized, Code: "token_required", Detail: "it takes an access token: Authorization: Bearer …",
		Challenge: `Bearer realm="curfew"`,
	}
}

// CallerFrom is the token that [Authenticate] let through.
func CallerFrom(c *gin.Context) *models.AccessToken {
	return c.MustGet(callerKey).(*models.AccessToken)
}

// ActorFrom is the caller as the audit log names it.
func ActorFrom(c *gin.Context, entity string) models.Actor {
	caller := CallerFrom(c)
	return models.Actor{Entity: entity, ID: caller.Subject, IP: ClientIP(c), UserAgent: c.Request.UserAgent()}
}
