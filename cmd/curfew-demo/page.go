package main

import (
	"embed"
	"encoding/json"
	"net/http"
)

//go:embed web
var files embed.FS

// page adds the page's files to the routes, and puts it before the API's own answer at "/": who sends no token is a
// person.
func (a *app) page(mux *http.ServeMux, api http.Handler) http.Handler {
	// The page loads what is its own, and asks this API and the issuer.
	policy := "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self' " + a.issuer +
		"; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
	file := func(name string) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			h := w.Header()
			h.Set("Content-Security-Policy", policy)
			h.Set("Referrer-Policy", "no-referrer")
			h.Set("X-Content-Type-Options", "nosniff")
			h.Set("Cache-Control", "no-cache")
			http.ServeFileFS(w, r, files, "web/"+name)
		})
	}
	for _, name := range []string{"curfew.js", "demo.js", "style.css"} {
		mux.Handle("GET /"+name, file(name))
	}
	mux.HandleFunc("GET /config.json", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("Cache-Control", "no-cache")
		_ = json.NewEncoder(w).Encode(map[string]string{
			"issuer": a.issuer, "client_id": a.webClient, "scope": a.webScope,
		})
	})
	index := file("page.html")
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Vary", "Authorization")
		if len(r.Header.Values("Authorization")) == 0 {
			index.ServeHTTP(w, r)
			return
		}
		api.ServeHTTP(w, r)
	})
}
