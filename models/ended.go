package models

import (
	"context"

	"github.com/google/uuid"
	"gorm.io/gorm"
)

// EndedByExpiry is why a device is out that nobody signed out. It is no revocation's reason: the clock's end has no
// event.
const EndedByExpiry Reason = "expired"

// EndedDevice is a device of a user that is out, and why.
type EndedDevice struct {
	DeviceInfo
	EndedAt   Micros
	Reason    Reason // of the event that ended it, or [EndedByExpiry]; empty if the event has been forgotten
	EndedFrom string // the address that a used token or code came back from
}

// userRows is how many of a user's devices, the newest, are looked at for those that have ended.
const userRows = 2000

// firstEnd is when a device ended: at its expiry or with the first sign-out of any level that holds for it, as far as
// the rows know. Of two sign-outs of one level they know the later one; the log knows the first.
const firstEnd = `{least}(d.expires_at, CASE WHEN d.valid_from >= d.signed_in_at THEN d.valid_from ELSE @never END,
	CASE WHEN u.valid_from >= d.signed_in_at THEN u.valid_from ELSE @never END,
	CASE WHEN c.valid_from >= d.signed_in_at THEN c.valid_from ELSE @never END,
	CASE WHEN r.valid_from >= d.signed_in_at THEN r.valid_from ELSE @never END)`

// EndedDevices returns those of a user's devices that are out and not yet forgotten, the last to end first, limit of
// them at most. more tells that there are others.
func (s *Store) EndedDevices(ctx context.Context, user uuid.UUID, limit int) (
	list []EndedDevice, more bool, err error,
) {
	a := args{"user": user, "rows": userRows, "limit": limit + 1, "never": never, "expired": EndedByExpiry}
	err = s.read(ctx, func(tx *gorm.DB) error {
		return s.raw(tx, `SELECT e.*,
				CASE WHEN v.seq IS NULL OR e.expires_at <= v.created_at THEN e.first_end ELSE v.created_at END AS ended_at,
				CASE WHEN v.seq IS NOT NULL AND v.created_at < e.expires_at THEN v.reason
					WHEN e.expires_at <= e.first_end THEN @expired ELSE '' END AS reason,
				coalesce(CASE WHEN v.reason IN ('`+string(ReasonReuse)+`', '`+string(ReasonCodeReuse)+`') THEN
					(SELECT a.ip FROM audit_events a WHERE a.device_id = CAST(e.id AS text)
						AND a.type IN ('`+AuditReplay+`', '`+AuditCodeReuse+`') ORDER BY a.id DESC LIMIT 1) END, '') AS ended_from
			FROM (`+deviceColumns+`, `+firstEnd+` AS first_end
				FROM (SELECT * FROM devices n WHERE n.user_id = @user ORDER BY n.id DESC LIMIT @rows)`+deviceJoin+`
					NOT (`+aliveDevice+`) ORDER BY first_end DESC, d.id DESC LIMIT @limit) e
			LEFT JOIN revocations v ON v.seq = (SELECT min(x.seq) FROM revocations x
				WHERE x.subject IN (CAST(e.id AS text), CAST(e.user_id AS text), e.client_id, '') AND x.subject =
					CASE x.level WHEN 'device' THEN CAST(e.id AS text) WHEN 'user' THEN CAST(e.user_id AS text)
						WHEN 'client' THEN e.client_id ELSE '' END AND x.valid_from >= e.signed_in_at)
			ORDER BY ended_at DESC, e.id DESC`, a).Scan(&list).Error
	})
	if more = len(list) > limit; more {
		list = list[:limit]
	}
	return list, more, err
}
