package revlog

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"curfew/internal/view"
	"curfew/models"
)

const (
	// freshFor is how old the last reading may be for the copy to count as all that there is.
	freshFor = 3 * time.Second
	// retryEvery is the pause after a reading that failed.
	retryEvery = 250 * time.Millisecond
	// pruneEvery is how often events that do not matter any more are looked for.
	pruneEvery = time.Minute
)

// Event is an event of the log. It is shared by all readers, which only read it.
type Event struct {
	Seq       int64
	Level     models.Level
	Subject   string // empty for everyone
	ValidFrom models.Micros
	ExpiresAt models.Micros
	JSON      []byte // [view.RevocationEvent]
}

// Ends tells whether the event ends a token, by the one rule.
func (e *Event) Ends(t *models.AccessToken) bool {
	if t.IssuedUS > int64(e.ValidFrom) {
		return false
	}
	switch e.Level {
	case models.LevelDevice:
		return e.Subject == t.Claims.DeviceID
	case models.LevelUser:
		return e.Subject == t.Subject
	case models.LevelClient:
		return e.Subject == t.ClientID
	}
	return e.Level == models.LevelEveryone
}

func newEvent(r *models.Revocation) Event {
	text, err := json.Marshal(view.NewRevocationEvent(r))
	if err != nil {
		panic(err) // strings and numbers
	}
	return Event{
		Seq: r.Seq, Level: r.Level, Subject: r.Subject, ValidFrom: r.ValidFrom, ExpiresAt: r.ExpiresAt, JSON: text,
	}
}

// Log is the copy. It is safe for concurrent use.
type Log struct {
	store *models.Store
	log   *slog.Logger
	ctx   context.Context
	stop  context.CancelFunc
	done  sync.WaitGroup

	mu     sync.RWMutex
	events []Event       // in the order of their numbers; only appended to or replaced, so a slice of it stays valid
	seq    int64         // everything up to here has been read
	now    models.Micros // the database's clock at the last reading
	readAt time.Time     // when that was, here; zero until the first reading
	moved  chan struct{} // closed when there is more
	whole  time.Time     // when the last reading to the log's end began: all that was committed before is here
	read   chan struct{} // closed after such a reading

	nudge chan struct{} // asks for a reading
}

// Follow starts to read the log.
func Follow(store *models.Store, log *slog.Logger) *Log {
	ctx, stop := context.WithCancel(context.Background())
	l := &Log{
		store: store, log: log, ctx: ctx, stop: stop,
		moved: make(chan struct{}), read: make(chan struct{}), nudge: make(chan struct{}, 1),
	}
	l.done.Go(l.follow)
	return l
}

// Close stops reading. What has been read stays readable.
func (l *Log) Close() {
	l.stop()
	l.done.Wait()
}

// After returns the events after a sequence number, up to where that is everything, and a channel that is closed when
// there is more. A reader that knows of a later number than this database has followed one that is gone, restored or
// failed over: it gets everything.
func (l *Log) After(seq int64) (events []Event, upTo int64, moved <-chan struct{}) {
	l.mu.RLock()
	defer l.mu.RUnlock()
	if seq > l.seq {
		seq = 0
	}
	i, _ := slices.BinarySearchFunc(l.events, seq+1, func(e Event, seq int64) int { return cmp.Compare(e.Seq, seq) })
	return l.events[i:len(l.events):len(l.events)], l.seq, l.moved
}

// Now is the database's clock, by which tokens expire. fresh says that the log was read a moment ago: what is in the
// copy is all that there is.
func (l *Log) Now() (now time.Time, fresh bool) {
	l.mu.RLock()
	defer l.mu.RUnlock()
	if l.readAt.IsZero() {
		return time.Now(), false
	}
	age := time.Since(l.readAt)
	return l.now.Time().Add(age), age <= freshFor
}

// CatchUp waits for a reading of the log that began after the call. It returns [models.ErrUnavailable] if there is none
// in time.
func (l *Log) CatchUp(ctx context.Context) error {
	asked, late := time.Now(), time.After(freshFor)
	for {
		l.mu.RLock()
		known, read := l.whole.After(asked), l.read
		l.mu.RUnlock()
		if known {
			return nil
		}
		select {
		case l.nudge <- struct{}{}:
		default:
		}
		select {
		case <-read:
		case <-ctx.Done():
			return ctx.Err()
		case <-l.ctx.Done():
			return fmt.Errorf("%w: the node is stopping", models.ErrUnavailable)
		case <-late:
			return fmt.Errorf("%w: the revocation log could not be read", models.ErrUnavailable)
		}
	}
}

// follow reads the log whenever it has moved.
func (l *Log) follow() {
	failing := false
	for seq, pruned := int64(0), time.Now(); l.ctx.Err() == nil; {
		moved, began := l.store.LogMoved(), time.Now()
		list, at, err := l.store.Revocations(l.ctx, seq)
		if err != nil {
			if !failing && l.ctx.Err() == nil {
				l.log.Warn("the revocation log cannot be read; heartbeats are withheld", "error", err)
			}
			failing = true
			select {
			case <-l.ctx.Done():
			case <-time.After(retryEvery):
			}
			continue
		}
		failing = false
		if at.Seq < seq { // a database that lost its end, restored or promoted: begin again
			l.log.Warn("the revocation log became shorter; it is read anew", "had", seq, "has", at.Seq)
			seq = 0
			l.clear()
			continue
		}
		seq = at.Seq
		l.append(list, at)
		if time.Since(pruned) > pruneEvery {
			pruned = time.Now()
			l.prune(at.Now)
		}
		if !at.Whole {
			continue
		}
		l.complete(began)
		select {
		case <-l.ctx.Done():
		case <-moved:
		case <-l.nudge:
		}
	}
}

// append takes what was read. Only a reading to the log's end says how old the copy is.
func (l *Log) append(list []*models.Revocation, at models.LogPosition) {
	more := make([]Event, len(list))
	for i, r := range list {
		more[i] = newEvent(r)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	grown := at.Seq > l.seq
	l.events = append(l.events, more...)
	l.seq = at.Seq
	if at.Whole {
		l.now, l.readAt = at.Now, time.Now()
	}
	if grown {
		l.wake()
	}
}

// complete tells those who wait for it that everything committed before began is here.
func (l *Log) complete(began time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.whole = began
	close(l.read)
	l.read = make(chan struct{})
}

func (l *Log) clear() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.events, l.seq, l.readAt = nil, 0, time.Time{}
	l.wake()
}

// prune forgets the events whose tokens have all expired.
func (l *Log) prune(now models.Micros) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.events) == 0 || l.events[0].ExpiresAt > now {
		return
	}
	var matter []Event
	for _, e := range l.events {
		if e.ExpiresAt > now {
			matter = append(matter, e)
		}
	}
	l.events = matter
}

// wake is called with mu held.
func (l *Log) wake() {
	close(l.moved)
	l.moved = make(chan struct{})
}
