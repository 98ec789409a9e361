package models

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/google/uuid"
	"gorm.io/gorm"
)

// seenDevices collects which devices were seen otherwise than by a refresh, which writes it itself. It is written once
// a minute, and is not worth a failure.
type seenDevices struct {
	mu  sync.Mutex
	ids map[uuid.UUID]struct{}
}

const (
	seenEvery = time.Minute
	seenMax   = 50_000
)

// mark notes a device whose row says it was last seen longer than a minute ago.
func (b *seenDevices) mark(id uuid.UUID, last, now Micros) {
	if now.Sub(last) < seenEvery {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.ids == nil {
		b.ids = map[uuid.UUID]struct{}{}
	}
	if len(b.ids) < seenMax {
		b.ids[id] = struct{}{}
	}
}

func (b *seenDevices) take() []uuid.UUID {
	b.mu.Lock()
	defer b.mu.Unlock()
	ids := make([]uuid.UUID, 0, len(b.ids))
	for id := range b.ids {
		ids = append(ids, id)
	}
	b.ids = nil
	return ids
}

// writeSeenDevices runs until the store is closed, and writes once more then.
func (s *Store) writeSeenDevices(ctx context.Context) {
	tick := time.NewTicker(seenEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			s.writeSeen(context.WithoutCancel(ctx))
			return
		case <-tick.C:
			s.writeSeen(ctx)
		}
	}
}

func (s *Store) writeSeen(ctx context.Context) {
	for ids := range slices.Chunk(s.seen.take(), 500) {
		err := s.autocommit(ctx, func(tx *gorm.DB) error {
			now, err := s.now(tx)
			if err != nil {
				return err
			}
			// A row that somebody holds is left out: the others' refreshes would wait for it too.
			_, err = s.exec(tx, `UPDATE devices SET last_seen_at = @seen WHERE id IN (
				SELECT id FROM devices WHERE id {in ids} AND last_seen_at < @seen {skip locked})`,
				args{"seen": now, "ids": ids})
			return err
		})
		if err != nil {
			s.log.Warn("when devices were last seen could not be written", "devices", len(ids), "error", err)
			return
		}
	}
}
