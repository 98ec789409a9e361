package gate

import (
	"net/http"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"curfew/verify"
)

// metrics are what an operator watches of a gate.
type metrics struct {
	checks   *prometheus.HistogramVec
	refusals *prometheus.CounterVec
	handler  http.Handler
}

func newMetrics(v *verify.Verifier) *metrics {
	m := &metrics{
		checks: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "curfew_gate_check_seconds", Help: "Time to answer a proxy, by status.",
			Buckets: []float64{.00001, .000025, .00005, .0001, .00025, .0005, .001, .0025, .01, .025, .1, .5, 1, 5},
		}, []string{"status"}),
		refusals: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "curfew_gate_refusals_total", Help: "Requests that were not let through, by what verify says of them.",
		}, []string{"code"}),
	}
	for _, status := range []int{
		http.StatusOK, http.StatusUnauthorized, http.StatusForbidden,
		http.StatusInternalServerError, http.StatusServiceUnavailable,
	} {
		m.checks.WithLabelValues(strconv.Itoa(status)) // there from the start, so that a first one is a rise
	}
	registry := prometheus.NewRegistry()
	registry.MustRegister(m.checks, m.refusals, verifierStats{v}, collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	m.handler = promhttp.HandlerFor(registry, promhttp.HandlerOpts{Registry: registry})
	return m
}

func (m *metrics) observe(status int, took time.Duration) {
	m.checks.WithLabelValues(strconv.Itoa(status)).Observe(took.Seconds())
}

// verifierStats reads the verifier's counters, all at one moment, when it is asked.
type verifierStats struct{ v *verify.Verifier }

var tokensDesc = prometheus.NewDesc("curfew_verify_tokens_total", "Tokens that were looked at, by what was found.",
	[]string{"result"}, nil)

// verifierStat is one of the verifier's counters or states.
type verifierStat struct {
	desc  *prometheus.Desc
	kind  prometheus.ValueType
	value func(verify.Stats) float64
}

func counter(name, help string, value func(verify.Stats) int64) verifierStat {
	return verifierStat{
		prometheus.NewDesc("curfew_verify_"+name, help, nil, nil), prometheus.CounterValue,
		func(s verify.Stats) float64 { return float64(value(s)) },
	}
}

func state(name, help string, value func(verify.Stats) float64) verifierStat {
	return verifierStat{prometheus.NewDesc("curfew_verify_"+name, help, nil, nil), prometheus.GaugeValue, value}
}

var statDescs = []verifierStat{
	counter("cached_total", "Calls that found the signature remembered.",
		func(s verify.Stats) int64 { return s.Cached }),
	counter("introspections_total", "Tokens that the issuer was asked about.",
		func(s verify.Stats) int64 { return s.Introspected }),
	counter("events_total", "Revocations that were applied, doubles included.",
		func(s verify.Stats) int64 { return s.Events }),
	counter("acknowledgements_total", "Acknowledgements that the issuer took.",
		func(s verify.Stats) int64 { return s.Acks }),
	counter("connects_total", "Times the feed was opened.",
		func(s verify.Stats) int64 { return s.Connects }),
	counter("key_fetches_total", "Fetches of the issuer's keys.",
		func(s verify.Stats) int64 { return s.KeyFetches }),
	state("index_entries", "Entries of the revocation index.",
		func(s verify.Stats) float64 { return float64(s.Entries) }),
	state("last_seq", "The last event that was applied.",
		func(s verify.Stats) float64 { return float64(s.Seq) }),
	state("staleness_seconds", "How old the knowledge of revocations is; 1e9 and more before the first contact.",
		func(s verify.Stats) float64 { return s.Staleness.Seconds() }),
	state("clock_offset_seconds", "What the issuer's clock is ahead of this machine's.",
		func(s verify.Stats) float64 { return s.ClockOffset.Seconds() }),
}

func (c verifierStats) Describe(out chan<- *prometheus.Desc) {
	out <- tokensDesc
	for _, d := range statDescs {
		out <- d.desc
	}
}

func (c verifierStats) Collect(out chan<- prometheus.Metric) {
	s := c.v.Stats()
	for _, r := range []struct {
		result string
		n      int64
	}{
		{"verified", s.Verified}, {"refused", s.Refused}, {"expired", s.Expired}, {"revoked", s.Revoked}, {"stale", s.Stale},
	} {
		out <- prometheus.MustNewConstMetric(tokensDesc, prometheus.CounterValue, float64(r.n), r.result)
	}
	for _, d := range statDescs {
		out <- prometheus.MustNewConstMetric(d.desc, d.kind, d.value(s))
	}
}
