package models

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/google/uuid"
	"gorm.io/gorm"
)

// User is somebody who signs in with a password.
type User struct {
	ID              uuid.UUID `gorm:"primaryKey"`
	Username        string    // as it was given
	UsernameKey     string    // lower case: two names that differ in case only are one
	PasswordHash    string    // PHC or crypt form
	PasswordVersion int64     // rises when the password changes, not when the same one is hashed anew
	Admin           bool      // may have tokens with the scope admin
	DisabledAt      Micros    // 0: not disabled
	ValidFrom       Micros    // tokens of the user issued at or before it are dead
	CreatedAt       Micros
	UpdatedAt       Micros `gorm:"autoUpdateTime:false"` // GORM would write this process's clock, in seconds
}

// MaxUsername is how many bytes a user name has at most.
const MaxUsername = 255

func usernameKey(name string) string { return strings.ToLower(name) }

// CheckUsername tells whether a user may be called so; its errors wrap [ErrInvalid].
func CheckUsername(name string) error {
	switch {
	case name == "" || len(name) > MaxUsername || !utf8.ValidString(name):
		return invalid("the user name has %d bytes: it takes 1 to %d, in UTF-8", len(name), MaxUsername)
	case strings.TrimSpace(name) != name || strings.ContainsFunc(name, func(r rune) bool { return !unicode.IsPrint(r) }):
		return invalid("the user name takes printable characters, and no space at its ends")
	}
	return nil
}

// NewUser is what CreateUser takes: a password, or the hash of one from another system.
type NewUser struct {
	Username     string
	Password     string
	PasswordHash string // see [ImportHash]
	Admin        bool
}

// CreateUser adds a user. It returns [ErrConflict] if the name is taken, [ErrPasswordPolicy] for a bad password.
func (s *Store) CreateUser(ctx context.Context, in NewUser, by Actor) (*User, error) {
	if err := CheckUsername(in.Username); err != nil {
		return nil, err
	}
	id, err := uuid.NewV7()
	if err != nil {
		return nil, err
	}
	u := &User{ID: id, Username: in.Username, UsernameKey: usernameKey(in.Username), PasswordVersion: 1, Admin: in.Admin}
	if in.PasswordHash != "" {
		if u.PasswordHash, err = ImportHash(in.PasswordHash); err != nil {
			return nil, fmt.Errorf("%w: %w", ErrInvalid, err)
		}
	} else {
		if err := CheckPasswordPolicy(in.Password, in.Username); err != nil {
			return nil, err
		}
		if u.PasswordHash, err = s.hasher.hash(ctx, in.Password); err != nil {
			return nil, dbError(err)
		}
	}
	err = s.write(ctx, func(tx *gorm.DB) error {
		var now int64
		if err := s.row(tx, `SELECT {now} FROM realm`, nil, &now); err != nil {
			return err
		}
		u.CreatedAt, u.UpdatedAt = Micros(now), Micros(now)
		if err := tx.Create(u).Error; err != nil {
			return err
		}
		return s.audit(tx, AuditEvent{At: u.CreatedAt, Type: AuditUserCreated, UserID: u.ID.String(), Detail: detail{"username": u.Username}}, by)
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

// FindUser returns one user by name; case does not matter.
func (s *Store) FindUser(ctx context.Context, username string) (*User, error) {
	if CheckUsername(username) != nil {
		return nil, ErrNotFound
	}
	return s.getUser(ctx, "username_key = ?", usernameKey(username))
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
			q = q.Where("username_key >= ? AND username_key < ?", usernameKey(prefix), usernameKey(prefix)+"\U0010FFFF")
		}
		return q.Order("username_key").Limit(p.limit() + 1).Find(&list).Error
	})
	list, next = pageOf(s, "users", p, list, func(u User) string { return u.UsernameKey })
	return list, next, err
}

// PasswordAttempt is one try to sign in.
type PasswordAttempt struct {
	Username string
	Password string
	Address  string    // where it comes from
	DeviceID uuid.UUID // the device that the app says it is; uuid.Nil if it says nothing
}

// AuthenticateUser checks a password. Limits on guessing are asked before any hashing; an unknown user costs the same
// work as a known one. It returns [ErrCredentials], [*ThrottledError], [ErrHashQueueFull] or [ErrUnavailable]. A right
// password whose stored hash is of another kind than ours is hashed anew.
//
// What the user was when the password was checked goes into [SignIn]: it signs in only the same user.
func (s *Store) AuthenticateUser(ctx context.Context, in PasswordAttempt) (*User, error) {
	leave, err := s.enterCheck()
	if err != nil {
		return nil, err
	}
	defer leave()
	account := usernameKey(in.Username)
	var u *User
	var known bool
	if CheckUsername(in.Username) == nil {
		u, known, err = s.userAt(ctx, "username_key", account, in)
	}
	if err != nil && !errors.Is(err, ErrNotFound) {
		return nil, err
	}
	return s.checkPassword(ctx, u, account[:min(len(account), MaxUsername)], known, in)
}

// enterCheck takes a place for one password check, or nothing.
func (s *Store) enterCheck() (leave func(), err error) {
	select {
	case s.checks <- struct{}{}:
		return func() { <-s.checks }, nil
	default:
		return nil, ErrHashQueueFull
	}
}

func (s *Store) checkPassword(ctx context.Context, u *User, account string, known bool, in PasswordAttempt) (*User, error) {
	address := AddressPrefix(in.Address)
	guesses := []guess{
		s.guess(s.cfg.Limits.PerAccountAddress, "account at address", account, address),
		s.guess(s.cfg.Limits.PerAddress, "address", address),
	}
	clears := guesses[0].key
	if !known {
		guesses = append(guesses, s.guess(s.cfg.Limits.PerAccount, "account", account))
	}
	if err := s.charge(ctx, guesses...); err != nil {
		return nil, err
	}
	if u == nil {
		if err := s.hasher.verifyUnknown(ctx, in.Password); err != nil {
			s.refund(ctx, "", guesses...)
			return nil, dbError(err)
		}
		return nil, ErrCredentials
	}
	ok, stale, err := s.hasher.verify(ctx, u.PasswordHash, in.Password)
	if err != nil { // it was not looked at: no guess
		s.refund(ctx, "", guesses...)
		return nil, dbError(err)
	}
	if !ok {
		return nil, ErrCredentials
	}
	s.refund(ctx, clears, guesses...)
	if u.DisabledAt != 0 {
		return nil, ErrCredentials
	}
	if stale {
		s.rehash(ctx, u, in.Password)
	}
	return u, nil
}

// userAt finds the user with this value in a column, and tells whether the attempt is from where it has a device, or names one: a
// stranger's guesses elsewhere do not lock the user out there.
func (s *Store) userAt(ctx context.Context, column string, value any, in PasswordAttempt) (u *User, known bool, err error) {
	var found struct {
		User
		Addresses string
		Named     bool
	}
	err = s.read(ctx, func(tx *gorm.DB) error {
		return s.raw(tx, `SELECT u.*, EXISTS (SELECT 1 FROM devices d WHERE d.id = @device AND d.user_id = u.id) AS named,
			coalesce((SELECT string_agg(p.ip, ' ') FROM (SELECT DISTINCT d.ip FROM devices d WHERE d.user_id = u.id LIMIT 1000) p), '') AS addresses
			FROM users u WHERE u.`+column+` = @value`, args{"device": in.DeviceID, "value": value}).Take(&found).Error
	})
	if err != nil {
		return nil, false, err
	}
	here := AddressPrefix(in.Address)
	return &found.User, found.Named || slices.ContainsFunc(strings.Fields(found.Addresses), func(ip string) bool { return AddressPrefix(ip) == here }), nil
}

// rehash stores the same password in our own form. It is worth no failure: the next sign-in tries again.
func (s *Store) rehash(ctx context.Context, u *User, password string) {
	phc, err := s.hasher.hash(ctx, password)
	if err == nil {
		err = s.single(ctx, func(tx *gorm.DB) error {
			_, err := s.exec(tx, `UPDATE users SET password_hash = @new WHERE id = @id AND password_hash = @old`,
				args{"id": u.ID, "old": u.PasswordHash, "new": phc})
			return err
		})
	}
	if err != nil {
		s.log.Warn("a password could not be hashed anew", "user_id", u.ID, "error", err)
	}
}

// lockUser loads a user's row and keeps it from changing until the commit. Sign-ins of the same user wait for it.
func (s *Store) lockUser(tx *gorm.DB, id uuid.UUID) (*User, error) {
	var u User
	err := s.raw(tx, `SELECT * FROM users WHERE id = @id {lock}`, args{"id": id}).Take(&u).Error
	return &u, err
}

// PasswordChange is what ChangePassword takes.
type PasswordChange struct {
	UserID     uuid.UUID
	Current    string
	New        string
	KeepDevice uuid.UUID // stays signed in
	Address    string
}

// ChangePassword is the user's own change: it checks the current password, limits on guessing included, and signs out
// the other devices. Its errors are those of [Store.AuthenticateUser], and [ErrPasswordPolicy].
//
// A sign-in that checked the old password cannot create a device any more once this has returned: it locks the user's
// row as this does, and signs in only the password version that it checked.
func (s *Store) ChangePassword(ctx context.Context, in PasswordChange, by Actor) (*SignOut, error) {
	leave, err := s.enterCheck()
	if err != nil {
		return nil, err
	}
	defer leave()
	attempt := PasswordAttempt{Password: in.Current, Address: in.Address, DeviceID: in.KeepDevice}
	u, known, err := s.userAt(ctx, "id", in.UserID, attempt)
	if err != nil {
		return nil, err
	}
	if err := CheckPasswordPolicy(in.New, u.Username); err != nil {
		return nil, err
	}
	if u, err = s.checkPassword(ctx, u, u.UsernameKey, known, attempt); err != nil {
		return nil, err
	}
	phc, err := s.hasher.hash(ctx, in.New)
	if err != nil {
		return nil, dbError(err)
	}
	return s.change(ctx, func(tx *gorm.DB) (*SignOut, error) {
		// The user's row comes first: a sign-in that is under way has it, and its device is seen below.
		var now int64
		err := s.row(tx, `UPDATE users SET password_hash = @hash, password_version = password_version + 1, updated_at = {now}
			WHERE id = @id AND password_version = @version AND disabled_at = 0 RETURNING updated_at`,
			args{"hash": phc, "id": u.ID, "version": u.PasswordVersion}, &now)
		if errors.Is(dbError(err), ErrNotFound) {
			return nil, ErrCredentials // changed by somebody else in between
		}
		if err != nil {
			return nil, err
		}
		if err := s.audit(tx, AuditEvent{At: Micros(now), Type: AuditPasswordChanged, UserID: u.ID.String()}, by); err != nil {
			return nil, err
		}
		return s.revokeIn(tx, Target{Level: LevelDevice, Filter: DeviceFilter{UserID: u.ID}, Keep: in.KeepDevice}, ReasonPasswordChanged, by)
	})
}

// UserPatch changes what is not nil.
type UserPatch struct {
	Username *string
	Password *string
	Admin    *bool
	Disabled *bool
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
		if name = *p.Username; CheckUsername(name) != nil {
			return nil, nil, CheckUsername(name)
		}
	}
	var phc string
	if p.Password != nil {
		if err := CheckPasswordPolicy(*p.Password, name); err != nil {
			return nil, nil, err
		}
		if phc, err = s.hasher.hash(ctx, *p.Password); err != nil {
			return nil, nil, dbError(err)
		}
	}
	var after *User
	out, err := s.change(ctx, func(tx *gorm.DB) (*SignOut, error) {
		u, err := s.lockUser(tx, id)
		if err != nil {
			return nil, err
		}
		now := int64(0)
		if err := s.row(tx, `SELECT {now} FROM realm`, nil, &now); err != nil {
			return nil, err
		}
		at, changed, reason := Micros(now), []string{}, Reason("")
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
		kind := AuditUserChanged
		if p.Disabled != nil && *p.Disabled != (u.DisabledAt != 0) {
			if *p.Disabled {
				u.DisabledAt, reason, kind = at, ReasonUserDisabled, AuditUserDisabled
			} else {
				u.DisabledAt, kind = 0, AuditUserEnabled
			}
			changed = append(changed, "disabled")
		}
		after = u
		if len(changed) == 0 {
			return nil, nil
		}
		u.UpdatedAt = at
		if err := tx.Model(u).Select("username", "username_key", "password_hash", "password_version", "admin", "disabled_at", "updated_at").
			Updates(u).Error; err != nil {
			return nil, err
		}
		if err := s.audit(tx, AuditEvent{At: at, Type: kind, UserID: id.String(), Detail: detail{"changed": changed}}, by); err != nil {
			return nil, err
		}
		if reason == "" {
			return nil, nil
		}
		return s.revokeIn(tx, Target{Level: LevelUser, Subject: id.String()}, reason, by)
	})
	if err != nil {
		return nil, nil, err
	}
	return after, out, nil
}

// DeleteUser ends every token of the user and removes the user and the devices.
func (s *Store) DeleteUser(ctx context.Context, id uuid.UUID, by Actor) (*SignOut, error) {
	return s.change(ctx, func(tx *gorm.DB) (*SignOut, error) {
		u, err := s.lockUser(tx, id)
		if err != nil {
			return nil, err
		}
		a := args{"id": id}
		if err := s.raw(tx, `SELECT id FROM devices WHERE user_id = @id ORDER BY id {lock}`, a).Scan(&[]string{}).Error; err != nil {
			return nil, err
		}
		out, err := s.revokeIn(tx, Target{Level: LevelUser, Subject: id.String()}, ReasonUserDeleted, by)
		if err != nil {
			return nil, err
		}
		for _, table := range []string{`DELETE FROM devices WHERE user_id = @id`, `DELETE FROM users WHERE id = @id`} {
			if _, err := s.exec(tx, table, a); err != nil {
				return nil, err
			}
		}
		return out, s.audit(tx, AuditEvent{
			At: out.Revocation.CreatedAt, Type: AuditUserDeleted, UserID: id.String(), Detail: detail{"username": u.Username},
		}, by)
	})
}
