package models

import (
	"context"
	"strings"
	"unicode"

	"github.com/google/uuid"
	"gorm.io/gorm"

	"curfew/internal/password"
)

// User is somebody who signs in with a password.
type User struct {
	ID              uuid.UUID `gorm:"primaryKey"`
	Username        string    // as it was given, without spaces at its ends
	UsernameKey     string    // what all spellings of one name have in common, RFC 8265
	PasswordHash    string    // PHC or crypt form
	PasswordVersion int64     // rises when the password changes, not when the same one is hashed anew
	Admin           bool      // may have tokens with the scope admin
	DisabledAt      Micros    // 0: not disabled
	ValidFrom       Micros    // tokens of the user issued at or before it are dead
	Name            string    // what people call the user; empty: nothing
	Email           string
	EmailVerified   bool
	CreatedAt       Micros
	UpdatedAt       Micros `gorm:"autoUpdateTime:false"` // GORM would write this process's clock, in seconds
}

// NewUser is what CreateUser takes: a password, or the hash of one from another system.
type NewUser struct {
	Username     string
	Password     string
	PasswordHash string // see [ImportHash]
	Admin        bool
	UserProfile
}

// ImportHash is [password.Import]; its errors wrap [ErrInvalid].
func ImportHash(hash string) (canonical string, err error) {
	if canonical, err = password.Import(hash); err != nil {
		return "", invalid("%w", err)
	}
	return canonical, nil
}

// CreateUser adds a user. It returns [ErrConflict] if the name is taken, [ErrPasswordPolicy] for a bad password.
func (s *Store) CreateUser(ctx context.Context, in NewUser, by Actor) (*User, error) {
	in.Username = trimUsername(in.Username)
	if err := CheckUsername(in.Username); err != nil {
		return nil, err
	}
	id, err := uuid.NewV7()
	if err != nil {
		return nil, err
	}
	u := &User{
		ID: id, Username: in.Username, UsernameKey: usernameKey(in.Username), PasswordVersion: 1, Admin: in.Admin,
		Name: in.Name, Email: in.Email, EmailVerified: in.EmailVerified,
	}
	if err := u.checkProfile(); err != nil {
		return nil, err
	}
	if in.PasswordHash != "" {
		if u.PasswordHash, err = ImportHash(in.PasswordHash); err != nil {
			return nil, err
		}
	} else {
		if err := s.checkNewPassword(ctx, in.Password, in.Username); err != nil {
			return nil, err
		}
		if u.PasswordHash, err = s.hasher.Hash(ctx, in.Password); err != nil {
			return nil, dbError(err)
		}
	}
	err = s.write(ctx, func(tx *gorm.DB) error {
		now, err := s.now(tx)
		if err != nil {
			return err
		}
		if err := s.checkFree(tx, u); err != nil {
			return err
		}
		u.CreatedAt, u.UpdatedAt = now, now
		if err := tx.Create(u).Error; err != nil {
			return err
		}
		return s.audit(tx, AuditEvent{
			At: u.CreatedAt, Type: AuditUserCreated, UserID: u.ID.String(), Detail: detail{"username": u.Username},
		}, by)
	})
	if err != nil {
		return nil, err
	}
	return u, nil
}

// GetUser returns one user by id.
func (s *Store) GetUser(ctx context.Context, id uuid.UUID) (*User, error) {
	return s.getUser(ctx, "id = ?", id)
}

// FindUser returns one user by name, in any of its spellings.
func (s *Store) FindUser(ctx context.Context, username string) (*User, error) {
	if !mayBeUsername(username) {
		return nil, ErrNotFound
	}
	key, err := s.storedKey(ctx, username)
	if err != nil {
		return nil, err
	}
	return s.getUser(ctx, "username_key = ?", key)
}

func (s *Store) getUser(ctx context.Context, where string, arg any) (*User, error) {
	var u User
	if err := s.read(ctx, func(tx *gorm.DB) error { return tx.Where(where, arg).Take(&u).Error }); err != nil {
		return nil, err
	}
	return &u, nil
}

// ListUsers returns a page of the users in the order of their names; prefix selects those whose name starts with it.
func (s *Store) ListUsers(ctx context.Context, prefix string, p Page) (list []User, next string, err error) {
	after, err := s.cursorAfter("users", p)
	if err != nil {
		return nil, "", err
	}
	err = s.read(ctx, func(tx *gorm.DB) error {
		q := tx.Where("username_key > ?", after)
		if prefix != "" {
			prefix = foldUsername(strings.TrimLeftFunc(prefix, unicode.IsSpace))
			q = q.Where("username_key >= ? AND username_key < ?", prefix, prefix+"\U0010FFFF")
		}
		return q.Order("username_key").Limit(p.limit() + 1).Find(&list).Error
	})
	list, next = pageOf(s, "users", p, list, func(u User) string { return u.UsernameKey })
	return list, next, err
}

// lockUser loads a user's row and keeps it from changing until the commit. Sign-ins of the same user wait for it.
func (s *Store) lockUser(tx *gorm.DB, id uuid.UUID) (*User, error) {
	var u User
	err := s.raw(tx, `SELECT * FROM users WHERE id = @id {lock}`, args{"id": id}).Take(&u).Error
	return &u, err
}

// UserPatch changes what is not nil.
type UserPatch struct {
	Username *string
	Password *string
	Admin    *bool
	Disabled *bool

	// What OpenID Connect tells apps of the user. Another email is not verified, unless that is said too.
	Name          *string
	Email         *string
	EmailVerified *bool
}

// UpdateUser is an admin's change. A new password, disabling, and the end of being an admin sign the user out
// everywhere, in the same commit; after enabling, old tokens stay dead. The sign-out is nil if there was none.
func (s *Store) UpdateUser(ctx context.Context, id uuid.UUID, p UserPatch, by Actor) (*User, *SignOut, error) {
	before, err := s.GetUser(ctx, id)
	if err != nil {
		return nil, nil, err
	}
	name := before.Username
	if p.Username != nil {
		if name = trimUsername(*p.Username); CheckUsername(name) != nil {
			return nil, nil, CheckUsername(name)
		}
		p.Username = &name
	}
	var phc string
	if p.Password != nil {
		if err := s.checkNewPassword(ctx, *p.Password, name); err != nil {
			return nil, nil, err
		}
		if phc, err = s.hasher.Hash(ctx, *p.Password); err != nil {
			return nil, nil, dbError(err)
		}
	}
	var after *User
	out, err := s.writeSignOut(ctx, func(tx *gorm.DB) (*SignOut, error) {
		u, err := s.lockUser(tx, id)
		if err != nil {
			return nil, err
		}
		now, err := s.now(tx)
		if err != nil {
			return nil, err
		}
		after = u
		changed, kind, reason := u.apply(p, phc, now)
		if len(changed) == 0 {
			return nil, nil
		}
		if err := u.checkProfile(); err != nil {
			return nil, err
		}
		if p.Username != nil {
			if err := s.checkFree(tx, u); err != nil {
				return nil, err
			}
		}
		u.UpdatedAt = now
		if err := tx.Model(u).
			Select("username", "username_key", "password_hash", "password_version", "admin", "disabled_at", "updated_at",
				"name", "email", "email_verified").
			Updates(u).Error; err != nil {
			return nil, err
		}
		event := AuditEvent{At: now, Type: kind, UserID: id.String(), Detail: detail{"changed": changed}}
		if err := s.audit(tx, event, by); err != nil {
			return nil, err
		}
		if reason == "" {
			return nil, nil
		}
		return s.revokeIn(tx, WholeUser(id), reason, by)
	})
	if err != nil {
		return nil, nil, err
	}
	if p.Password != nil { // who errs before does not with a new one
		if err := s.clearAccount(ctx, after.UsernameKey); err != nil {
			s.log.Warn("the counts of an account could not be cleared", "user_id", id, "error", err)
		}
	}
	return after, out, nil
}

// apply changes the user, and says what has changed, what the audit log calls it, and why the user is signed out, if
// so. phc is the hash of the patch's password.
func (u *User) apply(p UserPatch, phc string, now Micros) (changed []string, kind string, reason Reason) {
	changed, kind = []string{}, AuditUserChanged
	if p.Username != nil && u.Username != *p.Username {
		u.Username, u.UsernameKey = *p.Username, usernameKey(*p.Username)
		changed = append(changed, "username")
	}
	if p.Admin != nil && u.Admin != *p.Admin {
		if u.Admin = *p.Admin; !u.Admin {
			reason = ReasonAdminRemoved
		}
		changed = append(changed, "admin")
	}
	if p.Password != nil {
		u.PasswordHash, u.PasswordVersion, reason = phc, u.PasswordVersion+1, ReasonPasswordChanged
		changed = append(changed, "password")
	}
	if p.Disabled != nil && *p.Disabled != (u.DisabledAt != 0) {
		if *p.Disabled {
			u.DisabledAt, kind = now, AuditUserDisabled
			// mutant: disabling-does-not-sign-out
			reason = ReasonUserDisabled
		} else {
			u.DisabledAt, kind = 0, AuditUserEnabled
		}
		changed = append(changed, "disabled")
	}
	return append(changed, u.applyProfile(p)...), kind, reason
}

// hasLogoutReceiver: the client of a device has to be told of its end.
const hasLogoutReceiver = `EXISTS (SELECT 1 FROM receivers w WHERE w.client_id = devices.client_id AND w.kind = @logout)`

// DeleteUser ends every token of the user and removes the user and the devices. Of those whose apps have to be told the
// bare ids stay until that is done.
func (s *Store) DeleteUser(ctx context.Context, id uuid.UUID, by Actor) (*SignOut, error) {
	return s.writeSignOut(ctx, func(tx *gorm.DB) (*SignOut, error) {
		u, err := s.lockUser(tx, id)
		if err != nil {
			return nil, err
		}
		a := args{"id": id}
		if err := s.raw(tx, `SELECT id FROM devices WHERE user_id = @id ORDER BY id {lock}`, a).
			Scan(&[]string{}).Error; err != nil {
			return nil, err
		}
		out, err := s.revokeIn(tx, WholeUser(id), ReasonUserDeleted, by)
		if err != nil {
			return nil, err
		}
		a["valid_from"], a["logout"], a["ttl"] = out.Revocation.ValidFrom, ReceiverLogout, NoticeTTL
		for _, statement := range []string{
			// What names the device to the app stays until the app is told that it has ended; nothing of the person.
			`UPDATE devices SET name = '', ip = '', user_agent = '', scope = '', expires_at = {least}(expires_at, {now} + @ttl),
				valid_from = CASE WHEN signed_in_at <= valid_from THEN valid_from ELSE @valid_from END
				WHERE user_id = @id AND ` + hasLogoutReceiver,
			`DELETE FROM devices WHERE user_id = @id AND NOT ` + hasLogoutReceiver,
			`DELETE FROM users WHERE id = @id`,
		} {
			if _, err := s.exec(tx, statement, a); err != nil {
				return nil, err
			}
		}
		return out, s.audit(tx, AuditEvent{
			At: out.Revocation.CreatedAt, Type: AuditUserDeleted, UserID: id.String(),
			Detail: detail{"username": u.Username},
		}, by)
	})
}
