package server

import (
	"errors"
	"net/http"
	"strings"
	"time"

	"github.com/gin-gonic/gin"
	oautherrors "github.com/go-oauth2/oauth2/v4/errors"

	"curfew/internal/web"
	"curfew/models"
)

// oauthError is an error of the OAuth endpoints, RFC 6749 section 5.2: JSON, 400, or 401 with a challenge.
type oauthError struct {
	status      int
	code        string
	description string
	reason      string // for the metrics: tells failures apart that a client must not
	retryAfter  time.Duration
}

func (e *oauthError) Error() string { return e.code + ": " + e.description }

func invalidRequest(description string) *oauthError {
	return &oauthError{
		status: http.StatusBadRequest, code: "invalid_request", description: description, reason: "malformed",
	}
}

var (
	errInvalidClient = &oauthError{
		status: http.StatusUnauthorized, code: "invalid_client", description: "client authentication failed",
		reason: "client",
	}
	errUnsupportedGrant = &oauthError{
		status: http.StatusBadRequest, code: "unsupported_grant_type",
		description: "grant_type must be one of " + strings.Join(models.GrantNames(), ", "), reason: "grant",
	}
	errUnauthorizedClient = &oauthError{
		status: http.StatusBadRequest, code: "unauthorized_client",
		description: "the client was not registered with this grant", reason: "grant",
	}
	errMayNotIntrospect = &oauthError{
		status: http.StatusForbidden, code: "access_denied",
		description: "the client was not registered for introspection", reason: "introspection",
	}
	errInvalidScope = &oauthError{
		status: http.StatusBadRequest, code: "invalid_scope",
		description: "a scope is unknown, malformed or not allowed", reason: "scope",
	}
	errInvalidTarget = &oauthError{ // RFC 8707 section 2
		status: http.StatusBadRequest, code: "invalid_target",
		description: "a resource is unknown, malformed or not allowed", reason: "resource",
	}
	errTokenType = &oauthError{
		status: http.StatusBadRequest, code: "unsupported_token_type",
		description: "the token has no device that could be signed out", reason: "token_type",
	}
	errFault = &oauthError{
		status: http.StatusInternalServerError, code: "server_error", description: "something went wrong here",
		reason: "fault",
	}
)

// unreadableClient is invalid_client where what is wrong is how the client says who it is: that tells no secret.
func unreadableClient(description string) *oauthError {
	e := *errInvalidClient
	e.description = description
	return &e
}

// invalidGrant has one description for every cause: a guesser learns nothing from it.
func invalidGrant(reason string) *oauthError {
	return &oauthError{
		status: http.StatusBadRequest, code: "invalid_grant",
		description: "the credentials, the code or the refresh token are invalid, expired, revoked, or another client's",
		reason:      reason,
	}
}

// temporarilyUnavailable is an error that passes by itself.
func temporarilyUnavailable(status int, description, reason string, retry time.Duration) *oauthError {
	return &oauthError{
		status: status, code: "temporarily_unavailable", description: description, reason: reason, retryAfter: retry,
	}
}

// busyRetry is what a client is told to wait when the server cannot say more exactly.
const busyRetry = 2 * time.Second

// oauthErrorOf is the one place where an error of the store becomes a code of the protocol.
func oauthErrorOf(err error) *oauthError {
	if e, ok := errors.AsType[*oauthError](err); ok {
		return e
	}
	if t, ok := errors.AsType[*models.ThrottledError](err); ok {
		return temporarilyUnavailable(http.StatusTooManyRequests, t.Public()+"; try again later",
			"throttled", t.RetryAfter)
	}
	switch {
	case errors.Is(err, models.ErrClientCredentials):
		return errInvalidClient
	case errors.Is(err, models.ErrCredentials):
		return invalidGrant("password")
	case errors.Is(err, models.ErrRefreshTokenReused):
		return invalidGrant("replay")
	case errors.Is(err, models.ErrRefreshTokenInvalid):
		return invalidGrant("refresh_token")
	case errors.Is(err, models.ErrCodeReused):
		return invalidGrant("code_reuse")
	case errors.Is(err, models.ErrCodeInvalid):
		return invalidGrant("code")
	case errors.Is(err, models.ErrScope):
		return errInvalidScope
	case errors.Is(err, models.ErrTarget):
		return errInvalidTarget
	case errors.Is(err, models.ErrMayNotIntrospect):
		return errMayNotIntrospect
	case errors.Is(err, models.ErrTokenType):
		return errTokenType
	case errors.Is(err, models.ErrInvalid):
		return invalidRequest(err.Error())
	case errors.Is(err, models.ErrHashQueueFull):
		return temporarilyUnavailable(http.StatusServiceUnavailable, "too many sign-ins at once; try again",
			"hash_queue", busyRetry)
	case errors.Is(err, models.ErrUnavailable):
		return temporarilyUnavailable(http.StatusServiceUnavailable, "the server cannot reach its database; try again",
			"database", busyRetry)
	case errors.Is(err, oautherrors.ErrInvalidRequest): // go-oauth2 read the request
		return invalidRequest("a parameter is missing")
	}
	return errFault
}

// fail answers with an error. RFC 6749 section 5.2.
func (s *Server) fail(c *gin.Context, err error) *oauthError {
	e := oauthErrorOf(err)
	web.LogFault(c, e.status, err)
	reason := e.description
	if e.code == "invalid_grant" { // whose causes the client is not told apart
		reason = e.reason
	}
	web.NoteReason(c, reason)
	if e.status == http.StatusUnauthorized {
		c.Header("WWW-Authenticate", `Basic realm="curfew", charset="UTF-8"`)
	}
	if e.retryAfter > 0 {
		c.Header("Retry-After", web.RetryAfter(e.retryAfter))
	}
	c.AbortWithStatusJSON(e.status, struct {
		Error       string `json:"error"`
		Description string `json:"error_description"`
	}{e.code, e.description})
	return e
}
