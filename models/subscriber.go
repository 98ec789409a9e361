package models

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"gorm.io/gorm"
)

// SubscriberLease is how long a subscriber counts as live after its stream was last known to be open, and after its
// last acknowledgement.
const SubscriberLease = 30 * time.Second

// maxSubscribersSeen bounds how many names a node remembers of those that the database knows.
const maxSubscribersSeen = 50_000

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

// CheckSubscriberName says what a subscriber's name must be.
func CheckSubscriberName(name string) error {
	if !subscriberName.MatchString(name) {
		return invalid("subscriber: must be 1 to 64 letters, digits, dots, dashes and underscores")
	}
	return nil
}

// Lease is what one node knows of a subscriber whose stream is open there. Other nodes may have streams of it too.
type Lease struct {
	SubscriberID
	until  Micros // what this node has written last; 0 before the first time
	others Micros // what others had written before: to there it is live without this node
}

// Subscribe says that the streams of these subscribers are open, now and for [SubscriberLease]. It returns
// [ErrTooManySubscribers] if one of them is new and its client has as many as it may; the others are noted.
func (s *Store) Subscribe(ctx context.Context, leases ...*Lease) error {
	leases = slices.SortedFunc(slices.Values(leases), func(a, b *Lease) int {
		return compareSubscribers(a.SubscriberID, b.SubscriberID)
	})
	written := make([]Lease, len(leases))
	var refused error
	err := s.write(ctx, func(tx *gorm.DB) error {
		refused = nil
		for i, l := range leases {
			written[i] = *l
			switch err := s.subscribe(tx, &written[i]); {
			case errors.Is(err, ErrTooManySubscribers):
				refused = err
			case err != nil:
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
	return refused
}

func (s *Store) subscribe(tx *gorm.DB, l *Lease) error {
	a := args{"client": l.ClientID, "name": l.Name, "lease": SubscriberLease, "most": s.cfg.Limits.Subscribers}
	var before Micros
	err := s.row(tx, `INSERT INTO subscribers (client_id, name, live_until, acked_seq, acked_at, created_at)
		SELECT CAST(@client AS text), CAST(@name AS text), 0, 0, 0, {now} FROM realm
		WHERE EXISTS (SELECT 1 FROM subscribers WHERE client_id = @client AND name = @name)
			OR (SELECT count(*) FROM subscribers WHERE client_id = @client) < @most
		ON CONFLICT (client_id, name) DO UPDATE SET live_until = subscribers.live_until RETURNING live_until`,
		a, &before)
	if errors.Is(err, sql.ErrNoRows) {
		return s.tooManySubscribers()
	}
	if err != nil {
		return err
	}
	if before != l.until {
		l.others = before
	}
	// No two writers leave the same value: who ends a lease sees whether it is still the last one's.
	return s.row(tx, `UPDATE subscribers SET live_until = {greatest}(live_until + 1, {now} + @lease)
		WHERE client_id = @client AND name = @name RETURNING live_until`, a, &l.until)
}

func (s *Store) tooManySubscribers() error {
	return fmt.Errorf("%w: %d are allowed; an admin can remove those that are gone",
		ErrTooManySubscribers, s.cfg.Limits.Subscribers)
}

// newSubscribers finds those of the subscribers that are not known and may not become so, because their client has as
// many as it may.
func (s *Store) newSubscribers(tx *gorm.DB, ids []SubscriberID) (refused map[SubscriberID]bool, err error) {
	refused = map[SubscriberID]bool{}
	room := map[string]int{}
	for _, id := range ids {
		if s.subscribersSeen.has(id) {
			continue
		}
		a := args{"client": id.ClientID, "name": id.Name}
		var known bool
		if err := s.row(tx, `SELECT EXISTS (SELECT 1 FROM subscribers WHERE client_id = @client AND name = @name) FROM realm`,
			a, &known); err != nil {
			return nil, err
		}
		if _, counted := room[id.ClientID]; !counted && !known {
			var n int
			if err := s.row(tx, `SELECT count(*) FROM subscribers WHERE client_id = @client`, a, &n); err != nil {
				return nil, err
			}
			room[id.ClientID] = s.cfg.Limits.Subscribers - n
		}
		switch {
		case known:
			s.subscribersSeen.add(id)
		case room[id.ClientID] <= 0:
			refused[id] = true
		default:
			room[id.ClientID]--
		}
	}
	return refused, nil
}

// Unsubscribe says that a subscriber's last stream on this node has ended. It stays live for as long as its last
// acknowledgement is fresh, and if another node has a stream of it. If another had one within [SubscriberLease], it may
// stay live for the rest of that time: a receipt waits rather for too many than for too few.
func (s *Store) Unsubscribe(ctx context.Context, l *Lease) error {
	return s.autocommit(ctx, func(tx *gorm.DB) error {
		_, err := s.exec(tx, `UPDATE subscribers SET live_until = {greatest}({now}, acked_at + @lease, @others)
			WHERE client_id = @client AND name = @name AND live_until = @until`,
			args{"client": l.ClientID, "name": l.Name, "lease": SubscriberLease, "until": l.until, "others": l.others})
		return err
	})
}

func compareSubscribers(a, b SubscriberID) int {
	return cmp.Or(strings.Compare(a.ClientID, b.ClientID), strings.Compare(a.Name, b.Name))
}

// ListSubscribers returns a page of the resource servers that are known, by client and name.
func (s *Store) ListSubscribers(ctx context.Context, p Page) (list []Subscriber, next string, err error) {
	after, err := s.cursorAfter("subscribers", p)
	if err != nil {
		return nil, "", err
	}
	client, name, _ := strings.Cut(after, " ") // neither has a space
	err = s.read(ctx, func(tx *gorm.DB) error {
		list = nil
		return s.raw(tx, `SELECT s.*, s.live_until > {now} AS live FROM subscribers s, realm r
			WHERE (s.client_id, s.name) > (@client, @name) ORDER BY s.client_id, s.name LIMIT @limit`,
			args{"client": client, "name": name, "limit": p.limit() + 1}).Scan(&list).Error
	})
	list, next = pageOf(s, "subscribers", p, list, func(s Subscriber) string { return s.ClientID + " " + s.Name })
	return list, next, err
}

// DeleteSubscriber forgets a resource server that is gone for good, so that no receipt names it as missing any more.
// One that still listens comes back with its next acknowledgement.
func (s *Store) DeleteSubscriber(ctx context.Context, id SubscriberID, by Actor) error {
	s.subscribersSeen.remove(id)
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
		now, err := s.now(tx)
		if err != nil {
			return err
		}
		return s.audit(tx, AuditEvent{
			At: now, Type: AuditSubscriberDeleted, ClientID: id.ClientID, Detail: detail{"subscriber": id.Name},
		}, by)
	})
}
