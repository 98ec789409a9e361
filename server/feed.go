package server

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"

	"curfew/internal/revlog"
	"curfew/models"
)

// feed is the revocation feed of this node: its streams, each of which reads the node's copy of the log.
type feed struct {
	revocations *revlog.Log
	subscribers *subscribers
	log         *slog.Logger

	ctx  context.Context // ends the streams
	stop context.CancelFunc
	mu   sync.Mutex     // orders enter and close
	done sync.WaitGroup // streams, and the renewal of the leases
	open atomic.Int64   // streams
}

func newFeed(store *models.Store, log *slog.Logger) *feed {
	ctx, stop := context.WithCancel(context.Background())
	f := &feed{
		revocations: revlog.Follow(store, log), subscribers: newSubscribers(store, log), log: log, ctx: ctx, stop: stop,
	}
	f.done.Go(func() { f.subscribers.renew(ctx) })
	return f
}

// close ends every stream and waits for them: an http.Server does not know a stream's connection.
func (f *feed) close() {
	f.mu.Lock()
	f.stop()
	f.mu.Unlock()
	f.revocations.Close() // before the streams have ended: one that begins may wait for a reading
	f.done.Wait()
}

// enter counts a stream in, unless the feed is closing: from then on close waits for its leave. A named subscriber is
// live from then on.
func (f *feed) enter(ctx context.Context, id models.SubscriberID) error {
	f.mu.Lock()
	if f.ctx.Err() != nil {
		f.mu.Unlock()
		return fmt.Errorf("%w: the node is stopping", models.ErrUnavailable)
	}
	f.done.Add(1)
	f.mu.Unlock()
	f.open.Add(1)
	if id.Name == "" {
		return nil
	}
	err := f.subscribers.join(ctx, id)
	if err != nil {
		f.leave(id)
	}
	return err
}

// leave undoes enter.
func (f *feed) leave(id models.SubscriberID) {
	defer f.done.Done()
	f.open.Add(-1)
	if id.Name != "" {
		f.subscribers.leave(id)
	}
}
