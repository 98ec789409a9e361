package admin

import (
	"sync"
	"time"

	"curfew/internal/pages"
	"curfew/internal/web"
	"curfew/models"
)

// What the overview draws: how much of what this node did in the last hours. It comes from the node's own counters, so
// it costs the database nothing, whatever the number of devices; and it begins when the node does.

const (
	historyStep  = 10 * time.Minute
	historySteps = 36
	// historyEvery is how often the counters are read. A number belongs to the step in which it is seen.
	historyEvery = time.Minute
)

// chartSeries are the charts, and in each its series. The counters come in this order.
var chartSeries = []struct {
	code   string
	series []string
}{
	{"sign_ins", []string{"sign_ins", "again"}},
	{"refused", web.RefusedReasons},
	{"refreshes", []string{"refreshes", "retries", "replays"}},
	{"sign_outs", []string{"device", "user", "client", "everyone"}},
}

// history holds how much the counters grew in each step.
type history struct {
	store   *models.Store
	metrics *web.Metrics
	version string
	started time.Time
	stop    chan struct{}
	done    chan struct{}

	mu    sync.Mutex
	last  []int64           // the counters when they were read before
	steps map[int64][]int64 // by the number of the step
}

func newHistory(store *models.Store, metrics *web.Metrics, version string) *history {
	h := &history{
		store: store, metrics: metrics, version: version, started: time.Now(), steps: map[int64][]int64{},
		stop: make(chan struct{}), done: make(chan struct{}),
	}
	h.last = h.counters()
	go h.run()
	return h
}

func (h *history) run() {
	defer close(h.done)
	tick := time.NewTicker(historyEvery)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			h.read(time.Now())
		case <-h.stop:
			return
		}
	}
}

func (h *history) close() {
	close(h.stop)
	<-h.done
}

func (h *history) counters() []int64 {
	st := &h.store.Stats
	signIns, again := st.SignIns.Load(), st.SignInsAgain.Load()
	list := append([]int64{max(0, signIns-again), again}, h.metrics.Refused()...)
	list = append(list, st.Refreshes.Load(), st.Retries.Load(), st.Replays.Load())
	for i := range st.Revocations {
		list = append(list, st.Revocations[i].Load())
	}
	return list
}

// read adds what was counted since the last time to the step of now.
func (h *history) read(now time.Time) {
	h.mu.Lock()
	defer h.mu.Unlock()
	current, step := h.counters(), now.UnixNano()/int64(historyStep)
	if h.steps[step] == nil {
		h.steps[step] = make([]int64, len(current))
	}
	for i, n := range current {
		h.steps[step][i] += max(0, n-h.last[i])
	}
	h.last = current
	for old := range h.steps {
		if old <= step-historySteps {
			delete(h.steps, old)
		}
	}
}

// charts are the last hours as they are now.
func (h *history) charts() (list []pages.Chart) {
	now := time.Now()
	h.read(now)
	h.mu.Lock()
	defer h.mu.Unlock()
	first := now.UnixNano()/int64(historyStep) - historySteps + 1
	at := 0
	for _, c := range chartSeries {
		chart := pages.Chart{Code: c.code, Start: time.Unix(0, first*int64(historyStep)), Step: historyStep}
		for _, code := range c.series {
			values := make([]int64, historySteps)
			for i := range values {
				if step := h.steps[first+int64(i)]; step != nil {
					values[i] = step[at]
				}
			}
			chart.Series = append(chart.Series, pages.Series{Code: code, Values: values})
			at++
		}
		list = append(list, chart)
	}
	return list
}

func (h *history) node() pages.Node {
	return pages.Node{Name: models.HostName(), Version: h.version, Started: h.started, Seen: time.Now(), Current: true}
}
