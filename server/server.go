package server

import (
	"log/slog"
	"net/http"

	"github.com/gin-gonic/gin"

	"curfew/internal/pages"
	"curfew/internal/web"
	"curfew/models"
)

// Config is what the public listener needs.
type Config struct {
	Store          *models.Store
	Metrics        *web.Metrics
	Logger         *slog.Logger
	Issuer         string      // where clients find this listener; the iss of tokens
	TrustedProxies []string    // whose X-Forwarded-For is believed
	TLS            bool        // answers carry HSTS
	Draining       func() bool // tells that the node is stopping; nil: it never is

	// Pages are what people see. Without them there is no sign-in page, and so no authorization endpoint.
	Pages *pages.Pages
}

// Server is the public listener. Its handler is safe for concurrent use.
type Server struct {
	store   *models.Store
	metrics *web.Metrics
	issuer  string
	origin  string // the issuer's, as browsers write it
	engine  *gin.Engine
	feed    *feed

	pages *pages.Pages // nil: none
	site  *web.Site    // what they share
}

// New makes the listener and starts to follow the revocation log; Close ends that.
func New(cfg Config) (*Server, error) {
	engine, err := web.NewEngine(web.EngineConfig{
		Listener: "public", Store: cfg.Store, Metrics: cfg.Metrics, Logger: cfg.Logger,
		TrustedProxies: cfg.TrustedProxies, TLS: cfg.TLS, Draining: cfg.Draining,
	})
	if err != nil {
		return nil, err
	}
	s := &Server{
		store: cfg.Store, metrics: cfg.Metrics, issuer: cfg.Issuer, origin: originOf(cfg.Issuer), engine: engine,
		pages: cfg.Pages,
	}
	s.routes()
	if cfg.Pages != nil {
		if s.site, err = web.NewSite(cfg.Pages, s.origin, "CURFEW_ISSUER", pathAccount); err != nil {
			return nil, err
		}
		s.pageRoutes()
	}
	s.feed = newFeed(cfg.Store, cfg.Logger)
	cfg.Metrics.Gauge("curfew_feed_streams", "Open revocation streams.", func() float64 {
		return float64(s.feed.open.Load())
	})
	return s, nil
}

// Handler answers the listener's requests. Serve it with HTTP/1 only: the feed takes its connections over.
func (s *Server) Handler() http.Handler { return s.engine }

// Routes are the routes there are, for the tests.
func (s *Server) Routes() gin.RoutesInfo { return s.engine.Routes() }

// Close ends every open stream with a last word and waits for them; http.Server.Shutdown does not.
func (s *Server) Close() { s.feed.close() }

func (s *Server) routes() {
	r := s.engine
	r.Use(s.browsers) // before all routes, so that it sees also what has none

	// What anybody may read, scripts of any site too.
	documents := r.Group("", web.API.With("Access-Control-Allow-Origin", "*").Middleware)
	documents.Match(web.GetAndHead, "/.well-known/oauth-authorization-server", s.metadata)
	documents.Match(web.GetAndHead, "/.well-known/openid-configuration", s.metadata)
	documents.Match(web.GetAndHead, "/oauth2/jwks", s.jwks)

	// Clients, who authenticate in the form or by HTTP Basic. RFC 6749 section 5.1 wants the old header too.
	clients := r.Group("/oauth2", web.API.With("Pragma", "no-cache").Middleware)
	clients.POST("/token", s.token)
	clients.POST("/revoke", s.revoke)
	clients.POST("/introspect", s.introspect)

	// Resource servers, who follow the revocation log.
	followers := r.Group("/oauth2/revocations", web.Authenticate(s.store, models.ScopeRevocations))
	followers.GET("", web.Handle(s.revocations))
	followers.POST("/ack", web.HandleWithoutQuery(s.acknowledge))

	// Apps, about their users. A GET and a POST are the same.
	apps := r.Group(pathUserInfo, web.Authenticate(s.store, models.ScopeOpenID), web.Handle(userOnly))
	apps.GET("", web.HandleWithoutQuery(s.userInfo))
	apps.POST("", web.HandleWithoutQuery(s.userInfo))

	// Users, about their own devices and password.
	user := r.Group("/settings", web.Authenticate(s.store, models.ScopeSettings), web.Handle(userOnly))
	user.GET("/me", web.HandleWithoutQuery(s.me))
	user.GET("/events", web.Handle(s.listEvents))
	user.GET("/devices", web.Handle(s.listDevices))
	user.PATCH("/devices/:id", web.HandleWithoutQuery(s.renameDevice))
	user.DELETE("/devices/:id", web.Handle(s.signOutDevice))
	user.DELETE("/devices", web.Handle(s.signOutEverywhere))
	user.PUT("/password", web.Handle(s.changePassword))
}
