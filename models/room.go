package models

import (
	"github.com/google/uuid"
	"gorm.io/gorm"
)

// makeRoom chooses which of the user's other devices have to go so that one more fits: the longest unseen, of the
// client for its own limit, then of all. It locks them. The browser session that the new device comes from stays.
func (s *Store) makeRoom(tx *gorm.DB, w *signingIn, own uuid.UUID) (ends []ending, err error) {
	if most := w.Client.MaxDevices; most != nil {
		var others int
		if err := s.row(tx, `SELECT count(*)`+otherDevices+` AND d.client_id = @client`,
			args{"user": w.User.ID, "device": own, "client": w.Client.ID}, &others); err != nil {
			return nil, err
		}
		if ends, err = s.longestUnseen(tx, w, own, others+1-*most, ` AND d.client_id = @client`, nil); err != nil {
			return nil, err
		}
	}
	more, err := s.longestUnseen(tx, w, own, w.others-len(ends)+1-s.cfg.MaxDevicesPerUser, ``, ends)
	return append(ends, more...), err
}

// longestUnseen are the first n of the user's other devices in the order in which they were last seen. A browser
// session was seen when one of its children was.
func (s *Store) longestUnseen(
	tx *gorm.DB, w *signingIn, own uuid.UUID, n int, of string, less []ending,
) (ends []ending, err error) {
	if n <= 0 {
		return nil, nil
	}
	stay := append(column(less, func(e ending) uuid.UUID { return e.ID }), w.parent)
	var unseen []*Device
	err = s.raw(tx, `SELECT d.*`+otherDevices+of+` AND NOT d.id {in stay}
		ORDER BY {greatest}(d.last_seen_at, coalesce((SELECT max(k.last_seen_at) FROM devices k
			WHERE k.parent_id = d.id AND k.`+hasParent+`), 0)), d.id LIMIT @n {lock d}`,
		args{"user": w.User.ID, "device": own, "client": w.Client.ID, "stay": stay, "n": n}).Scan(&unseen).Error
	for _, d := range unseen {
		ends = append(ends, ending{Device: d, why: ReasonTooManyDevices, by: Actor{Entity: EntityPolicy}})
	}
	return ends, err
}
