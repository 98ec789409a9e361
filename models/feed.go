package models

import (
	"context"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"gorm.io/gorm"
)

const (
	notifyChannel = "curfew_revocations"
	// feedPoll is how long an event of another node stays unknown here when no notification comes through.
	feedPoll = time.Second
	// listenQuiet is how long a connection may say nothing before it is asked whether it is still there.
	listenQuiet = 15 * time.Second
	// feedBatch bounds one read of the log.
	feedBatch = 10_000
)

// signal wakes all who wait for something to change.
type signal struct {
	mu      sync.Mutex
	waiting chan struct{}
}

// next is closed at the next wake.
func (h *signal) next() <-chan struct{} {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.waiting == nil {
		h.waiting = make(chan struct{})
	}
	return h.waiting
}

func (h *signal) wake() {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.waiting != nil {
		close(h.waiting)
		h.waiting = nil
	}
}

// LogPosition is where the log stands.
type LogPosition struct {
	Seq   int64  // everything up to here has been read, or does not matter any more
	Now   Micros // the database's clock
	Whole bool   // that is the end of the log
}

// Revocations returns the events after seq that still matter, in order, at most some thousands; and up to where that is
// everything. Sequence numbers are handed out under the realm's lock, which is held to the commit, so an event that
// is missing here has a higher number.
func (s *Store) Revocations(ctx context.Context, seq int64) (list []*Revocation, at LogPosition, err error) {
	err = s.read(ctx, func(tx *gorm.DB) error {
		// One statement, one snapshot: the position and the rows fit.
		var rows []struct {
			Revocation
			LastSeq int64
			Now     Micros
		}
		if err := s.raw(tx, `SELECT v.*, r.last_seq, {now} AS now FROM realm r
			LEFT JOIN (SELECT * FROM revocations WHERE seq > @seq AND expires_at > {now} ORDER BY seq LIMIT @limit) v ON true
			ORDER BY v.seq`, args{"seq": seq, "limit": feedBatch}).Scan(&rows).Error; err != nil {
			return err
		}
		for i := range rows {
			at = LogPosition{Seq: rows[i].LastSeq, Now: rows[i].Now}
			if rows[i].Seq != 0 {
				list = append(list, &rows[i].Revocation)
			}
		}
		return nil
	})
	if at.Whole = len(list) < feedBatch; !at.Whole {
		at.Seq = list[len(list)-1].Seq
	}
	return list, at, err
}

// LogMoved returns a channel that is closed when the log may have become longer, and soon in any case.
func (s *Store) LogMoved() <-chan struct{} { return s.logGrew.next() }

// OutboxMoved returns a channel that is closed when one of the two logs may have become longer, and soon in any case.
func (s *Store) OutboxMoved() <-chan struct{} { return s.committed.next() }

func (s *Store) wakeFollowers() {
	s.logGrew.wake()
	s.committed.wake()
}

// followLog wakes the waiters when another node has appended, and every feedPoll, whatever happens.
func (s *Store) followLog(ctx context.Context) {
	tick := time.NewTicker(feedPoll)
	defer tick.Stop()
	if s.d.postgres {
		s.background.Go(func() { s.listen(ctx) })
	}
	for {
		select {
		case <-ctx.Done():
			s.wakeFollowers()
			return
		case <-tick.C:
			s.wakeFollowers()
		}
	}
}

// listen wakes the waiters when another node says that it has appended, and connects again when the connection breaks.
func (s *Store) listen(ctx context.Context) {
	for failures := 0; ctx.Err() == nil; failures++ {
		listening, err := s.listenOnce(ctx)
		if ctx.Err() != nil {
			return
		}
		if listening {
			failures = 0
		}
		if failures == 0 {
			s.log.Warn("notifications of other nodes are interrupted; the log is polled until they are back",
				"error", err, "poll", feedPoll)
		}
		select {
		case <-ctx.Done():
		case <-time.After(min(time.Second<<min(failures, 3), 5*time.Second)):
		}
	}
}

// listenOnce keeps one connection of its own for notifications, never a pooled one, until it breaks. It tells whether
// there was one.
func (s *Store) listenOnce(ctx context.Context) (listening bool, err error) {
	connecting, cancel := context.WithTimeout(ctx, queryTimeout)
	defer cancel()
	conn, err := pgx.ConnectConfig(connecting, s.d.pgConfig.Copy())
	if err != nil {
		return false, err
	}
	defer conn.Close(context.WithoutCancel(connecting))
	if _, err := conn.Exec(connecting, "LISTEN "+notifyChannel); err != nil {
		return false, err
	}
	s.wakeFollowers() // what came before we listened
	for {
		// A connection that died without a word is noticed by asking it now and then.
		waiting, stop := context.WithTimeout(ctx, listenQuiet)
		_, err := conn.WaitForNotification(waiting)
		quiet := waiting.Err() != nil
		stop()
		switch {
		case err == nil:
			s.wakeFollowers()
		case ctx.Err() != nil || !quiet:
			return true, err
		default:
			pinging, stop := context.WithTimeout(ctx, queryTimeout)
			err := conn.Ping(pinging)
			stop()
			if err != nil {
				return true, err
			}
		}
	}
}
