// Command curfew-demo is an app to look at and to copy from: an API that checks access tokens locally with package
// verify, and, for an app to click through, a page in the browser that signs in, calls that API, and shows the moment
// at which it knew of a sign-out. `curfew-demo --help` has its variables.
package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"curfew/verify"
)

const help = `Usage: curfew-demo

An API that checks access tokens locally, and a page in the browser that signs in and calls it.
"curfew dev" prints a line that starts it. Configuration is from the environment:

  CURFEW_DEMO_ISSUER              the issuer's URL; required
  CURFEW_DEMO_CLIENT_ID           a client with the grant client_credentials, the scope revocations, and
                                  introspection; required
  CURFEW_DEMO_CLIENT_SECRET       its secret; required, or
  CURFEW_DEMO_CLIENT_SECRET_FILE  a file that holds it
  CURFEW_DEMO_WEB_CLIENT_ID       a public client with the grants authorization_code and refresh_token, whose redirect
                                  URI is this address with a "/" behind it, and whose origin is this address; without
                                  it there is no page
  CURFEW_DEMO_WEB_SCOPE           what the page asks for; default "settings profile"
  CURFEW_DEMO_SUBSCRIBER          this process in receipts; default the end of the host's name and 13 random letters
  CURFEW_DEMO_SCOPE               what a token must carry; default nothing
  CURFEW_DEMO_ADDR                where to listen; default 127.0.0.1:8082

  GET /            takes a token and answers its claims; without one, the page
  GET /watch       takes a token; a JSON object a line, until the token is refused, and why
  /check/...       any method, anything behind it: 200 to a token that is alive, and whose it is in X-Curfew-...
                   headers, for a proxy that asks before it lets a request through
  GET /healthz     answers while the process lives
  GET /metrics     the verifier's counters, for Prometheus
`

const (
	requestTimeout = 10 * time.Second
	stopTimeout    = 10 * time.Second
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if len(os.Args) > 1 {
		os.Exit(explain(os.Args[1:], os.Stdout, os.Stderr))
	}
	if err := run(ctx, os.Getenv, func(net.Addr) {}); err != nil {
		fmt.Fprintln(os.Stderr, "curfew-demo:", err)
		os.Exit(1)
	}
}

// explain answers the only argument there is.
func explain(args []string, stdout, stderr io.Writer) (status int) {
	if len(args) == 1 && (args[0] == "--help" || args[0] == "-h") {
		fmt.Fprint(stdout, help)
		return 0
	}
	fmt.Fprintf(stderr, "curfew-demo: it takes no arguments but --help, not %q\n", args)
	return 2
}

// run serves until ctx ends. listening is told the address.
func run(ctx context.Context, env func(string) string, listening func(net.Addr)) error {
	cfg, err := config(env)
	if err != nil {
		return err
	}
	v, err := verify.New(cfg)
	if err != nil {
		return err
	}
	defer v.Close()
	l, err := net.Listen("tcp", cmp.Or(env("CURFEW_DEMO_ADDR"), "127.0.0.1:8082"))
	if err != nil {
		return err
	}
	a := &app{
		verifier: v, scopes: strings.Fields(env("CURFEW_DEMO_SCOPE")), issuer: cfg.Issuer, stopping: ctx.Done(),
		webClient: env("CURFEW_DEMO_WEB_CLIENT_ID"),
		webScope:  cmp.Or(env("CURFEW_DEMO_WEB_SCOPE"), "settings profile"),
	}
	srv := &http.Server{
		Handler: a.handler(), ReadHeaderTimeout: requestTimeout,
		ReadTimeout:  requestTimeout,
		WriteTimeout: 2 * requestTimeout, IdleTimeout: time.Minute, MaxHeaderBytes: 32 << 10,
	}
	slog.Info("curfew-demo is listening", "url", "http://"+l.Addr().String(), "issuer", cfg.Issuer)
	listening(l.Addr())
	ended := make(chan error, 1)
	go func() { ended <- srv.Serve(l) }()
	select {
	case err := <-ended:
		return err
	case <-ctx.Done():
	}
	drain, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopTimeout)
	defer cancel()
	if err := srv.Shutdown(drain); err != nil {
		return fmt.Errorf("requests were cut off: %w", err)
	}
	if err := <-ended; !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

func config(env func(string) string) (cfg verify.Config, err error) {
	cfg = verify.Config{
		Issuer: env("CURFEW_DEMO_ISSUER"), ClientID: env("CURFEW_DEMO_CLIENT_ID"),
		ClientSecret: env("CURFEW_DEMO_CLIENT_SECRET"),
		Subscriber:   env("CURFEW_DEMO_SUBSCRIBER"),
	}
	file := env("CURFEW_DEMO_CLIENT_SECRET_FILE")
	switch {
	case cfg.Issuer == "" || cfg.ClientID == "":
		return cfg, errors.New("CURFEW_DEMO_ISSUER and CURFEW_DEMO_CLIENT_ID are required")
	case (file == "") == (cfg.ClientSecret == ""):
		return cfg, errors.New("one of CURFEW_DEMO_CLIENT_SECRET and CURFEW_DEMO_CLIENT_SECRET_FILE is required")
	case file != "":
		b, err := os.ReadFile(file)
		if err != nil {
			return cfg, fmt.Errorf("CURFEW_DEMO_CLIENT_SECRET_FILE: %w", err)
		}
		cfg.ClientSecret = strings.TrimRight(string(b), "\r\n")
	}
	return cfg, nil
}
