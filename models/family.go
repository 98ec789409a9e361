package models

import (
	"github.com/google/uuid"
	"gorm.io/gorm"
)

// A browser session and the devices that were signed in through it. No orphan: when the session is signed out, by
// whoever and for whatever reason, its children without offline_access are out in the same commit. Above the device
// level their own valid_from takes them. A session that merely expires ends nothing else, and the end of a child
// nothing but the child.

// hasParent is written as the partial index of the children has it, so that it is used.
const hasParent = `parent_id <> '00000000-0000-0000-0000-000000000000'`

// ending is a device that is being signed out, and what is said of it. Its row is locked.
type ending struct {
	*Device
	why   Reason
	by    Actor
	extra detail // goes into the audit log beside the reason
}

// withChildren adds the children of the browser sessions among those that end, before them, so that the last event is
// that of a device which was asked for. The sessions are locked: a child that a code is making is there when the code's
// exchange has let its session go, and an exchange that comes later finds the session out. The statement begins after
// that. It locks the children, and so must come before the realm is locked.
func (s *Store) withChildren(tx *gorm.DB, ends []ending) ([]ending, error) {
	parents, listed := map[uuid.UUID]ending{}, make([]uuid.UUID, 0, len(ends))
	var sessions []uuid.UUID
	for _, e := range ends {
		listed = append(listed, e.ID)
		// mutant: children-of-a-signed-out-browser-stay
		if builtIn(e.ClientID) {
			parents[e.ID], sessions = e, append(sessions, e.ID)
		}
	}
	if len(sessions) == 0 {
		return ends, nil
	}
	var children []*Device
	if err := s.raw(tx, `SELECT d.* FROM devices p CROSS JOIN devices d CROSS JOIN users u CROSS JOIN clients c
			CROSS JOIN realm r
		WHERE p.id {in sessions} AND d.parent_id = p.id AND d.`+hasParent+` AND d.user_id = p.user_id
			AND NOT d.offline AND NOT d.id {in listed} AND`+ruleJoin+`AND `+aliveDevice+`
		ORDER BY d.id {lock d}`, args{"sessions": sessions, "listed": listed}).Scan(&children).Error; err != nil {
		return nil, err
	}
	all := make([]ending, 0, len(children)+len(ends))
	for _, d := range children {
		p := parents[d.ParentID]
		all = append(all, ending{
			Device: d, why: ReasonParentSignedOut, by: p.by, extra: detail{"parent_id": p.ID, "parent_reason": p.why},
		})
	}
	return append(all, ends...), nil
}
