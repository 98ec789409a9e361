package web

import (
	"errors"
	"net/http"
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"curfew/models"
)

// Metrics are what an operator watches. No label holds anything that a client or a user may choose.
type Metrics struct {
	registry    *prometheus.Registry
	requests    *prometheus.HistogramVec // written by the engine
	tokenErrors *prometheus.CounterVec
	refused     [4]atomic.Int64 // in the order of RefusedReasons
}

// NewMetrics registers everything that is measured, in a registry of its own.
func NewMetrics(store *models.Store) *Metrics {
	m := &Metrics{
		registry: prometheus.NewRegistry(),
		requests: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "curfew_http_request_seconds", Help: "Time to answer, by listener, route, method and status.",
			Buckets: []float64{.0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10},
		}, []string{"listener", "route", "method", "status"}),
		tokenErrors: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "curfew_token_errors_total",
			Help: "Token requests that failed, by grant and OAuth error; reason tells failed sign-ins apart.",
		}, []string{"grant", "error", "reason"}),
	}
	m.registry.MustRegister(m.requests, m.tokenErrors,
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
		collectors.NewDBStatsCollector(store.DB(), "main"))
	m.registerStats(store)
	m.Gauge("curfew_hash_queue", "Password hashes that are computed or wait.", func() float64 {
		return float64(store.HashQueue())
	})
	return m
}

// registerStats adds what the store counts.
func (m *Metrics) registerStats(store *models.Store) {
	counter, st := m.Counter, &store.Stats
	counter("curfew_sign_ins_total", "Password grants that succeeded.", nil, st.SignIns.Load)
	counter("curfew_sign_ins_again_total", "Of these, by a device that was known.", nil, st.SignInsAgain.Load)
	counter("curfew_refreshes_total", "Refresh tokens rotated.", nil, st.Refreshes.Load)
	counter("curfew_refresh_retries_total",
		"Refreshes whose predecessor token was a retry: answered with the same successor, or a fresh one.", nil, st.Retries.Load)
	counter("curfew_refresh_replays_total", "Replays that signed a device out.", nil, st.Replays.Load)
	counter("curfew_breach_lookups_failed_total", "New passwords that were taken without the look-up of breaches.", nil,
		store.BreachesUnanswered)
	for i, level := range models.Levels {
		counter("curfew_revocations_total", "Revocation events appended by this node.",
			prometheus.Labels{"level": string(level)}, st.Revocations[i].Load)
	}
}

// Counter adds one that something else counts.
func (m *Metrics) Counter(name, help string, labels prometheus.Labels, load func() int64) {
	opts := prometheus.CounterOpts{Name: name, Help: help, ConstLabels: labels}
	m.registry.MustRegister(prometheus.NewCounterFunc(opts, func() float64 { return float64(load()) }))
}

// Gauge adds a value that is read when it is asked for.
func (m *Metrics) Gauge(name, help string, read func() float64) {
	m.registry.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help}, read))
}

// TokenError counts a token request that failed.
func (m *Metrics) TokenError(grant, code, reason string) {
	m.tokenErrors.WithLabelValues(grant, code, reason).Inc()
}

// RefusedReasons are why sign-ins are refused, as [Metrics.Refused] counts them.
var RefusedReasons = []string{"credentials", "throttled", "unavailable", "other"}

// SignInRefused counts a sign-in with a password that was refused, wherever it was tried.
func (m *Metrics) SignInRefused(err error) {
	i := 3
	switch {
	case err == nil:
		return
	case errors.Is(err, models.ErrCredentials):
		i = 0
	case ProblemOf(err).Status == http.StatusTooManyRequests:
		i = 1
	case ProblemOf(err).Status == http.StatusServiceUnavailable:
		i = 2
	}
	m.refused[i].Add(1)
}

// Refused is how many sign-ins this node has refused, in the order of [RefusedReasons].
func (m *Metrics) Refused() (list []int64) {
	for i := range m.refused {
		list = append(list, m.refused[i].Load())
	}
	return list
}

// Handler answers GET /metrics.
func (m *Metrics) Handler() http.Handler {
	return promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{Registry: m.registry})
}
