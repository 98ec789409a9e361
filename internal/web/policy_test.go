package web_test

import (
	"log/slog"
	"net/http/httptest"
	"testing"

	"github.com/gin-gonic/gin"

	"curfew/internal/testdb"
	"curfew/internal/web"
	"curfew/models"
)

// Each group's answers carry its own policy, errors included; what belongs to no group has the strict one of programs.
func TestPolicy_ByGroup(t *testing.T) {
	cfg := models.Config{
		DatabaseURL: testdb.SQLite(t), Issuer: "https://curfew.test", Secrets: [][]byte{make([]byte, models.MinSecretSize)},
	}
	if _, err := models.Migrate(t.Context(), cfg); err != nil {
		t.Fatal(err)
	}
	store, err := models.Open(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { store.Close() })
	engine, err := web.NewEngine(web.EngineConfig{
		Listener: "public", Store: store, Metrics: web.NewMetrics(store), Logger: slog.New(slog.DiscardHandler), TLS: true,
	})
	if err != nil {
		t.Fatal(err)
	}
	pages := engine.Group("/pages", web.API.With("content-security-policy", "default-src 'self'").Middleware)
	pages.GET("/good", web.Handle(func(c *gin.Context) error { return web.OK(c, gin.H{}) }))
	pages.GET("/bad", web.Handle(func(*gin.Context) error { return models.ErrNotFound }))
	pages.GET("/panic", func(*gin.Context) { panic("x") })
	pages.GET("/own", func(c *gin.Context) { c.Header("Cache-Control", "max-age=60") })

	strict := "default-src 'none'; frame-ancestors 'none'"
	for path, want := range map[string]struct {
		status      int
		csp, caches string
	}{
		"/pages/good":  {200, "default-src 'self'", "no-store"},
		"/pages/bad":   {404, "default-src 'self'", "no-store"},
		"/pages/panic": {500, "default-src 'self'", "no-store"},
		"/pages/own":   {200, "default-src 'self'", "max-age=60"},
		"/pages/none":  {404, strict, "no-store"},
		"/healthz":     {200, strict, "no-store"},
	} {
		w := httptest.NewRecorder()
		engine.ServeHTTP(w, httptest.NewRequest("GET", path, nil))
		h := w.Header()
		if w.Code != want.status || h.Get("Content-Security-Policy") != want.csp || h.Get("Cache-Control") != want.caches {
			t.Errorf("%s: %d %v", path, w.Code, h)
		}
		for name, value := range map[string]string{
			"X-Content-Type-Options": "nosniff", "X-Frame-Options": "DENY", "Referrer-Policy": "no-referrer",
			"Strict-Transport-Security": "max-age=31536000",
		} {
			if h.Get(name) != value {
				t.Errorf("%s: %s is %q", path, name, h.Get(name))
			}
		}
	}
}
