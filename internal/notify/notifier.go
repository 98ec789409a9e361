package notify

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/uuid"

	"curfew/models"
)

const (
	// takeEvery is how often a node says that it lives, and looks for receivers that nobody tells.
	takeEvery = 2 * time.Second
	// loseAfter is how long a node that cannot say so goes on: others take its receivers after six seconds.
	loseAfter = 5 * time.Second
	// moveEvery is how often the positions of those that had nothing to be told are written.
	moveEvery = time.Second
	// readRest is the least time between two readings of a log.
	readRest = 20 * time.Millisecond
	// tailSize is how many of the newest events a node keeps for those of its receivers that are not far behind.
	tailSize = 2000
	// stopTimeout is how long a request that is under way may go on when the node stops.
	stopTimeout = 2 * time.Second
)

// Config is what a [Notifier] needs.
type Config struct {
	Store   *models.Store
	Issuer  string
	Client  *Client
	Logger  *slog.Logger
	Version string // of the program, for people
}

// Stats counts what a node has sent since it started.
type Stats struct {
	Told, Failed, Dropped [2]atomic.Int64 // by kind, in the order of [Kinds]; failed tries, not notices
}

// Kinds are those of the receivers.
var Kinds = [2]string{models.ReceiverWebhook, models.ReceiverLogout}

// Notifier tells the receivers that this node has taken. It is safe for concurrent use.
type Notifier struct {
	store  *models.Store
	issuer string
	client *Client
	log    *slog.Logger
	node   string // names this run of this process

	ctx   context.Context // of the following; ends first
	stop  context.CancelFunc
	tails [2]*tail

	requests    context.Context // of what is under way; ends a while later
	endRequests context.CancelFunc
	done        sync.WaitGroup
	turn        turns
	database    chan struct{} // a place for each statement of the workers: the connections are for those who sign in

	mu      sync.Mutex
	workers map[uuid.UUID]*worker

	Stats Stats
}

// New makes a notifier that does not follow the logs: it sends what [Notifier.Test] is asked for.
func New(cfg Config) *Notifier {
	n := &Notifier{
		store: cfg.Store, issuer: cfg.Issuer, client: cfg.Client, log: cfg.Logger,
		node: models.NewNodeRun(models.HostName(), cfg.Version), workers: map[uuid.UUID]*worker{}, turn: newTurns(),
		database: make(chan struct{}, statementsAtATime),
	}
	n.ctx, n.stop = context.WithCancel(context.Background())
	n.requests, n.endRequests = context.WithCancel(context.Background())
	for i, kind := range Kinds {
		n.tails[i] = &tail{kind: kind, moved: make(chan struct{}), nudge: make(chan struct{}, 1)}
	}
	return n
}

// Start makes one that tells the receivers.
func Start(cfg Config) *Notifier {
	n := New(cfg)
	n.done.Go(n.keepReceivers)
	for _, t := range n.tails {
		n.done.Go(func() { n.follow(t) })
		n.done.Go(func() { n.moveIdle(t) })
	}
	return n
}

// Close lets the requests that are under way finish, for a bounded time, and leaves the receivers to other nodes.
func (n *Notifier) Close() {
	n.stop()
	timer := time.AfterFunc(stopTimeout, n.endRequests)
	n.done.Wait()
	timer.Stop()
	n.endRequests()
	if err := n.store.LeaveReceivers(context.Background(), n.node); err != nil {
		n.log.Warn("receivers could not be left to other nodes; they take them in a few seconds", "error", err)
	}
	n.client.Close()
}

// Node is what this run is called in [models.Store.ListNodes].
func (n *Notifier) Node() string { return n.node }

// Receivers is how many this node tells, and how many of them do not answer.
func (n *Notifier) Receivers() (all, failing int) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, w := range n.workers {
		if w.failing.Load() {
			failing++
		}
	}
	return len(n.workers), failing
}

// Behind is how long ago the oldest event happened that a receiver of this node has still to be told of; 0: none.
func (n *Notifier) Behind() (longest time.Duration) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, w := range n.workers {
		if at := models.Micros(w.telling.Load()); at != 0 {
			longest = max(longest, w.tail.clock().Sub(at))
		}
	}
	return longest
}

// kindIndex is a kind's place in [Kinds].
func kindIndex(kind string) int { return slices.Index(Kinds[:], kind) }

// keepReceivers takes receivers, starts a worker for each, and ends those of receivers that are gone or another node's.
func (n *Notifier) keepReceivers() {
	failing := false
	for last := time.Now(); n.ctx.Err() == nil; {
		began := time.Now()
		list, err := n.store.TakeReceivers(n.ctx, n.node)
		switch {
		case err == nil:
			last, failing = began, false
			n.setWorkers(list)
		case n.ctx.Err() != nil:
			return
		default:
			if !failing {
				n.log.Warn("receivers cannot be looked up; it is tried again", "error", err)
			}
			failing = true
			if time.Since(last) > loseAfter {
				n.setWorkers(nil)
			}
		}
		select {
		case <-n.ctx.Done():
		case <-time.After(takeEvery):
		}
	}
	n.setWorkers(nil)
}

// setWorkers: one worker for each receiver. One whose registration has changed goes on with the new one.
func (n *Notifier) setWorkers(list []*models.Receiver) {
	n.mu.Lock()
	defer n.mu.Unlock()
	mine := map[uuid.UUID]bool{}
	for _, r := range list {
		mine[r.ID] = true
		w := n.workers[r.ID]
		if w != nil && w.ended.Load() { // it lost its receiver, which came back
			w = nil
		}
		if w == nil {
			ctx, stop := context.WithCancel(n.ctx)
			w = &worker{n: n, receiver: *r, ctx: ctx, stop: stop, tail: n.tails[kindIndex(r.Kind)]}
			n.workers[r.ID] = w
			w.registered.Store(r)
			n.done.Go(w.run)
			select {
			case w.tail.nudge <- struct{}{}:
			default:
			}
			continue
		}
		w.registered.Store(r)
	}
	for id, w := range n.workers {
		if !mine[id] {
			w.stop()
			delete(n.workers, id)
		}
	}
}

// tail is the newest events of one log, read once for all workers.
type tail struct {
	kind string

	mu     sync.Mutex
	events []models.OutboxEvent
	from   models.Position // events has all after here
	end    models.Position // and up to here, which is the end
	begun  bool            // there was a first reading
	now    models.Micros   // the database's clock at the last one
	readAt time.Time
	moved  chan struct{} // closed when there is more
	nudge  chan struct{} // somebody wants it to begin
}

// after returns the events after a position, and where the tail begins. ok is false if it does not go back that far.
func (t *tail) after(p models.Position) (
	events []models.OutboxEvent, from models.Position, moved <-chan struct{}, ok bool,
) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.begun || p.Before(t.from) {
		if t.begun {
			from = t.from
		}
		return nil, from, t.moved, false
	}
	i, found := slices.BinarySearchFunc(t.events, p, func(e models.OutboxEvent, p models.Position) int {
		return cmp.Or(cmp.Compare(e.At.TX, p.TX), cmp.Compare(e.At.ID, p.ID))
	})
	if found {
		i++
	}
	return t.events[i:len(t.events):len(t.events)], t.from, t.moved, true
}

// clock is the database's, as far as it is known here.
func (t *tail) clock() models.Micros {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.readAt.IsZero() {
		return models.Micros(time.Now().UnixMicro())
	}
	return t.now.Add(time.Since(t.readAt))
}

func (t *tail) append(o models.Outbox) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.now, t.readAt = o.Now, time.Now()
	if len(o.Events) > 0 {
		t.events = append(t.events, o.Events...)
		t.end = o.Events[len(o.Events)-1].At
		if extra := len(t.events) - tailSize; extra > 0 {
			t.from = t.events[extra-1].At
			t.events = slices.Clone(t.events[extra:])
		}
	}
	if len(o.Events) > 0 || !t.begun {
		t.begun = true
		close(t.moved)
		t.moved = make(chan struct{})
	}
}

// begin sets where the tail begins.
func (t *tail) begin(p models.Position) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.events, t.from, t.end, t.begun = nil, p, p, false
}

// follow reads a log whenever it has moved, as long as this node tells somebody who follows it.
func (n *Notifier) follow(t *tail) {
	failing, began := false, false
	for n.ctx.Err() == nil {
		moved, rest := n.store.OutboxMoved(), readRest
		switch {
		case !n.tells(t.kind):
			began = false
		case !began:
			end, err := n.store.OutboxEnd(n.ctx, t.kind)
			if err == nil {
				t.begin(end)
				began = true
				continue
			}
			failing = n.warn(failing, err)
			rest = time.Second
		default:
			o, err := n.store.ReadOutbox(n.ctx, t.kind, t.end, false)
			if err != nil {
				failing = n.warn(failing, err)
				rest = time.Second
				break
			}
			if failing = false; o.Shorter {
				n.log.Warn("a log became shorter; receivers are told from where this database says they are", "log", t.kind)
				n.setWorkers(nil)
				began = false
				break
			}
			t.append(o)
			if !o.Whole {
				continue
			}
			if o.Unready {
				moved = nil // an older transaction is open: look again soon
			}
		}
		select {
		case <-n.ctx.Done():
		case <-time.After(rest):
		}
		if moved == nil {
			continue
		}
		select {
		case <-n.ctx.Done():
		case <-moved:
		case <-t.nudge:
		}
	}
}

func (n *Notifier) warn(before bool, err error) bool {
	if !before && n.ctx.Err() == nil {
		n.log.Warn("a log cannot be read; receivers are told later", "error", err)
	}
	return true
}

func (n *Notifier) tells(kind string) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, w := range n.workers {
		if w.tail.kind == kind {
			return true
		}
	}
	return false
}

// moveIdle writes the positions of workers that have passed events which do not concern their receivers, all of them by
// one statement.
func (n *Notifier) moveIdle(t *tail) {
	for n.ctx.Err() == nil {
		select {
		case <-n.ctx.Done():
			return
		case <-time.After(moveEvery):
		}
		n.mu.Lock()
		at := map[models.Position][]*worker{}
		for _, w := range n.workers {
			if p := w.passed.Load(); w.tail == t && p != nil {
				at[*p] = append(at[*p], w)
			}
		}
		n.mu.Unlock()
		for p, workers := range at {
			var ids []uuid.UUID
			for _, w := range workers {
				ids = append(ids, w.receiver.ID)
			}
			err := n.store.MoveReceivers(n.ctx, n.node, ids, p)
			if err != nil && !errors.Is(err, context.Canceled) {
				continue // the next time
			}
			for _, w := range workers {
				if q := w.passed.Load(); q != nil && *q == p {
					w.passed.CompareAndSwap(q, nil)
				}
			}
		}
	}
}

// statementsAtATime is how many statements of workers run side by side.
const statementsAtATime = 4

// statement runs one when it is its turn.
func (n *Notifier) statement(run func() error) error {
	n.database <- struct{}{}
	defer func() { <-n.database }()
	return run()
}

// turns lets few requests begin at a time, so that many receivers take no CPU from those who sign in; but who has not
// answered after a moment keeps nobody.
type turns chan struct{}

const (
	turnsAtATime = 16
	turnLasts    = 50 * time.Millisecond
)

func newTurns() turns { return make(turns, turnsAtATime) }

// take waits for a turn and returns what ends it, which happens by itself soon.
func (t turns) take(ctx context.Context) (end func()) {
	select {
	case t <- struct{}{}:
	case <-ctx.Done():
		return func() {}
	}
	give := sync.OnceFunc(func() { <-t })
	timer := time.AfterFunc(turnLasts, give)
	return func() {
		timer.Stop()
		give()
	}
}
