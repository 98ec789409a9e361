package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"curfew/admin"
	"curfew/internal/password"
	"curfew/internal/proc"
	"curfew/internal/web"
	"curfew/models"
	"curfew/server"
)

const (
	readHeaderTimeout = 5 * time.Second
	readTimeout       = 10 * time.Second
	// writeTimeout is above the longest ?wait=; streams set deadlines of their own.
	writeTimeout   = 30 * time.Second
	idleTimeout    = 75 * time.Second // above nginx's 60 s: who keeps connections must not be the last to know
	maxHeaderBytes = 16 << 10
)

type serveCommand struct{}

func (c *serveCommand) Run(p *program) error {
	cfg, warnings, err := readConfig(p.env, needsSecret)
	if err != nil {
		return err
	}
	log := cfg.logger(p.stderr, false)
	for _, w := range warnings {
		log.Warn(w)
	}
	cfg.store.Hash.Command = p.hashCommand()
	n, err := startNode(p.ctx, cfg, log)
	if err != nil {
		return err
	}
	return n.run(p.ctx)
}

// hashCommand is what a server starts to hash passwords.
func (p *program) hashCommand() []string {
	if p.self == "" {
		return nil
	}
	return []string{p.self, "hash"}
}

type hashCommand struct {
	AtATime int `arg:""`
}

// hashPriority is a nice value: a tenth of a share where CPUs are short.
const hashPriority = 10

// Run hashes passwords for the server that has started it, until that ends. In its own session it does not end with an
// interrupt from the server's terminal.
func (c *hashCommand) Run(*program) error {
	proc.LowerPriority(hashPriority)
	// Go's poller waits for a pipe that does not block. A thread that waits in read costs more than itself: the
	// scheduler looks for such threads every 20 µs for a while, each time one is found.
	_ = syscall.SetNonblock(syscall.Stdin, true)
	return password.Serve(os.NewFile(uintptr(syscall.Stdin), "stdin"), os.Stdout, max(1, c.AtATime))
}

// node is one running server: two listeners on one store.
type node struct {
	cfg       config
	log       *slog.Logger
	store     *models.Store
	listeners [2]*listener  // public, admin
	streams   chan struct{} // closed when the streams have ended in the course of a stop
	givenUp   bool          // they did not in time: nobody waits for them any more
	closers   []func()      // what a stop ends after the requests, last first
}

// listener is one of the two addresses.
type listener struct {
	name string
	net.Listener
	server   *http.Server
	tls      bool
	draining atomic.Bool // readiness says no
}

// startNode takes the addresses, opens the store, and builds what answers on them. Nothing is answered before run.
func startNode(ctx context.Context, cfg config, log *slog.Logger) (*node, error) {
	n := &node{cfg: cfg, log: log, streams: make(chan struct{})}
	if err := n.start(ctx); err != nil {
		n.close()
		return nil, err
	}
	return n, nil
}

func (n *node) start(ctx context.Context) error {
	certificate, err := loadCertificate(n.cfg.tlsCert, n.cfg.tlsKey, n.log)
	if err != nil {
		return err
	}
	if err := n.listen(ctx, certificate != nil); err != nil {
		return err
	}
	n.warn()
	n.warnFiles()
	if err := n.openStore(ctx); err != nil {
		return err
	}
	traces, err := startTracing(ctx, n.log)
	if err != nil {
		return err
	}
	n.closers = append(n.closers, traces.stop)
	return n.answer(traces, certificate)
}

// listen takes the two addresses.
func (n *node) listen(ctx context.Context, tls bool) error {
	for i, l := range []struct{ name, variable, addr string }{
		{"public", "PUBLIC_ADDR", n.cfg.publicAddr}, {"admin", "ADMIN_ADDR", n.cfg.adminAddr},
	} {
		ln, err := (&net.ListenConfig{}).Listen(ctx, "tcp", l.addr)
		if err != nil {
			return fmt.Errorf("%s%s: %w", prefix, l.variable, err)
		}
		ln = newBoundedListener(ln, l.name, n.log)
		n.closers = append(n.closers, func() { ln.Close() })
		n.listeners[i] = &listener{name: l.name, Listener: ln, tls: tls}
	}
	addr := n.cfg.publicAddr
	if strings.HasSuffix(addr, ":0") { // the system chose
		addr = n.listeners[0].Addr().String()
	}
	n.cfg.defaultIssuer(addr)
	return nil
}

// openStore opens the database.
func (n *node) openStore(ctx context.Context) (err error) {
	cfg := n.cfg.store
	cfg.Logger = n.log
	if strings.HasPrefix(cfg.DatabaseURL, "sqlite:") { // one process owns it, so nobody else is to be asked
		applied, err := models.Migrate(ctx, cfg)
		if err != nil {
			return err
		}
		if len(applied) > 0 {
			n.log.Info("schema brought up to date", "versions", applied)
		}
	}
	if n.store, err = models.Open(ctx, cfg); err != nil {
		return err
	}
	n.closers = append(n.closers, func() {
		if err := n.store.Close(); err != nil {
			n.log.Error("the store did not close", "error", err)
		}
	})
	return nil
}

// answer makes the servers of the two listeners.
func (n *node) answer(traces *tracing, certificate *certificate) error {
	cfg, log, metrics := n.cfg, n.log, web.NewMetrics(n.store)
	shell, err := cfg.newPages()
	if err != nil {
		return err
	}
	public, err := server.New(server.Config{
		Store: n.store, Issuer: cfg.store.Issuer, TrustedProxies: cfg.trustedProxies, Metrics: metrics, Logger: log,
		TLS:      n.listeners[0].tls || strings.HasPrefix(cfg.store.Issuer, "https://"), // or a proxy's
		Draining: n.listeners[0].draining.Load, Pages: shell,
	})
	if err != nil {
		return err
	}
	n.closers = append(n.closers, func() {
		if !n.givenUp {
			public.Close()
		}
	})
	private, err := admin.New(admin.Config{
		Notifier: n.startNotifier(metrics),
		Store:    n.store, TrustedProxies: cfg.trustedProxies, TLS: n.listeners[1].tls, Metrics: metrics, Logger: log,
		Pprof: cfg.pprof, Draining: n.listeners[1].draining.Load,
		Pages: shell, URL: cfg.adminURL, StepUp: cfg.stepUp, Version: versionText(),
	})
	if err != nil {
		return err
	}
	n.closers = append(n.closers, private.Close)
	for i, handler := range []http.Handler{public.Handler(), private.Handler()} {
		l := n.listeners[i]
		l.server = &http.Server{
			Handler:           traces.wrap(handler, l.name),
			ReadHeaderTimeout: readHeaderTimeout, ReadTimeout: readTimeout, WriteTimeout: writeTimeout, IdleTimeout: idleTimeout,
			MaxHeaderBytes: maxHeaderBytes,
			// What strangers' handshakes do wrong.
			ErrorLog: slog.NewLogLogger(log.With("listener", l.name).Handler(), slog.LevelDebug),
		}
		if l.tls {
			l.server.TLSConfig = tlsConfig(certificate)
		}
	}
	n.boundConnections()
	// A stream takes its connection over, which HTTP/2 does not have.
	n.listeners[0].server.Protocols = new(http.Protocols)
	n.listeners[0].server.Protocols.SetHTTP1(true)
	// After the listener is closed, so that a follower that comes back at once finds another node.
	n.listeners[0].server.RegisterOnShutdown(func() {
		public.Close()
		close(n.streams)
	})
	return nil
}

// run answers until ctx ends, then lets the requests finish and ends the streams.
func (n *node) run(ctx context.Context) error {
	defer n.close()
	failed := make(chan error, len(n.listeners))
	for _, l := range n.listeners {
		go func() {
			var err error
			if l.tls {
				err = l.server.ServeTLS(l.Listener, "", "")
			} else {
				err = l.server.Serve(l.Listener)
			}
			if !errors.Is(err, http.ErrServerClosed) {
				failed <- fmt.Errorf("the %s listener: %w", l.name, err)
			}
		}()
		n.log.Info("listening", "listener", l.name, "addr", l.Addr().String(), "tls", l.tls)
	}
	n.log.Info("ready", "version", versionText(), "issuer", n.cfg.store.Issuer)

	var err error
	select {
	case <-ctx.Done():
		n.log.Info("stopping; a second signal kills")
		for _, l := range n.listeners {
			l.draining.Store(true)
		}
		select {
		case <-time.After(n.cfg.shutdownDelay):
		case err = <-failed:
		}
	case err = <-failed:
	}
	return errors.Join(err, n.shutdown())
}

// shutdown stops taking connections, ends the streams, and waits for the requests, for a bounded time.
func (n *node) shutdown() error {
	ctx, cancel := context.WithTimeout(context.Background(), n.cfg.shutdownTimeout)
	defer cancel()
	var wg sync.WaitGroup
	errs := make([]error, len(n.listeners))
	for i, l := range n.listeners {
		wg.Go(func() {
			if err := l.server.Shutdown(ctx); err != nil {
				errs[i] = fmt.Errorf("requests on the %s listener were cut off after %s: %w", l.name, n.cfg.shutdownTimeout, err)
				l.server.Close()
			}
		})
	}
	wg.Go(func() { // Shutdown does not know of the streams
		select {
		case <-n.streams:
		case <-ctx.Done():
			// Their followers resume elsewhere, so it is no failure. What they still do ends with the process; a store
			// that is closed tells them so.
			n.log.Warn("revocation streams were cut off: their readers were too slow for the stop", "after",
				n.cfg.shutdownTimeout)
			n.givenUp = true
		}
	})
	wg.Wait()
	err := errors.Join(errs...)
	if err == nil {
		n.log.Info("stopped")
	}
	return err
}

func (n *node) close() {
	for len(n.closers) > 0 {
		last := len(n.closers) - 1
		n.closers[last]()
		n.closers = n.closers[:last]
	}
}

// warn says what is legal and seldom meant.
func (n *node) warn() {
	if addr, err := netip.ParseAddrPort(n.listeners[1].Addr().String()); err == nil && !addr.Addr().Unmap().IsLoopback() &&
		n.cfg.tlsCert == "" {
		n.log.Warn("the admin listener is reachable from elsewhere and without TLS: keep its network private", "addr", addr)
	}
	u, err := url.Parse(n.cfg.store.Issuer)
	if err != nil || u.Scheme == "https" {
		return
	}
	host := u.Hostname()
	addr, err := netip.ParseAddr(host)
	switch {
	case host == "localhost" || strings.HasSuffix(host, ".localhost") || (err == nil && addr.Unmap().IsLoopback()):
	case err == nil && addr.IsUnspecified():
		n.log.Warn(prefix+"ISSUER is not set, and "+prefix+"PUBLIC_ADDR names no machine: clients elsewhere cannot use "+
			"this issuer", "issuer", n.cfg.store.Issuer)
	default:
		n.log.Warn("the issuer is not https: passwords and tokens are readable on the way, and browsers get no pages",
			"issuer", n.cfg.store.Issuer)
	}
}

// certificate is a pair of files. A new pair that cannot be used leaves the old one in place.
type certificate struct {
	certFile, keyFile string
	log               *slog.Logger

	mu      sync.Mutex
	current *tls.Certificate
	stamp   [2]time.Time // of the files that current, or the last failure, came from
	checked time.Time
}

// certificateEvery is how often the files are looked at, at most.
const certificateEvery = 5 * time.Second

func loadCertificate(certFile, keyFile string, log *slog.Logger) (*certificate, error) {
	if certFile == "" {
		return nil, nil
	}
	c := &certificate{certFile: certFile, keyFile: keyFile, log: log, checked: time.Now()}
	c.stamp = c.stamps()
	pair, err := tls.LoadX509KeyPair(certFile, keyFile)
	if err != nil {
		return nil, usage("%sTLS_CERT and %sTLS_KEY: %w; they take PEM files that belong together", prefix, prefix, err)
	}
	c.current = &pair
	return c, nil
}

func (c *certificate) stamps() (t [2]time.Time) {
	for i, name := range []string{c.certFile, c.keyFile} {
		if info, err := os.Stat(name); err == nil {
			t[i] = info.ModTime()
		}
	}
	return t
}

func (c *certificate) get(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if time.Since(c.checked) < certificateEvery {
		return c.current, nil
	}
	c.checked = time.Now()
	if stamp := c.stamps(); stamp != c.stamp {
		c.stamp = stamp
		pair, err := tls.LoadX509KeyPair(c.certFile, c.keyFile)
		if err != nil {
			c.log.Error("the new certificate cannot be used; the old one stays", "error", err)
			return c.current, nil
		}
		c.current = &pair
		c.log.Info("certificate read again")
	}
	return c.current, nil
}

type healthcheckCommand struct{}

// Run asks the public listener of this machine for /readyz. The certificate is not checked: it names another host.
func (c *healthcheckCommand) Run(p *program) error {
	values, _ := curfewVariables(p.env)
	addr, scheme := values["PUBLIC_ADDR"], "http"
	if addr == "" {
		addr = "127.0.0.1:8080"
	}
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return usage("%sPUBLIC_ADDR: %q is not an address with a port", prefix, addr)
	}
	switch host {
	case "", "0.0.0.0":
		host = "127.0.0.1"
	case "::":
		host = "::1"
	}
	if values["TLS_CERT"] != "" {
		scheme = "https"
	}
	client := &http.Client{
		// the server gives the database five
		Timeout:   6 * time.Second,
		Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}, //nolint:gosec // itself
	}
	req, err := http.NewRequestWithContext(p.ctx, http.MethodGet, scheme+"://"+net.JoinHostPort(host, port)+"/readyz", nil)
	if err != nil {
		return err
	}
	res, err := client.Do(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return fmt.Errorf("not ready: %s", res.Status)
	}
	return nil
}
