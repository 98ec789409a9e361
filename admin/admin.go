// Package admin is the private listener: devices, users, clients, the revocation log with its receipts, the audit log,
// and the metrics. Every route but the health checks, the metrics and the profiles takes an access token with the
// scope admin, of a user who is an admin now or of a client itself.
package admin

import (
	"log/slog"
	"net/http"
	"net/http/pprof"
	"net/url"
	"regexp"

	"github.com/gin-gonic/gin"
	"github.com/google/uuid"

	"curfew/internal/web"
	"curfew/models"
)

// Config is what the private listener needs.
type Config struct {
	Store          *models.Store
	Metrics        *web.Metrics
	Logger         *slog.Logger
	TrustedProxies []string    // whose X-Forwarded-For is believed
	TLS            bool        // answers carry HSTS
	Draining       func() bool // tells that the node is stopping; nil: it never is
	Pprof          bool        // profiles under /debug/pprof, without a token: the listener is private
}

// Admin is the private listener. Its handler is safe for concurrent use.
type Admin struct {
	store  *models.Store
	engine *gin.Engine
}

// New makes the listener.
func New(cfg Config) (*Admin, error) {
	engine, err := web.NewEngine(web.EngineConfig{
		Listener: "admin", Store: cfg.Store, Metrics: cfg.Metrics, Logger: cfg.Logger, TrustedProxies: cfg.TrustedProxies, TLS: cfg.TLS,
		Draining: cfg.Draining,
	})
	if err != nil {
		return nil, err
	}
	a := &Admin{store: cfg.Store, engine: engine}
	a.routes()
	engine.GET("/metrics", gin.WrapH(cfg.Metrics.Handler()))
	if cfg.Pprof {
		for _, name := range []string{"allocs", "block", "goroutine", "heap", "mutex", "threadcreate"} {
			engine.GET("/debug/pprof/"+name, gin.WrapH(pprof.Handler(name)))
		}
		engine.GET("/debug/pprof/profile", gin.WrapF(pprof.Profile))
		engine.GET("/debug/pprof/trace", gin.WrapF(pprof.Trace))
	}
	return a, nil
}

// Handler answers the listener's requests.
func (a *Admin) Handler() http.Handler { return a.engine }

// Routes are the routes there are, for the tests.
func (a *Admin) Routes() gin.RoutesInfo { return a.engine.Routes() }

func (a *Admin) routes() {
	r := a.engine.Group("/admin", web.Authenticate(a.store, models.ScopeAdmin))

	r.GET("/devices", web.Handle(a.listDevices))
	r.DELETE("/devices", web.Handle(a.revokeDevices))
	r.GET("/devices/:id", plain(a.getDevice))
	r.PATCH("/devices/:id", plain(a.renameDevice))
	r.DELETE("/devices/:id", web.Handle(a.revokeDevice))

	r.GET("/users", web.Handle(a.listUsers))
	r.POST("/users", plain(a.createUser))
	r.GET("/users/:id", plain(a.getUser))
	r.PATCH("/users/:id", web.Handle(a.updateUser))
	r.DELETE("/users/:id", web.Handle(a.deleteUser))
	r.GET("/users/:id/devices", web.Handle(a.listUserDevices))
	r.DELETE("/users/:id/devices", web.Handle(a.revokeUser))

	r.GET("/clients", web.Handle(a.listClients))
	r.POST("/clients", plain(a.createClient))
	r.GET("/clients/:id", plain(a.getClient))
	r.PATCH("/clients/:id", plain(a.updateClient))
	r.DELETE("/clients/:id", web.Handle(a.deleteClient))
	r.POST("/clients/:id/secret", plain(a.rotateSecret))
	r.DELETE("/clients/:id/devices", web.Handle(a.revokeClient))

	r.GET("/revocations", web.Handle(a.listRevocations))
	r.GET("/revocations/:seq", plain(a.getRevocation))
	r.GET("/subscribers", plain(a.listSubscribers))
	r.DELETE("/subscribers/:client_id/:name", plain(a.deleteSubscriber))
	r.GET("/events", web.Handle(a.listEvents))
}

// plain handles a route that takes no parameter in the query. One that is there was meant to do something, dry_run for
// one, and is not ignored.
func plain(fn web.HandlerFunc) gin.HandlerFunc {
	return web.Handle(func(c *gin.Context) error {
		if _, err := web.Query(c); err != nil {
			return err
		}
		return fn(c)
	})
}

// pathID is a UUID in the path. Another form names nothing.
func pathID(c *gin.Context) (uuid.UUID, error) {
	id, ok := web.ParseUUID(c.Param("id"))
	if !ok {
		return uuid.Nil, models.ErrNotFound
	}
	return id, nil
}

var nameForm = regexp.MustCompile(`^[A-Za-z0-9._-]{1,64}$`)

// pathName is a client's id or a subscriber's name in the path. What cannot be one names nothing, and does not reach the
// database: PostgreSQL takes no NUL and no broken UTF-8.
func pathName(c *gin.Context, parameter string) (string, error) {
	text := c.Param(parameter)
	if !nameForm.MatchString(text) {
		return "", models.ErrNotFound
	}
	return text, nil
}

// idFilter is a UUID in the query; uuid.Nil without one.
func idFilter(q url.Values, parameter string) (uuid.UUID, error) {
	text := q.Get(parameter)
	if text == "" {
		return uuid.Nil, nil
	}
	id, ok := web.ParseUUID(text)
	if !ok {
		return id, web.Invalid("%s: it takes a UUID in its canonical form", parameter)
	}
	return id, nil
}

// addressFilter is an address in the query, in the one form that is stored.
func addressFilter(q url.Values) (string, error) {
	text := q.Get("ip")
	if text == "" {
		return "", nil
	}
	ip, ok := models.ParseIP(text)
	if !ok {
		return "", web.Invalid("ip: it takes an address, like 203.0.113.7 or 2001:db8::7")
	}
	return ip, nil
}

// answer sends JSON that no cache keeps.
func answer(c *gin.Context, status int, body any) error {
	c.Header("Cache-Control", "no-store")
	c.JSON(status, body)
	return nil
}
