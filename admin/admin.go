// Package admin is the private listener: devices, users, clients, the revocation log with its receipts, the audit log,
// and the metrics. Every route but the health checks, the metrics and the profiles takes an access token with the
// scope admin, of a user who is an admin now or of a client itself.
package admin

import (
	"log/slog"
	"net/http"
	"net/http/pprof"

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
	TrustedProxies []string // whose X-Forwarded-For is believed
	TLS            bool     // answers carry HSTS
	Pprof          bool     // profiles under /debug/pprof, without a token: the listener is private
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
	r.GET("/devices/:id", web.Handle(a.getDevice))
	r.PATCH("/devices/:id", web.Handle(a.renameDevice))
	r.DELETE("/devices/:id", web.Handle(a.revokeDevice))

	r.GET("/users", web.Handle(a.listUsers))
	r.POST("/users", web.Handle(a.createUser))
	r.GET("/users/:id", web.Handle(a.getUser))
	r.PATCH("/users/:id", web.Handle(a.updateUser))
	r.DELETE("/users/:id", web.Handle(a.deleteUser))
	r.GET("/users/:id/devices", web.Handle(a.listUserDevices))
	r.DELETE("/users/:id/devices", web.Handle(a.revokeUser))

	r.GET("/clients", web.Handle(a.listClients))
	r.POST("/clients", web.Handle(a.createClient))
	r.GET("/clients/:id", web.Handle(a.getClient))
	r.PATCH("/clients/:id", web.Handle(a.updateClient))
	r.DELETE("/clients/:id", web.Handle(a.deleteClient))
	r.POST("/clients/:id/secret", web.Handle(a.rotateSecret))
	r.DELETE("/clients/:id/devices", web.Handle(a.revokeClient))

	r.GET("/revocations", web.Handle(a.listRevocations))
	r.GET("/revocations/:seq", web.Handle(a.getRevocation))
	r.GET("/subscribers", web.Handle(a.listSubscribers))
	r.DELETE("/subscribers/:client_id/:name", web.Handle(a.deleteSubscriber))
	r.GET("/events", web.Handle(a.listEvents))
}

// pathID is a UUID in the path. Another form names nothing.
func pathID(c *gin.Context) (uuid.UUID, error) {
	id, ok := canonical(c.Param("id"))
	if !ok {
		return uuid.Nil, models.ErrNotFound
	}
	return id, nil
}

func canonical(text string) (uuid.UUID, bool) {
	id, err := uuid.Parse(text)
	return id, err == nil && len(text) == 36 && id != uuid.Nil
}

// answer sends JSON that no cache keeps.
func answer(c *gin.Context, status int, body any) error {
	c.Header("Cache-Control", "no-store")
	c.JSON(status, body)
	return nil
}
