package models

import (
	"context"
	"fmt"

	"gorm.io/gorm"
)

// Told says how far the outside apps have been told of an event. It counts receivers, and is never added to who has
// applied it.
type Told struct {
	Receivers int // that have to be told
	Answered  int // 2xx to all that each had to be told
	Pending   int
	Failed    int // it was too old when it could have been told
}

// noticeOf is the type of the message that a webhook gets of an event.
func noticeOf(level Level) string {
	switch level {
	case LevelUser:
		return NoticeUserOut
	case LevelClient:
		return NoticeClientOut
	case LevelEveryone:
		return NoticeEveryoneOut
	}
	return NoticeDeviceEnded
}

// Told says who was told of an event as it is now. It returns [ErrNotFound] if there is no such event.
func (s *Store) Told(ctx context.Context, seq int64) (t Told, err error) {
	err = s.read(ctx, func(tx *gorm.DB) error {
		t = Told{}
		var v Revocation
		if err := tx.Where("seq = ?", seq).Take(&v).Error; err != nil {
			return err
		}
		if err := s.toldClients(tx, &v, &t); err != nil {
			return err
		}
		return s.toldWebhooks(tx, &v, &t)
	})
	return t, err
}

// countTold counts receivers w by where each is: the event lies at (@tx, @id) of their log.
func (s *Store) countTold(tx *gorm.DB, t *Told, where string, a args) error {
	var all, failed, answered int
	const passed = `(w.pos_tx > @tx OR (w.pos_tx = @tx AND (w.pos_id > @id OR (w.pos_id = @id AND w.pos_part = ''))))`
	const dropped = `EXISTS (SELECT 1 FROM dropped_notices g WHERE g.receiver_id = w.id
		AND (g.from_tx < @tx OR (g.from_tx = @tx AND g.from_id <= @id))
		AND (g.to_tx > @tx OR (g.to_tx = @tx AND g.to_id >= @id)))`
	if err := s.row(tx, `SELECT count(*), coalesce(sum(CASE WHEN `+dropped+` THEN 1 ELSE 0 END), 0),
			coalesce(sum(CASE WHEN `+passed+` AND NOT `+dropped+` THEN 1 ELSE 0 END), 0)
		FROM receivers w WHERE `+where, a, &all, &failed, &answered); err != nil {
		return err
	}
	t.Receivers, t.Failed, t.Answered = t.Receivers+all, t.Failed+failed, t.Answered+answered
	t.Pending = t.Receivers - t.Failed - t.Answered
	return nil
}

// toldClients counts the clients with a back-channel logout URI that have devices which the event ended.
func (s *Store) toldClients(tx *gorm.DB, v *Revocation, t *Told) error {
	if v.Reason == ReasonSignedInAgain {
		return nil
	}
	ended, a := endedBy(v)
	a["tx"], a["id"], a["logout"] = 0, v.Seq, ReceiverLogout
	return s.countTold(tx, t, `w.kind = @logout AND w.created_at <= @at AND (w.ends_at_seq = 0 OR w.ends_at_seq >= @id)
		AND EXISTS (SELECT 1 FROM devices d WHERE d.client_id = w.client_id AND `+ended+`)`, a)
}

// toldWebhooks counts the webhooks that are registered for the event's type, or for that of a replay.
func (s *Store) toldWebhooks(tx *gorm.DB, v *Revocation, t *Told) error {
	if v.Reason == ReasonSignedInAgain { // device.signed_in says it
		return nil
	}
	kind := noticeOf(v.Level)
	// The audit event of the same transaction says where in the other log it is. Its detail is text.
	find := `SELECT id, CASE WHEN id <= (SELECT restored_events FROM realm) THEN 0 ELSE tx END AS place
		FROM audit_events WHERE at = @at AND (detail LIKE @seq || ',%' OR detail LIKE @seq || '}%')`
	var rows []struct {
		ID    int64
		Place int64
	}
	b := args{"at": v.CreatedAt, "seq": fmt.Sprintf(`%%"seq":%d`, v.Seq)}
	if err := s.raw(tx, find, b).Scan(&rows).Error; err != nil {
		return err
	}
	if len(rows) == 0 { // it is older than the audit log
		return nil
	}
	return s.countTold(tx, t, `w.kind = @webhook AND w.created_at <= @at
		AND (w.types = '' OR ' ' || w.types || ' ' LIKE @type)`, args{
		"tx": rows[0].Place, "id": rows[0].ID, "webhook": ReceiverWebhook, "at": v.CreatedAt, "type": "% " + kind + " %",
	})
}
