package models

import (
	"context"

	"github.com/google/uuid"
)

// CountTarget says how many signed-in devices [Store.Revoke] would end with the same target, and fails where that would
// fail. It looks at all of them: give it a context with time.
func (s *Store) CountTarget(ctx context.Context, t Target) (n int, err error) {
	f := t.filter
	switch t.level {
	case LevelDevice:
		if !t.one && f == (DeviceFilter{}) {
			return 0, invalid("devices without a filter: everyone is a level of its own")
		}
		if t.one {
			if _, err := s.GetDevice(ctx, f); err != nil {
				return 0, err
			}
		}
		if selectsAny, err := s.byUserID(ctx, &f); err != nil || !selectsAny {
			return 0, err
		}
	case LevelUser:
		if f.UserID, err = uuid.Parse(t.subject); err != nil {
			return 0, ErrNotFound
		}
		if _, err := s.GetUser(ctx, f.UserID); err != nil {
			return 0, err
		}
	case LevelClient:
		f.ClientID = t.subject
		if _, err := s.GetClient(ctx, f.ClientID); err != nil {
			return 0, err
		}
	case LevelEveryone:
	default:
		return 0, invalid("a sign-out without a target")
	}
	where, a, err := s.selects(f)
	if err != nil {
		return 0, err
	}
	a["keep"] = t.keep
	err = dbError(s.row(s.db.WithContext(ctx), `SELECT count(*) FROM devices d, users u, clients c, realm r
		WHERE`+ruleJoin+`AND d.id <> @keep AND `+aliveDevice+` AND `+where, a, &n))
	return n, err
}
