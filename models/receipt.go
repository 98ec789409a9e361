package models

import (
	"cmp"
	"context"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"

	"gorm.io/gorm"
	"gorm.io/gorm/clause"
)

const (
	// SubscriberLease is how long a subscriber counts as live after its stream was last known to be open, and after its
	// last acknowledgement.
	SubscriberLease = 30 * time.Second
	// ackRetention is how long the times of acknowledgements are kept; that there was one is known longer.
	ackRetention = time.Hour
	// ackPoll is how often a waiting sign-out looks for acknowledgements that other nodes took.
	ackPoll = 25 * time.Millisecond
)

// SubscriberID names a resource server: a name under the client that it authenticates as.
type SubscriberID struct {
	ClientID string
	Name     string
}

// Subscriber is a resource server that follows the revocation feed.
type Subscriber struct {
	ClientID  string `gorm:"primaryKey"`
	Name      string `gorm:"primaryKey"`
	LiveUntil Micros // live while it lies ahead
	AckedSeq  int64  // it has applied everything up to here
	AckedAt   Micros
	CreatedAt Micros
	Live      bool `gorm:"->;-:migration"` // only in lists
}

var subscriberName = regexp.MustCompile(`^[A-Za-z0-9._-]{1,64}$`)

// CheckSubscriberName says what a subscriber's name takes.
func CheckSubscriberName(name string) error {
	if !subscriberName.MatchString(name) {
		return invalid("subscriber: it takes 1 to 64 letters, digits, dots, dashes and underscores")
	}
	return nil
}

// Lease is what one node knows of a subscriber whose stream is open there. Other nodes may have streams of it too.
type Lease struct {
	SubscriberID
	until  int64 // what this node has written last; 0 before the first time
	others int64 // what others had written before: to there it is live without this node
}

// Subscribe says that the streams of these subscribers are open, now and for [SubscriberLease].
func (s *Store) Subscribe(ctx context.Context, leases ...*Lease) error {
	leases = slices.SortedFunc(slices.Values(leases), func(a, b *Lease) int { return compareSubscribers(a.SubscriberID, b.SubscriberID) })
	written := make([]Lease, len(leases))
	err := s.write(ctx, func(tx *gorm.DB) error {
		for i, l := range leases {
			a := args{"client": l.ClientID, "name": l.Name, "lease": SubscriberLease.Microseconds()}
			written[i] = *l
			var before int64
			if err := s.row(tx, `INSERT INTO subscribers (client_id, name, live_until, acked_seq, acked_at, created_at)
				VALUES (@client, @name, 0, 0, 0, {now})
				ON CONFLICT (client_id, name) DO UPDATE SET live_until = subscribers.live_until RETURNING live_until`, a, &before); err != nil {
				return err
			}
			if before != l.until {
				written[i].others = before
			}
			// No two writers leave the same value: who ends a lease sees whether it is still the last one's.
			if err := s.row(tx, `UPDATE subscribers SET live_until = {greatest}(live_until + 1, {now} + @lease)
				WHERE client_id = @client AND name = @name RETURNING live_until`, a, &written[i].until); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	for i, l := range leases {
		*l = written[i]
	}
	return nil
}

// Unsubscribe says that a subscriber's last stream on this node has ended. It stays live for as long as its last
// acknowledgement is fresh, and if another node has a stream of it. If another had one within [SubscriberLease], it may stay
// live for the rest of that time: a receipt waits rather for too many than for too few.
func (s *Store) Unsubscribe(ctx context.Context, l *Lease) error {
	return s.single(ctx, func(tx *gorm.DB) error {
		_, err := s.exec(tx, `UPDATE subscribers SET live_until = {greatest}({now}, acked_at + @lease, @others)
			WHERE client_id = @client AND name = @name AND live_until = @until`,
			args{"client": l.ClientID, "name": l.Name, "lease": SubscriberLease.Microseconds(), "until": l.until, "others": l.others})
		return err
	})
}

func compareSubscribers(a, b SubscriberID) int {
	return cmp.Or(strings.Compare(a.ClientID, b.ClientID), strings.Compare(a.Name, b.Name))
}

// ackBatch gathers acknowledgements while the ones before them are being written: with a thousand resource servers they
// come a thousand at a time. Who acknowledges waits for the commit.
type ackBatch struct {
	mu      sync.Mutex
	pending map[SubscriberID]int64
	done    chan struct{} // closed when pending is written
	err     *error
	writing bool
}

// Acknowledge notes that a subscriber has applied every event up to seq. It returns [ErrInvalid] for a number that no
// event has.
func (s *Store) Acknowledge(ctx context.Context, id SubscriberID, seq int64) error {
	if err := CheckSubscriberName(id.Name); err != nil {
		return err
	}
	newest := s.newestSeq.Load()
	if seq > newest {
		if err := s.read(ctx, func(tx *gorm.DB) error { return s.row(tx, `SELECT last_seq FROM realm`, nil, &newest) }); err != nil {
			return err
		}
		s.newestSeq.Store(newest) // only what is committed: a smaller value costs a look, no more
	}
	if seq < 0 || seq > newest {
		return invalid("seq %d: it takes 0 to %d, the newest event's", seq, newest)
	}
	b := &s.acks
	b.mu.Lock()
	if b.pending == nil {
		b.pending, b.done, b.err = map[SubscriberID]int64{}, make(chan struct{}), new(error)
	}
	b.pending[id] = max(b.pending[id], seq)
	done, failed := b.done, b.err
	if !b.writing {
		b.writing = true
		go s.writeAcks()
	}
	b.mu.Unlock()
	select {
	case <-done:
	case <-time.After(queryTimeout): // the batch before took its time; what comes late is repeated by who acknowledges
		return fmt.Errorf("%w: acknowledgements wait for the database", ErrUnavailable)
	}
	if *failed == nil && seq > s.newestSeq.Load() {
		return invalid("seq %d: the log has lost it", seq)
	}
	return *failed
}

func (s *Store) writeAcks() {
	b := &s.acks
	for {
		b.mu.Lock()
		pending, done, failed := b.pending, b.done, b.err
		b.pending = nil
		b.writing = pending != nil
		b.mu.Unlock()
		if pending == nil {
			return
		}
		*failed = s.insertAcks(pending)
		close(done)
		s.acked.wake()
	}
}

func (s *Store) insertAcks(pending map[SubscriberID]int64) error {
	ids := make([]SubscriberID, 0, len(pending))
	for id := range pending {
		ids = append(ids, id)
	}
	slices.SortFunc(ids, compareSubscribers)
	var newest int64
	err := s.write(context.Background(), func(tx *gorm.DB) error {
		var now int64
		if err := s.row(tx, `SELECT {now}, last_seq FROM realm`, nil, &now, &newest); err != nil {
			return err
		}
		// What this node knew of the log may be of a database that has lost its end since.
		ids := slices.DeleteFunc(slices.Clone(ids), func(id SubscriberID) bool { return pending[id] > newest })
		for chunk := range slices.Chunk(ids, 500) {
			subs := make([]Subscriber, len(chunk))
			acks := make([]acknowledgement, len(chunk))
			for i, id := range chunk {
				subs[i] = Subscriber{
					ClientID: id.ClientID, Name: id.Name, LiveUntil: Micros(now + SubscriberLease.Microseconds()),
					AckedSeq: pending[id], AckedAt: Micros(now), CreatedAt: Micros(now),
				}
				acks[i] = acknowledgement{id.ClientID, id.Name, pending[id], now}
			}
			newer := clause.Assignments(map[string]any{
				"live_until": gorm.Expr("CASE WHEN excluded.live_until > subscribers.live_until THEN excluded.live_until ELSE subscribers.live_until END"),
				"acked_at":   gorm.Expr("excluded.acked_at"),
				"acked_seq":  gorm.Expr("CASE WHEN excluded.acked_seq > subscribers.acked_seq THEN excluded.acked_seq ELSE subscribers.acked_seq END"),
			})
			if err := tx.Clauses(clause.OnConflict{Columns: []clause.Column{{Name: "client_id"}, {Name: "name"}}, DoUpdates: newer}).
				Create(&subs).Error; err != nil {
				return err
			}
			if err := tx.Clauses(clause.OnConflict{DoNothing: true}).Create(&acks).Error; err != nil {
				return err
			}
		}
		return nil
	})
	if err == nil {
		s.newestSeq.Store(newest)
	}
	return err
}

// acknowledgement is a row that says when; the times are forgotten after ackRetention.
type acknowledgement struct {
	ClientID string `gorm:"primaryKey"`
	Name     string `gorm:"primaryKey"`
	Seq      int64  `gorm:"primaryKey;autoIncrement:false"`
	At       int64
}

// SubscriberReceipt is what is known of one event at one resource server.
type SubscriberReceipt struct {
	ClientID       string
	Name           string
	Live           bool   // it is listening, now
	Acknowledged   bool   // it has applied the event; if not, it is missing
	AcknowledgedAt Micros // 0 if it has not, or if that is longer ago than the times are kept
	Millis         int64  // after the event; meaningful with AcknowledgedAt
}

// Receipt says where an event has been applied. It names every resource server that was listening at the time of the
// event, or so shortly before that it may still accept a token which the event ended; and, because the clock may step and a
// commit take its time, one that came up to [Leeway] later.
type Receipt struct {
	Seq         int64
	Subscribers []SubscriberReceipt
}

// Acknowledged counts who has applied the event.
func (r *Receipt) Acknowledged() (n int) {
	for _, s := range r.Subscribers {
		if s.Acknowledged {
			n++
		}
	}
	return n
}

// SlowestMillis is how long the slowest of those who have applied it took.
func (r *Receipt) SlowestMillis() (ms int64) {
	for _, s := range r.Subscribers {
		if s.Acknowledged {
			ms = max(ms, s.Millis)
		}
	}
	return ms
}

// Missing are those who have not applied it, as client/name.
func (r *Receipt) Missing() []string {
	var names []string
	for _, s := range r.Subscribers {
		if !s.Acknowledged {
			names = append(names, s.ClientID+"/"+s.Name)
		}
	}
	return names
}

// settled: nobody who is listening has yet to apply it.
func (r *Receipt) settled() bool {
	return !slices.ContainsFunc(r.Subscribers, func(s SubscriberReceipt) bool { return s.Live && !s.Acknowledged })
}

// Receipt returns the receipt of one event as it is now. It returns [ErrNotFound] if there is no such event.
func (s *Store) Receipt(ctx context.Context, seq int64) (*Receipt, error) {
	r := &Receipt{Seq: seq}
	err := s.read(ctx, func(tx *gorm.DB) error {
		var event int64
		if err := s.row(tx, `SELECT created_at FROM revocations WHERE seq = @seq`, args{"seq": seq}, &event); err != nil {
			return err
		}
		var rows []struct {
			Subscriber
			At int64
		}
		if err := s.raw(tx, `SELECT s.*, s.live_until > {now} AS live, coalesce((SELECT min(k.at) FROM acknowledgements k
				WHERE k.client_id = s.client_id AND k.name = s.name AND k.seq >= @seq), 0) AS at
			FROM subscribers s, realm r WHERE s.created_at <= @late AND s.live_until + r.longest_access_ttl + @leeway > @event
			ORDER BY s.client_id, s.name`, args{"seq": seq, "event": event, "late": event + Leeway.Microseconds(), "leeway": Leeway.Microseconds()}).Scan(&rows).Error; err != nil {
			return err
		}
		for _, row := range rows {
			sr := SubscriberReceipt{ClientID: row.ClientID, Name: row.Name, Live: row.Live, Acknowledged: row.AckedSeq >= seq}
			if sr.Acknowledged && row.At != 0 {
				sr.AcknowledgedAt, sr.Millis = Micros(row.At), max(0, (row.At-event)/1000)
			}
			r.Subscribers = append(r.Subscribers, sr)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return r, nil
}

// WaitApplied returns the receipt of an event once every live subscriber has applied it, or when ctx is done.
func (s *Store) WaitApplied(ctx context.Context, seq int64) (*Receipt, error) {
	poll := time.NewTicker(ackPoll)
	defer poll.Stop()
	for {
		moved := s.acked.woken()
		r, err := s.Receipt(context.WithoutCancel(ctx), seq)
		if err != nil || r.settled() {
			return r, err
		}
		select {
		case <-ctx.Done():
			return r, nil
		case <-moved:
		case <-poll.C:
		}
	}
}

// ListSubscribers returns every resource server that is known.
func (s *Store) ListSubscribers(ctx context.Context) (list []Subscriber, err error) {
	err = s.read(ctx, func(tx *gorm.DB) error {
		return s.raw(tx, `SELECT s.*, s.live_until > {now} AS live FROM subscribers s, realm r ORDER BY s.client_id, s.name`, nil).Scan(&list).Error
	})
	return list, err
}

// DeleteSubscriber forgets a resource server that is gone for good, so that no receipt names it as missing any more. One
// that still listens comes back with its next acknowledgement.
func (s *Store) DeleteSubscriber(ctx context.Context, id SubscriberID, by Actor) error {
	return s.write(ctx, func(tx *gorm.DB) error {
		a := args{"client": id.ClientID, "name": id.Name}
		n, err := s.exec(tx, `DELETE FROM subscribers WHERE client_id = @client AND name = @name`, a)
		if err != nil {
			return err
		}
		if n == 0 {
			return ErrNotFound
		}
		if _, err := s.exec(tx, `DELETE FROM acknowledgements WHERE client_id = @client AND name = @name`, a); err != nil {
			return err
		}
		var now int64
		if err := s.row(tx, `SELECT {now} FROM realm`, nil, &now); err != nil {
			return err
		}
		return s.audit(tx, AuditEvent{At: Micros(now), Type: AuditSubscriberDeleted, ClientID: id.ClientID, Detail: detail{"subscriber": id.Name}}, by)
	})
}
