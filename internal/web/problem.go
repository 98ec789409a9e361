package web

import (
	"errors"
	"fmt"
	"log/slog"
	"math"
	"net/http"
	"strconv"
	"time"

	"github.com/gin-gonic/gin"

	"curfew/models"
)

// Problem is an error that a client can act on, RFC 9457. Code is for programs, Detail for people.
type Problem struct {
	Status     int
	Code       string
	Detail     string
	RetryAfter time.Duration
	Challenge  string // WWW-Authenticate
}

func (p *Problem) Error() string { return fmt.Sprintf("%d %s: %s", p.Status, p.Code, p.Detail) }

// Invalid is the problem of a request that cannot be understood.
func Invalid(format string, args ...any) *Problem {
	return &Problem{Status: http.StatusBadRequest, Code: "invalid_request", Detail: fmt.Sprintf(format, args...)}
}

// busyRetry is what a client is told to wait when the server cannot say more exactly.
const busyRetry = 2 * time.Second

// ProblemOf classifies an error of the store. What it does not know is a fault of the server, and says nothing of it.
func ProblemOf(err error) *Problem {
	if p, ok := errors.AsType[*Problem](err); ok {
		return p
	}
	if t, ok := errors.AsType[*models.ThrottledError](err); ok {
		p := unavailable(t.Public() + "; try again later")
		p.Status, p.RetryAfter = http.StatusTooManyRequests, t.RetryAfter
		return p
	}
	problem := func(status int, code, detail string) *Problem {
		return &Problem{Status: status, Code: code, Detail: detail}
	}
	switch {
	case errors.Is(err, models.ErrAccessToken):
		return errBadToken
	case errors.Is(err, models.ErrUnavailable):
		return unavailable("the server cannot reach its database; try again")
	case errors.Is(err, models.ErrHashQueueFull):
		return unavailable("too many sign-ins at once; try again")
	case errors.Is(err, models.ErrNotFound):
		return problem(http.StatusNotFound, "not_found", "there is no such thing here")
	case errors.Is(err, models.ErrConflict):
		return problem(http.StatusConflict, "conflict", "the name is taken")
	case errors.Is(err, models.ErrPasswordPolicy):
		return problem(http.StatusUnprocessableEntity, "password_policy", err.Error())
	case errors.Is(err, models.ErrTooManySubscribers):
		return problem(http.StatusForbidden, "limit_reached", err.Error())
	case errors.Is(err, models.ErrInvalid):
		return problem(http.StatusBadRequest, "invalid_request", err.Error())
	}
	return problem(http.StatusInternalServerError, "server_error",
		"something went wrong here; the log knows the request by its id")
}

func unavailable(detail string) *Problem {
	return &Problem{
		Status: http.StatusServiceUnavailable, Code: "temporarily_unavailable", Detail: detail, RetryAfter: busyRetry,
	}
}

// WriteProblem answers with an error, and logs it if it is the server's.
func WriteProblem(c *gin.Context, err error) {
	p := ProblemOf(err)
	LogFault(c, p.Status, err)
	NoteReason(c, p.Detail)
	h := c.Writer.Header()
	if p.RetryAfter > 0 {
		h.Set("Retry-After", RetryAfter(p.RetryAfter))
	}
	if p.Challenge != "" {
		h.Set("WWW-Authenticate", p.Challenge)
	}
	h.Set("Content-Type", "application/problem+json")
	c.AbortWithStatusJSON(p.Status, struct {
		Type   string `json:"type"`
		Title  string `json:"title"`
		Status int    `json:"status"`
		Code   string `json:"code"`
		Detail string `json:"detail,omitempty"`
	}{"about:blank", http.StatusText(p.Status), p.Status, p.Code, p.Detail})
}

// RetryAfter is the header's form of a duration: whole seconds, at least one.
func RetryAfter(d time.Duration) string {
	return strconv.Itoa(max(1, int(math.Ceil(d.Seconds()))))
}

// NoteReason says why a request is refused, for the request log.
func NoteReason(c *gin.Context, reason string) { c.Set(reasonKey, reason) }

// LogFault logs an error that is not the client's.
func LogFault(c *gin.Context, status int, err error) {
	if status < http.StatusInternalServerError {
		return
	}
	level := slog.LevelError
	if status == http.StatusServiceUnavailable {
		level = slog.LevelWarn
	}
	log, ok := c.MustGet(loggerKey).(*slog.Logger)
	if !ok {
		log = slog.Default()
	}
	log.Log(c.Request.Context(), level, "request failed",
		"request_id", c.GetString(requestIDKey), "route", c.FullPath(), "status", status, "error", err)
}
