package web

import (
	"crypto/rand"
	"fmt"
	"log/slog"
	"maps"
	"net/http"
	"regexp"
	"runtime/debug"
	"time"

	"github.com/gin-gonic/gin"

	"curfew/models"
)

// HandlerFunc is a handler that leaves its error to one writer.
type HandlerFunc func(c *gin.Context) error

// Handle makes a gin handler of it; an error becomes a problem document.
func Handle(fn HandlerFunc) gin.HandlerFunc {
	return func(c *gin.Context) {
		if err := fn(c); err != nil {
			WriteProblem(c, err)
		}
	}
}

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

const (
	requestIDKey = "request_id"
	loggerKey    = "logger"
	clientIPKey  = "client_ip"
)

// Look has the methods of what takes no token: monitors and caches ask with HEAD, RFC 9110 section 9.3.2.
var Look = []string{http.MethodGet, http.MethodHead}

// NewEngine is an engine with everything that both listeners do for every request, and the two health checks.
func NewEngine(cfg EngineConfig) (*gin.Engine, error) {
	gin.SetMode(gin.ReleaseMode)
	e := gin.New()
	e.HandleMethodNotAllowed = true
	e.RedirectTrailingSlash = false
	e.RedirectFixedPath = false
	e.RemoteIPHeaders = []string{"X-Forwarded-For"}
	if err := e.SetTrustedProxies(cfg.TrustedProxies); err != nil {
		return nil, fmt.Errorf("trusted proxies: %w", err)
	}
	if cfg.TLS {
		e.Use(func(c *gin.Context) { c.Header("Strict-Transport-Security", "max-age=31536000") })
	}
	e.Use(observe(cfg), headers)
	e.NoRoute(Handle(func(*gin.Context) error { return models.ErrNotFound }))
	e.NoMethod(Handle(func(c *gin.Context) error {
		return &Problem{Status: http.StatusMethodNotAllowed, Code: "method_not_allowed", Detail: c.Request.Method + " is not for this address; see Allow"}
	}))
	e.Match(Look, "/healthz", func(c *gin.Context) { c.JSON(http.StatusOK, gin.H{"status": "ok"}) })
	e.Match(Look, "/readyz", Handle(func(c *gin.Context) error {
		if cfg.Draining != nil && cfg.Draining() {
			return &Problem{Status: http.StatusServiceUnavailable, Code: "temporarily_unavailable", Detail: "this node is stopping", RetryAfter: busyRetry}
		}
		if err := cfg.Store.Ping(c.Request.Context()); err != nil {
			return err
		}
		c.JSON(http.StatusOK, gin.H{"status": "ok"})
		return nil
	}))
	return e, nil
}

func headers(c *gin.Context) {
	maps.Copy(c.Writer.Header(), securityHeaders)
}

var securityHeaders = http.Header{
	"X-Content-Type-Options":  {"nosniff"},
	"X-Frame-Options":         {"DENY"},
	"Content-Security-Policy": {"default-src 'none'; frame-ancestors 'none'"},
	"Referrer-Policy":         {"no-referrer"},
}

var requestID = regexp.MustCompile(`^[A-Za-z0-9._-]{8,64}$`)

// observe names the request, logs it, measures it, and turns a panic into an answer. It sees the route's pattern, never
// the query, a header's value or a body.
func observe(cfg EngineConfig) gin.HandlerFunc {
	return func(c *gin.Context) {
		start := time.Now()
		id := c.GetHeader("X-Request-Id")
		if !requestID.MatchString(id) {
			id = rand.Text()
		}
		c.Set(requestIDKey, id)
		c.Set(loggerKey, cfg.Logger)
		c.Set(clientIPKey, clientIP(c))
		c.Header("X-Request-Id", id)
		defer func() {
			if p := recover(); p != nil {
				cfg.Logger.Error("panic", "request_id", id, "route", c.FullPath(), "panic", p, "stack", string(debug.Stack()))
				if !c.Writer.Written() {
					WriteProblem(c, fmt.Errorf("panic"))
				}
			}
			took := time.Since(start)
			route := c.FullPath()
			if route == "" {
				route = "unmatched"
			}
			cfg.Metrics.observe(cfg.Listener, route, method(c.Request.Method), c.Writer.Status(), took)
			level := slog.LevelInfo
			if route == "/healthz" || route == "/readyz" || route == "/metrics" {
				level = slog.LevelDebug
			}
			cfg.Logger.LogAttrs(c.Request.Context(), level, "request", slog.String("request_id", id), slog.String("listener", cfg.Listener),
				slog.String("method", method(c.Request.Method)), slog.String("route", route), slog.Int("status", c.Writer.Status()),
				slog.Float64("ms", float64(took.Microseconds())/1000), slog.String("ip", ClientIP(c)))
		}()
		c.Next()
	}
}

func loggerOf(c *gin.Context) *slog.Logger {
	if l, ok := c.MustGet(loggerKey).(*slog.Logger); ok {
		return l
	}
	return slog.Default()
}

// method keeps what a client may invent out of labels.
func method(m string) string {
	switch m {
	case http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete, http.MethodOptions:
		return m
	}
	return "other"
}

// ClientIP is the address that the request came from, in one form: no zone, IPv4 as such.
func ClientIP(c *gin.Context) string { return c.GetString(clientIPKey) }

func clientIP(c *gin.Context) string {
	ip, _ := models.ParseIP(c.ClientIP())
	return ip
}

// Origin is where the request came from.
func Origin(c *gin.Context) models.Origin {
	return models.Origin{IP: ClientIP(c), UserAgent: c.Request.UserAgent()}
}
