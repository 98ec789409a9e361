package models

import (
	"context"
	"errors"
	"maps"
	"slices"
	"time"

	"gorm.io/gorm"
	"gorm.io/gorm/clause"
)

// ackRetention is how long the times of acknowledgements are kept; that there was one is known longer.
const ackRetention = time.Hour

// acknowledgement is a row that says when; the times are forgotten after ackRetention.
type acknowledgement struct {
	ClientID string `gorm:"primaryKey"`
	Name     string `gorm:"primaryKey"`
	Seq      int64  `gorm:"primaryKey;autoIncrement:false"`
	At       Micros
}

// Acknowledge notes that a subscriber has applied every event up to seq. It returns [ErrInvalid] for a number that no
// event has, and [ErrTooManySubscribers] for a new subscriber of a client that has as many as it may.
func (s *Store) Acknowledge(ctx context.Context, id SubscriberID, seq int64) error {
	if err := CheckSubscriberName(id.Name); err != nil {
		return err
	}
	newest := s.newestSeq.Load()
	if seq > newest {
		if err := s.read(ctx, func(tx *gorm.DB) error {
			return s.row(tx, `SELECT last_seq FROM realm`, nil, &newest)
		}); err != nil {
			return err
		}
		s.newestSeq.Store(newest) // only what is committed: a smaller value costs a look, no more
	}
	if seq < 0 || seq > newest {
		return invalid("seq %d: must be 0 to %d, the newest event's", seq, newest)
	}
	// What was applied stays applied, also when who says so has hung up.
	ack := acknowledgement{ClientID: id.ClientID, Name: id.Name, Seq: seq}
	refusal, err := s.acknowledgements.do(context.WithoutCancel(ctx), ack)
	return errors.Join(err, refusal)
}

// writeAcknowledgements writes those that have come while the ones before were being written, and says of each why it
// was not: its event is not known, since what this node knew may be of a database that has lost its end since; or its
// subscriber is one too many.
func (s *Store) writeAcknowledgements(ctx context.Context, list []acknowledgement) (refusal []error, err error) {
	var last int64
	var refused map[SubscriberID]bool
	var ids []SubscriberID
	err = s.write(ctx, func(tx *gorm.DB) error {
		var now Micros
		if err := s.row(tx, `SELECT {now}, last_seq FROM realm`, nil, &now, &last); err != nil {
			return err
		}
		newest := map[SubscriberID]int64{}
		for _, a := range list {
			if id := (SubscriberID{a.ClientID, a.Name}); a.Seq <= last {
				newest[id] = max(newest[id], a.Seq)
			}
		}
		ids = slices.SortedFunc(maps.Keys(newest), compareSubscribers)
		var err error
		if refused, err = s.newSubscribers(tx, ids); err != nil {
			return err
		}
		ids = slices.DeleteFunc(ids, func(id SubscriberID) bool { return refused[id] })
		for chunk := range slices.Chunk(ids, 500) {
			if err := insertAcknowledgements(tx, chunk, newest, now); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	for _, id := range ids {
		s.subscribersSeen.add(id)
	}
	s.newestSeq.Store(last)
	s.acknowledged.wake()
	return column(list, func(a acknowledgement) error {
		switch {
		case a.Seq > last:
			return invalid("seq %d: the log has lost it", a.Seq)
		case refused[SubscriberID{a.ClientID, a.Name}]:
			return s.tooManySubscribers()
		}
		return nil
	}), nil
}

func insertAcknowledgements(tx *gorm.DB, ids []SubscriberID, newest map[SubscriberID]int64, now Micros) error {
	subscribers := column(ids, func(id SubscriberID) Subscriber {
		return Subscriber{
			ClientID: id.ClientID, Name: id.Name, LiveUntil: now.Add(SubscriberLease),
			AckedSeq: newest[id], AckedAt: now, CreatedAt: now,
		}
	})
	times := column(ids, func(id SubscriberID) acknowledgement {
		return acknowledgement{id.ClientID, id.Name, newest[id], now}
	})
	later := func(column string) clause.Expr {
		return gorm.Expr("CASE WHEN excluded." + column + " > subscribers." + column +
			" THEN excluded." + column + " ELSE subscribers." + column + " END")
	}
	onConflict := clause.OnConflict{
		Columns: []clause.Column{{Name: "client_id"}, {Name: "name"}},
		DoUpdates: clause.Assignments(map[string]any{
			"live_until": later("live_until"), "acked_seq": later("acked_seq"), "acked_at": gorm.Expr("excluded.acked_at"),
		}),
	}
	if err := tx.Clauses(onConflict).Create(&subscribers).Error; err != nil {
		return err
	}
	return tx.Clauses(clause.OnConflict{DoNothing: true}).Create(&times).Error
}
