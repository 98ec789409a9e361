package admin

import (
	"log/slog"
	"net/http"
	"net/http/pprof"
	"regexp"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/google/uuid"

	"curfew/internal/notify"
	"curfew/internal/pages"
	"curfew/internal/view"
	"curfew/internal/web"
	"curfew/models"
)

// Config is what the private listener needs.
type Config struct {
	Store          *models.Store
	Metrics        *web.Metrics
	Logger         *slog.Logger
	TrustedProxies []string         // whose X-Forwarded-For is believed
	TLS            bool             // answers carry HSTS
	Draining       func() bool      // tells that the node is stopping; nil: it never is
	Notifier       *notify.Notifier // sends the test messages of webhooks
	Pprof          bool             // profiles under /debug/pprof, without a token: the listener is private

	Pages   *pages.Pages  // for the console; nil: there is none
	URL     string        // how people reach the listener, if a proxy stands before it; empty: as their browsers do
	StepUp  time.Duration // how old a password may be for what makes credentials or ends many; 0: as old as it is
	Version string        // of the program, for people
}

// Admin is the private listener. Its handler is safe for concurrent use.
type Admin struct {
	store    *models.Store
	engine   *gin.Engine
	notifier *notify.Notifier
	stepUp   time.Duration
	console  *console // nil: there is none
}

// New makes the listener.
func New(cfg Config) (*Admin, error) {
	engine, err := web.NewEngine(web.EngineConfig{
		Listener: "admin", Store: cfg.Store, Metrics: cfg.Metrics, Logger: cfg.Logger,
		TrustedProxies: cfg.TrustedProxies, TLS: cfg.TLS, Draining: cfg.Draining,
	})
	if err != nil {
		return nil, err
	}
	a := &Admin{store: cfg.Store, engine: engine, notifier: cfg.Notifier, stepUp: cfg.StepUp}
	a.routes()
	if cfg.Pages != nil {
		if err := a.addConsole(cfg); err != nil {
			return nil, err
		}
	}
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

func (a *Admin) addConsole(cfg Config) error {
	site, err := web.NewSite(cfg.Pages, cfg.URL, "CURFEW_ADMIN_URL", consoleHome)
	if err != nil {
		return err
	}
	a.console = &console{
		store: cfg.Store, metrics: cfg.Metrics, notifier: cfg.Notifier, site: site, url: cfg.URL, stepUp: cfg.StepUp,
		history: newHistory(cfg.Store, cfg.Metrics, cfg.Version),
	}
	a.console.routes(a.engine)
	return nil
}

// Close ends the background work.
func (a *Admin) Close() {
	if a.console != nil {
		a.console.history.close()
	}
}

// Handler answers the listener's requests.
func (a *Admin) Handler() http.Handler { return a.engine }

// Routes are the routes there are, for the tests.
func (a *Admin) Routes() gin.RoutesInfo { return a.engine.Routes() }

func (a *Admin) routes() {
	r := a.engine.Group("/admin", web.Authenticate(a.store, models.ScopeAdmin))

	r.GET("/devices", web.Handle(a.listDevices))
	r.DELETE("/devices", web.Handle(a.revokeDevices))
	r.GET("/devices/:id", web.HandleWithoutQuery(a.getDevice))
	r.PATCH("/devices/:id", web.HandleWithoutQuery(a.renameDevice))
	r.DELETE("/devices/:id", web.Handle(a.revokeDevice))

	r.GET("/users", web.Handle(a.listUsers))
	r.POST("/users", web.HandleWithoutQuery(a.again(a.createUser)))
	r.GET("/users/:id", web.HandleWithoutQuery(a.getUser))
	r.PATCH("/users/:id", web.Handle(a.updateUser))
	r.DELETE("/users/:id", web.Handle(a.again(a.deleteUser)))
	r.POST("/users/:id/unlock", web.HandleWithoutQuery(a.unlockUser))
	r.GET("/users/:id/devices", web.Handle(a.listUserDevices))
	r.DELETE("/users/:id/devices", web.Handle(a.revokeUser))

	r.GET("/clients", web.Handle(a.listClients))
	r.POST("/clients", web.HandleWithoutQuery(a.again(a.createClient)))
	r.GET("/clients/:id", web.HandleWithoutQuery(a.getClient))
	r.PATCH("/clients/:id", web.HandleWithoutQuery(a.again(a.updateClient)))
	r.DELETE("/clients/:id", web.Handle(a.again(a.deleteClient)))
	r.POST("/clients/:id/secret", web.HandleWithoutQuery(a.again(a.rotateSecret)))
	r.DELETE("/clients/:id/devices", web.Handle(a.again(a.revokeClient)))

	r.GET("/revocations", web.Handle(a.listRevocations))
	r.GET("/revocations/:seq", web.HandleWithoutQuery(a.getRevocation))
	r.GET("/subscribers", web.Handle(a.listSubscribers))
	r.DELETE("/subscribers/:client_id/:name", web.HandleWithoutQuery(a.deleteSubscriber))
	r.GET("/events", web.Handle(a.listEvents))

	r.GET("/receivers", web.HandleWithoutQuery(a.listReceivers))
	r.GET("/webhooks", web.HandleWithoutQuery(a.listWebhooks))
	r.POST("/webhooks", web.HandleWithoutQuery(a.again(a.createWebhook)))
	r.GET("/webhooks/:id", web.HandleWithoutQuery(a.getWebhook))
	r.DELETE("/webhooks/:id", web.HandleWithoutQuery(a.deleteWebhook))
	r.POST("/webhooks/:id/secret", web.HandleWithoutQuery(a.again(a.rotateWebhook)))
	r.POST("/webhooks/:id/test", web.HandleWithoutQuery(a.testWebhook))
}

// pathID is a UUID in the path. Another form names nothing.
func pathID(c *gin.Context) (uuid.UUID, error) {
	id, ok := view.ParseUUID(c.Param("id"))
	if !ok {
		return uuid.Nil, models.ErrNotFound
	}
	return id, nil
}

var nameForm = regexp.MustCompile(`^[A-Za-z0-9._-]{1,64}$`)

// pathName is a client's id or a subscriber's name in the path. What cannot be one names nothing, and does not reach
// the database: PostgreSQL takes no NUL and no broken UTF-8.
func pathName(c *gin.Context, parameter string) (string, error) {
	text := c.Param(parameter)
	if !nameForm.MatchString(text) {
		return "", models.ErrNotFound
	}
	return text, nil
}

// actor is the admin who asks, as the audit log names whoever does something.
func actor(c *gin.Context) models.Actor { return web.ActorFrom(c, models.EntityAdmin) }

// page answers one page of a list, under the list's name.
func page[V any](c *gin.Context, name string, list []V, next string) error {
	body := gin.H{name: list}
	if next != "" {
		body["next_cursor"] = next
	}
	return web.OK(c, body)
}
