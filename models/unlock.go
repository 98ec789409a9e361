package models

import (
	"context"
	"time"

	"github.com/google/uuid"
	"gorm.io/gorm"
)

// What a user or an admin has to do with the limits of one account; how they count is in throttle.go.

// spend charges something that a user does successfully.
func (s *Store) spend(ctx context.Context, g guess, user uuid.UUID, by Actor) error {
	if err := s.blocked.refuses([]guess{g}); err != nil {
		return err
	}
	usedUp, err := s.charge(ctx, g)
	if refused, ok := err.(refusals); ok {
		s.blocked.block(g.key, refused[0].wait)
		return refused.throttled()
	}
	if err == nil && len(usedUp) > 0 {
		s.note(ctx, by, AuditEvent{Type: AuditLimitReached, UserID: user.String(), Detail: detail{"limit": g.name}})
	}
	return err
}

// ReachedLimit is a limit that a user's account has reached.
type ReachedLimit struct {
	Name  string
	Until Micros // when the next attempt counts again
}

// accountLimits are those whose counts belong to an account.
var accountLimits = []limit{limitAccountAddress, limitAccount, limitDevice, limitSignIns, limitRenames, limitCodes}

// ReachedLimits says which limits a user's account has reached: of those by address or device, if any one has.
func (s *Store) ReachedLimits(ctx context.Context, u *User) (list []ReachedLimit, err error) {
	prefix := s.accountPrefix(u.UsernameKey)
	err = s.read(ctx, func(tx *gorm.DB) error {
		list = nil
		return s.rows(tx, `SELECT substr(k, @mark, 1), max(tat), {now} FROM rate_limits
			WHERE k >= @first AND k < @end GROUP BY 1 ORDER BY 1`,
			args{"first": prefix, "end": prefix + "g", "mark": len(prefix) + 1},
			func(scan func(...any) error) error {
				var mark string
				var tat, now Micros
				err := scan(&mark, &tat, &now)
				for _, l := range accountLimits {
					every := s.cfg.Limits.Window / time.Duration(s.allowance(l))
					if until := tat.Add(every - s.cfg.Limits.Window); l.mark == mark && until > now {
						list = append(list, ReachedLimit{l.name, until})
					}
				}
				return err
			})
	})
	return list, err
}

// UnlockUser clears what counts against a user's account. What counts against an address alone stays.
func (s *Store) UnlockUser(ctx context.Context, id uuid.UUID, by Actor) (*User, error) {
	u, err := s.GetUser(ctx, id)
	if err != nil {
		return nil, err
	}
	if err := s.clearAccount(ctx, u.UsernameKey); err != nil {
		return nil, err
	}
	return u, s.write(ctx, func(tx *gorm.DB) error {
		now, err := s.now(tx)
		if err != nil {
			return err
		}
		return s.audit(tx, AuditEvent{At: now, Type: AuditUserUnlocked, UserID: id.String()}, by)
	})
}

func (s *Store) clearAccount(ctx context.Context, account string) error {
	prefix := s.accountPrefix(account)
	defer s.blocked.clear()
	return s.count(ctx, func(tx *gorm.DB) error {
		_, err := s.exec(tx, `DELETE FROM rate_limits WHERE k IN (
			SELECT l.k FROM rate_limits l WHERE l.k >= @first AND l.k < @end ORDER BY l.k {lock l})`,
			args{"first": prefix, "end": prefix + "g"})
		return err
	})
}
