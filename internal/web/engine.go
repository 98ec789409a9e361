package web

import (
	"crypto/rand"
	"errors"
	"log/slog"
	"maps"
	"net/http"
	"regexp"
	"runtime/debug"
	"strconv"
	"time"

	"github.com/gin-gonic/gin"

	"curfew/models"
)

// EngineConfig says how an engine is made.
type EngineConfig struct {
	Listener       string // public or admin; a label of the metrics
	Store          *models.Store
	Metrics        *Metrics
	Logger         *slog.Logger
	TrustedProxies []string    // addresses or prefixes whose X-Forwarded-For is believed; none by default
	TLS            bool        // answers carry HSTS
	Draining       func() bool // tells that the node is stopping, and so not ready; nil: it never is
}

// Keys of what the engine notes on each request.
const (
	requestIDKey = "request_id"
	loggerKey    = "logger"
	sourceKey    = "source"
	reasonKey    = "reason" // why it was refused
	storeKey     = "store"
	leaveKey     = "leave" // gives back what the request holds, when it has been answered
)

// GetAndHead are the methods of what anybody may read: monitors and caches ask with HEAD, RFC 9110 section 9.3.2.
var GetAndHead = []string{http.MethodGet, http.MethodHead}

// NewEngine is an engine with everything that both listeners do for every request, and the two health checks. Its
// answers follow the [API] policy; a group of routes with another one says so by [Policy.Middleware].
func NewEngine(cfg EngineConfig) (*gin.Engine, error) {
	gin.SetMode(gin.ReleaseMode)
	e := gin.New()
	e.HandleMethodNotAllowed = true
	e.RedirectTrailingSlash = false
	e.RedirectFixedPath = false
	_ = e.SetTrustedProxies(nil) // gin reads the first line of X-Forwarded-For only; see proxies
	proxies, err := newProxies(cfg.TrustedProxies, cfg.Logger)
	if err != nil {
		return nil, err
	}
	policy := API
	if cfg.TLS {
		policy = API.With("Strict-Transport-Security", "max-age=31536000")
	}
	e.Use(observe(cfg, proxies), policy.Middleware)
	e.NoRoute(Handle(func(*gin.Context) error { return models.ErrNotFound }))
	e.NoMethod(Handle(func(c *gin.Context) error {
		return &Problem{
			Status: http.StatusMethodNotAllowed, Code: "method_not_allowed",
			Detail: c.Request.Method + " is not for this address; see Allow",
		}
	}))
	e.Match(GetAndHead, "/healthz", func(c *gin.Context) { c.JSON(http.StatusOK, gin.H{"status": "ok"}) })
	e.Match(GetAndHead, "/readyz", Handle(func(c *gin.Context) error { return ready(c, cfg) }))
	return e, nil
}

// ready answers whether this node should be sent requests.
func ready(c *gin.Context, cfg EngineConfig) error {
	if cfg.Draining != nil && cfg.Draining() {
		return unavailable("this node is stopping")
	}
	if err := cfg.Store.Ping(c.Request.Context()); err != nil {
		return err
	}
	return OK(c, gin.H{"status": "ok"})
}

// Policy is the headers that every answer of a group of routes carries, errors included. A handler may still set its
// own in their place. A policy is made once, at the start, and its values are shared by all answers.
type Policy http.Header

// API is the policy of what programs ask. No cache keeps its answers: they hold tokens, or what somebody may see who
// asks with one (RFC 6749 section 5.1). A browser that is led here shows nothing and runs nothing.
var API = Policy{
	"Cache-Control":           {"no-store"},
	"X-Content-Type-Options":  {"nosniff"},
	"X-Frame-Options":         {"DENY"},
	"Content-Security-Policy": {"default-src 'none'; frame-ancestors 'none'"},
	"Referrer-Policy":         {"no-referrer"},
}

// Pages is the policy of what people see, also where a page only leads on. With no-referrer forms would carry "Origin:
// null", which the protection against cross-site posts refuses on names without TLS. A page itself has a
// Content-Security-Policy of its own.
var Pages = API.With("Referrer-Policy", "same-origin")

// With is the policy with one header more, or another value for one that it has.
func (p Policy) With(header, value string) Policy {
	p = maps.Clone(p)
	p[http.CanonicalHeaderKey(header)] = []string{value}
	return p
}

// Middleware is the policy as a group's handler. It replaces what the group above has set.
func (p Policy) Middleware(c *gin.Context) { maps.Copy(c.Writer.Header(), p) }

var (
	requestID = regexp.MustCompile(`^[A-Za-z0-9._-]{8,64}$`)
	errPanic  = errors.New("panic")
)

// observe names the request, logs it, measures it, and turns a panic into an answer. It sees the route's pattern, and
// why a request was refused, in the words of the answer; never the query, a header's value or a body.
func observe(cfg EngineConfig, proxies *proxies) gin.HandlerFunc {
	return func(c *gin.Context) {
		start := time.Now()
		id := c.GetHeader("X-Request-Id")
		if !requestID.MatchString(id) {
			id = rand.Text()
		}
		c.Set(requestIDKey, id)
		c.Set(loggerKey, cfg.Logger)
		c.Set(sourceKey, proxies.source(c.Request))
		c.Set(storeKey, cfg.Store)
		c.Header("X-Request-Id", id)
		defer func() {
			if p := recover(); p != nil {
				cfg.Logger.Error("panic", "request_id", id, "route", c.FullPath(), "panic", p, "stack", string(debug.Stack()))
				if !c.Writer.Written() {
					WriteProblem(c, errPanic)
				}
			}
			if leave, ok := c.Value(leaveKey).(func()); ok {
				leave()
			}
			record(c, cfg, id, time.Since(start))
		}()
		c.Next()
	}
}

// record logs and measures a request that has been answered.
func record(c *gin.Context, cfg EngineConfig, id string, took time.Duration) {
	route := c.FullPath()
	if route == "" {
		route = "unmatched"
	}
	method, status := knownMethod(c.Request.Method), c.Writer.Status()
	cfg.Metrics.requests.WithLabelValues(cfg.Listener, route, method, strconv.Itoa(status)).Observe(took.Seconds())
	level := slog.LevelInfo
	if route == "/healthz" || route == "/readyz" || route == "/metrics" {
		level = slog.LevelDebug
	}
	attrs := []slog.Attr{
		slog.String("request_id", id), slog.String("listener", cfg.Listener), slog.String("method", method),
		slog.String("route", route), slog.Int("status", status), slog.Float64("ms", float64(took.Microseconds())/1000),
		slog.String("ip", ClientIP(c)),
	}
	if reason := c.GetString(reasonKey); reason != "" && status >= 400 {
		attrs = append(attrs, slog.String("reason", models.CleanLine(reason, maxReason)))
	}
	cfg.Logger.LogAttrs(c.Request.Context(), level, "request", attrs...)
}

// maxReason is how many bytes of a reason are logged.
const maxReason = 200

// knownMethod keeps what a client may invent out of labels.
func knownMethod(m string) string {
	switch m {
	case http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete,
		http.MethodOptions:
		return m
	}
	return "other"
}

// Origin is where the request came from.
func Origin(c *gin.Context) models.Origin {
	return models.Origin{IP: ClientIP(c), UserAgent: c.Request.UserAgent()}
}
