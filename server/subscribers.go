package server

import (
	"context"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"time"

	"curfew/models"
)

const (
	leaseEvery = models.SubscriberLease / 3
	// leasesAtOnce is how many are renewed in one transaction.
	leasesAtOnce = 100
	// unsubscribeTimeout bounds the note that a subscriber has gone: a stop waits for it.
	unsubscribeTimeout = 5 * time.Second
)

// subscribers are the named followers with open streams on this node. While it has one, the database says that it is
// live, so that a receipt names it.
type subscribers struct {
	store *models.Store
	log   *slog.Logger

	mu     sync.Mutex
	leases map[models.SubscriberID]*lease
}

// lease is a subscriber's. It is locked while it is written, so that what is written last is what is.
type lease struct {
	sync.Mutex
	models.Lease
	streams int // under the mutex of the subscribers
}

func newSubscribers(store *models.Store, log *slog.Logger) *subscribers {
	return &subscribers{store: store, log: log, leases: map[models.SubscriberID]*lease{}}
}

// join notes one more stream of a subscriber. If it cannot be written, leave is due all the same.
func (s *subscribers) join(ctx context.Context, id models.SubscriberID) error {
	s.mu.Lock()
	l := s.leases[id]
	if l == nil {
		l = &lease{Lease: models.Lease{SubscriberID: id}}
		s.leases[id] = l
	}
	l.streams++
	s.mu.Unlock()
	l.Lock()
	defer l.Unlock()
	return s.store.Subscribe(ctx, &l.Lease)
}

// leave notes one stream less. With the last one the lease ends.
func (s *subscribers) leave(id models.SubscriberID) {
	s.mu.Lock()
	l := s.leases[id]
	l.streams--
	s.mu.Unlock()
	l.Lock()
	defer l.Unlock()
	if !s.gone(l) {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), unsubscribeTimeout)
	defer cancel()
	if err := s.store.Unsubscribe(ctx, &l.Lease); err != nil {
		s.log.Warn("a subscriber's end could not be noted; it counts as live for a while", "error", err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if l.streams == 0 && s.leases[id] == l {
		delete(s.leases, id)
	}
}

// gone tells whether nobody streams under a lease any more.
func (s *subscribers) gone(l *lease) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return l.streams == 0
}

// renew keeps the subscribers live whose streams are open here, until ctx ends.
func (s *subscribers) renew(ctx context.Context) {
	tick := time.NewTicker(leaseEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		s.mu.Lock()
		all := slices.Collect(maps.Values(s.leases))
		s.mu.Unlock()
		for chunk := range slices.Chunk(all, leasesAtOnce) {
			if err := s.renewSome(ctx, chunk); err != nil && ctx.Err() == nil {
				s.log.Warn("the subscribers that are live could not be noted", "error", err)
				break
			}
		}
	}
}

func (s *subscribers) renewSome(ctx context.Context, leases []*lease) error {
	var open []*models.Lease
	for _, l := range leases {
		l.Lock()
		defer l.Unlock()
		if !s.gone(l) {
			open = append(open, &l.Lease)
		}
	}
	return s.store.Subscribe(ctx, open...)
}
