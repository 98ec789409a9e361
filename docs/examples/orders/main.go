// Command orders is a small API that takes Curfew's access tokens: what docs/resource-servers-go.md shows.
package main

import (
	"context"
	"errors"
	"fmt"
	"log"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"

	"curfew/verify"
)

func main() {
	v, err := verify.New(verify.Config{
		Issuer:       os.Getenv("ISSUER"),
		ClientID:     os.Getenv("CLIENT_ID"),
		ClientSecret: os.Getenv("CLIENT_SECRET"),
	})
	if err != nil {
		log.Fatal(err)
	}
	defer v.Close()

	mux := http.NewServeMux()
	mux.Handle("GET /orders", v.Middleware("orders")(http.HandlerFunc(orders)))
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) {
		if v.Staleness() > 30*time.Second { // before the first contact, too
			http.Error(w, "the revocation feed is silent", http.StatusServiceUnavailable)
		}
	})

	server := &http.Server{Addr: os.Getenv("ADDR"), Handler: mux, ReadHeaderTimeout: 5 * time.Second}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, func() { _ = server.Shutdown(context.Background()) })
	if err := server.ListenAndServe(); !errors.Is(err, http.ErrServerClosed) {
		log.Fatal(err)
	}
}

func orders(w http.ResponseWriter, r *http.Request) {
	claims := verify.ClaimsFrom(r.Context())
	fmt.Fprintf(w, "the orders of %s, on device %s\n", claims.Subject, claims.DeviceID)
}
