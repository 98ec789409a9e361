package models

import (
	"context"
	"errors"
	"slices"
	"strings"

	"github.com/google/uuid"
	"gorm.io/gorm"

	"curfew/internal/password"
)

// PasswordAttempt is one try to sign in.
type PasswordAttempt struct {
	Username string
	Password string
	IP       string    // where it comes from
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
	address := addressPrefix(in.IP)
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
		if err := s.hasher.VerifyUnknown(ctx, in.Password); err != nil {
			s.refund(ctx, "", guesses...)
			return nil, dbError(err)
		}
		return nil, ErrCredentials
	}
	ok, stale, err := s.hasher.Verify(ctx, u.PasswordHash, in.Password)
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

// userAt finds the user with this value in a column, and tells whether the attempt is from where it has a device, or
// names one: a stranger's guesses elsewhere do not lock the user out there.
func (s *Store) userAt(ctx context.Context, column string, value any, in PasswordAttempt) (u *User, known bool, err error) {
	var found struct {
		User
		Addresses string
		Named     bool
	}
	err = s.read(ctx, func(tx *gorm.DB) error {
		return s.raw(tx, `SELECT u.*, EXISTS (SELECT 1 FROM devices d WHERE d.id = @device AND d.user_id = u.id) AS named,
				coalesce((SELECT string_agg(p.ip, ' ')
					FROM (SELECT DISTINCT d.ip FROM devices d WHERE d.user_id = u.id LIMIT 1000) p), '') AS addresses
			FROM users u WHERE u.`+column+` = @value`, args{"device": in.DeviceID, "value": value}).Take(&found).Error
	})
	if err != nil {
		return nil, false, err
	}
	here := addressPrefix(in.IP)
	known = found.Named || slices.ContainsFunc(strings.Fields(found.Addresses), func(ip string) bool {
		return addressPrefix(ip) == here
	})
	return &found.User, known, nil
}

// rehash stores the same password in our own form. It is worth no failure: the next sign-in tries again.
func (s *Store) rehash(ctx context.Context, u *User, plain string) {
	phc, err := s.hasher.Hash(ctx, plain)
	if err == nil {
		err = s.autocommit(ctx, func(tx *gorm.DB) error {
			_, err := s.exec(tx, `UPDATE users SET password_hash = @new WHERE id = @id AND password_hash = @old`,
				args{"id": u.ID, "old": u.PasswordHash, "new": phc})
			return err
		})
	}
	if err != nil {
		s.log.Warn("a password could not be hashed anew", "user_id", u.ID, "error", err)
	}
}

// PasswordChange is what ChangePassword takes.
type PasswordChange struct {
	UserID     uuid.UUID
	Current    string
	New        string
	KeepDevice uuid.UUID // of the caller: signed in anew
	IP         string
}

// ChangePassword is the user's own change: it checks the current password, limits on guessing included, signs out the
// other devices, and signs the caller's own in anew, whose older tokens die too. Its errors are those of
// [Store.AuthenticateUser], [ErrPasswordPolicy], and [ErrAccessToken] if the caller's device is out by then.
//
// A sign-in that checked the old password cannot create a device any more once this has returned: it locks the user's
// row as this does, and signs in only the password version that it checked.
func (s *Store) ChangePassword(ctx context.Context, in PasswordChange, by Actor) (*Grant, *SignOut, error) {
	leave, err := s.enterCheck()
	if err != nil {
		return nil, nil, err
	}
	defer leave()
	attempt := PasswordAttempt{Password: in.Current, IP: in.IP, DeviceID: in.KeepDevice}
	u, known, err := s.userAt(ctx, "id", in.UserID, attempt)
	if err != nil {
		return nil, nil, err
	}
	if err := password.CheckPolicy(in.New, u.Username); err != nil {
		return nil, nil, err
	}
	if u, err = s.checkPassword(ctx, u, u.UsernameKey, known, attempt); err != nil {
		return nil, nil, err
	}
	phc, err := s.hasher.Hash(ctx, in.New)
	if err != nil {
		return nil, nil, dbError(err)
	}
	return s.setPasswordAndSignInAnew(ctx, u, phc, in, by)
}
