package web

import (
	"fmt"
	"net/http"
	"strings"

	"github.com/gin-gonic/gin"

	"curfew/models"
)

const callerKey = "caller"

// Authenticate lets only living access tokens with a scope through, RFC 6750. The token comes in the Authorization
// header and nowhere else; it is checked against the database, with no window. Its scope has nothing that the
// client or the user may not do any more.
func Authenticate(store *models.Store, scope string) gin.HandlerFunc {
	return Handle(func(c *gin.Context) error {
		raw, err := BearerToken(c.Request)
		if err != nil {
			return err
		}
		token, err := store.CheckAccessToken(c.Request.Context(), raw)
		switch {
		case err != nil:
			return err
		case !token.HasScope(scope):
			return &Problem{
				Status: http.StatusForbidden, Code: "insufficient_scope",
				Detail:    "the access token must have the scope " + scope,
				Challenge: fmt.Sprintf(`Bearer realm="curfew", error="insufficient_scope", scope=%q`, scope),
			}
		}
		c.Set(callerKey, token)
		return nil
	})
}

// The refusals of RFC 6750 section 3.1. Who sent no token gets a challenge without an error code.
var (
	errNoToken = &Problem{
		Status: http.StatusUnauthorized, Code: "token_required",
		Detail: "an access token is needed: Authorization: Bearer …", Challenge: `Bearer realm="curfew"`,
	}
	errBadToken = &Problem{
		Status: http.StatusUnauthorized, Code: "invalid_token", Detail: badToken,
		Challenge: `Bearer realm="curfew", error="invalid_token", error_description="` + badToken + `"`,
	}
	errTwoTokens = &Problem{
		Status: http.StatusBadRequest, Code: "invalid_request", Detail: "there is more than one Authorization header",
		Challenge: `Bearer realm="curfew", error="invalid_request"`,
	}
)

const badToken = "the access token is malformed, expired or signed out"

// BearerToken finds the token, RFC 6750 section 2.1.
func BearerToken(r *http.Request) (string, error) {
	values := r.Header.Values("Authorization")
	if len(values) > 1 {
		return "", errTwoTokens
	}
	if len(values) == 1 {
		scheme, token, _ := strings.Cut(values[0], " ")
		if token = strings.Trim(token, " "); strings.EqualFold(scheme, "Bearer") && token != "" {
			return token, nil
		}
	}
	return "", errNoToken
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
