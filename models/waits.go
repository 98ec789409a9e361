package models

import (
	"context"
	"fmt"
	"sync"
	"time"

	"gorm.io/gorm"
)

// Waiting for receipts: however many wait on a node, the acknowledgements are read once for all of them.

const (
	// ackPoll is how often those who wait look for acknowledgements that other nodes took.
	ackPoll = 25 * time.Millisecond
	// ackPause lies between two readings at least, and ackRest times as long as one took: others come first.
	ackPause = 2 * time.Millisecond
	ackRest  = 3
)

// callers counts who waits.
type callers struct {
	mu      sync.Mutex
	waiting map[string]int
}

// EnterWait takes one of the places that a caller, a user's or a client's id, has for waiting on this node. It returns
// [*ThrottledError] when all are taken: ask before anything is signed out.
func (s *Store) EnterWait(caller string) (leave func(), err error) {
	w, most := &s.waits, s.cfg.Limits.Waits
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.waiting[caller] >= most {
		return nil, &ThrottledError{
			RetryAfter: time.Second, What: fmt.Sprintf("waits for receipts at a time: %d are allowed to one caller", most),
		}
	}
	if w.waiting == nil {
		w.waiting = map[string]int{}
	}
	w.waiting[caller]++
	return func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		if w.waiting[caller]--; w.waiting[caller] == 0 {
			delete(w.waiting, caller)
		}
	}, nil
}

// receiptBoard is where those who wait for an event to be applied stand, for the one who reads.
type receiptBoard struct {
	mu      sync.Mutex
	waiting map[*receiptWait]struct{}
	reading bool // somebody does
	came    signal
}

type receiptWait struct {
	seq     int64
	event   Micros        // when it was made
	settled chan struct{} // closed when nobody who is listening has yet to apply it
}

// WaitApplied returns the receipt of an event once every live subscriber has applied it, or when ctx is done.
func (s *Store) WaitApplied(ctx context.Context, seq int64) (*Receipt, error) {
	asked := context.WithoutCancel(ctx)
	w := &receiptWait{seq: seq, settled: make(chan struct{})}
	if err := s.read(asked, func(tx *gorm.DB) error {
		return s.row(tx, `SELECT created_at FROM revocations WHERE seq = @seq`, args{"seq": seq}, &w.event)
	}); err != nil {
		return nil, err
	}
	s.watch(w)
	select {
	case <-w.settled:
	case <-ctx.Done():
		s.receipts.remove(w)
	}
	// A receipt names every resource server. Those who ask for one at the same time must not take every connection.
	s.receiptReads <- struct{}{}
	defer func() { <-s.receiptReads }()
	return s.Receipt(asked, seq)
}

// watch puts a wait on the board, and begins to read if nobody does.
func (s *Store) watch(w *receiptWait) {
	b := &s.receipts
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.waiting == nil {
		b.waiting = map[*receiptWait]struct{}{}
	}
	b.waiting[w] = struct{}{}
	if !b.reading {
		b.reading = true
		s.background.Go(s.readForAll)
	}
	b.came.wake()
}

func (b *receiptBoard) remove(w *receiptWait) {
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.waiting, w)
}

// newest is the highest event that somebody waits for. When nobody waits the reader ends.
func (b *receiptBoard) newest() (seq int64, some bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for w := range b.waiting {
		seq = max(seq, w.seq)
	}
	b.reading = len(b.waiting) > 0
	return seq, b.reading
}

// settle ends the waits that none of those who are behind concerns.
func (b *receiptBoard) settle(read int64, behind []Subscriber) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for w := range b.waiting {
		if w.seq > read { // it came since
			continue
		}
		open := false
		for i := range behind {
			open = open || behind[i].AckedSeq < w.seq && behind[i].CreatedAt <= w.event.Add(Leeway)
		}
		if !open {
			close(w.settled)
			delete(b.waiting, w)
		}
	}
}

// readForAll reads, for as long as somebody waits, who is live and behind.
func (s *Store) readForAll() {
	for {
		moved, came := s.acknowledged.next(), s.receipts.came.next()
		seq, some := s.receipts.newest()
		if !some {
			return
		}
		start := time.Now()
		var behind []Subscriber
		err := s.read(context.Background(), func(tx *gorm.DB) error {
			s.Stats.ReceiptReadings.Add(1)
			return s.raw(tx, `SELECT * FROM subscribers WHERE acked_seq < @seq AND live_until > {now}`,
				args{"seq": seq}).Scan(&behind).Error
		})
		if err == nil {
			s.receipts.settle(seq, behind)
		} else {
			s.log.Warn("the acknowledgements that somebody waits for could not be read", "error", err)
		}
		time.Sleep(max(ackPause, ackRest*time.Since(start)))
		poll := time.NewTimer(ackPoll)
		select {
		case <-moved:
		case <-came:
		case <-poll.C:
		}
		poll.Stop()
	}
}
