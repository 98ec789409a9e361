package models

import (
	"context"

	"gorm.io/gorm"
)

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
// event, or so shortly before that it may still accept a token which the event ended; and, because the clock may step
// and a commit take its time, one that came up to [Leeway] later.
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

// Receipt returns the receipt of one event as it is now. It returns [ErrNotFound] if there is no such event.
func (s *Store) Receipt(ctx context.Context, seq int64) (*Receipt, error) {
	r := &Receipt{Seq: seq}
	err := s.read(ctx, func(tx *gorm.DB) error {
		var event Micros
		if err := s.row(tx, `SELECT created_at FROM revocations WHERE seq = @seq`, args{"seq": seq}, &event); err != nil {
			return err
		}
		var rows []struct {
			Subscriber
			At Micros
		}
		if err := s.raw(tx, `SELECT s.*, s.live_until > {now} AS live, coalesce((SELECT min(k.at) FROM acknowledgements k
				WHERE k.client_id = s.client_id AND k.name = s.name AND k.seq >= @seq), 0) AS at
			FROM subscribers s, realm r
			WHERE s.created_at <= @late AND s.live_until + r.longest_access_ttl + @leeway > @event
			ORDER BY s.client_id, s.name`,
			args{"seq": seq, "event": event, "late": event.Add(Leeway), "leeway": Leeway}).Scan(&rows).Error; err != nil {
			return err
		}
		for _, row := range rows {
			sr := SubscriberReceipt{
				ClientID: row.ClientID, Name: row.Name, Live: row.Live, Acknowledged: row.AckedSeq >= seq,
			}
			if sr.Acknowledged && row.At != 0 {
				sr.AcknowledgedAt, sr.Millis = row.At, max(0, row.At.Sub(event).Milliseconds())
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
