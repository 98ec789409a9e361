package models

import (
	"context"
	"errors"
	"slices"
	"strings"

	"github.com/google/uuid"
	"gorm.io/gorm"
)

// PasswordAttempt is one try to sign in.
type PasswordAttempt struct {
	Username string
	Password string
	IP       string    // what the limits count it for: where it comes from, or the proxy that does not say
	ByProxy  bool      // IP is such a proxy's: not for the audit log
	Agent    string    // the user agent, for the audit log
	DeviceID uuid.UUID // the device that the app says it is; uuid.Nil if it says nothing
}

// AuthenticateUser checks a password. Limits are asked before any place for hashing is taken, and at first those that
// this node remembers, before anything else; an unknown user costs the same work as a known one. It returns
// [ErrCredentials], [*ThrottledError], [ErrHashQueueFull] or [ErrUnavailable]. A right password whose stored hash is of
// another kind than ours is hashed anew.
//
// What the user was when the password was checked goes into [SignIn]: it signs in only the same user.
func (s *Store) AuthenticateUser(ctx context.Context, in PasswordAttempt) (*User, error) {
	account := accountOf(in)
	if err := s.blocked.refuses(s.passwordGuesses(account, in, fromAnywhere)); err != nil {
		return nil, err
	}
	if s.hashing.full(addressPrefix(in.IP), "account "+account) { // so nothing is asked in vain
		return nil, ErrHashQueueFull
	}
	leave, err := s.asking.enter(addressPrefix(in.IP))
	if err != nil {
		return nil, err
	}
	u, from := (*User)(nil), fromElsewhere
	if mayBeUsername(in.Username) {
		u, from, err = s.userNamed(ctx, in)
	}
	leave()
	if err != nil && !errors.Is(err, ErrNotFound) {
		return nil, err
	}
	if err := s.blocked.refuses(s.passwordGuesses(account, in, from)[anywhere:]); err != nil {
		return nil, err
	}
	return s.checkPassword(ctx, u, account, from, in)
}

// RefusesAttempt says what this node knows, without asking anybody and without any work, of why an attempt would be
// refused now. Who looks at something else before the password, like the client, asks here first.
func (s *Store) RefusesAttempt(in PasswordAttempt) error {
	account := accountOf(in)
	if err := s.blocked.look(s.passwordGuesses(account, in, fromAnywhere), false); err != nil {
		return err
	}
	if s.hashing.full(addressPrefix(in.IP), "account "+account) {
		return ErrHashQueueFull
	}
	return nil
}

// accountOf is the name that the limits of an account count under, whether there is such a user or not.
func accountOf(in PasswordAttempt) string {
	account := usernameKey(in.Username)
	return account[:min(len(account), MaxUsername)]
}

// whence is how well a user is known where an attempt comes from.
type whence int

const (
	fromElsewhere whence = iota // a stranger, for all that is known
	fromDevice                  // it names a device on which the user is signed in
	fromAddress                 // the user is signed in from there
	fromAnywhere                // not looked up yet
)

// anywhere is how many of the passwordGuesses there are from wherever an attempt comes.
const anywhere = 3

// passwordGuesses are all that a wrong password counts against, and the user's sign-ins, which only a right one does.
func (s *Store) passwordGuesses(account string, in PasswordAttempt, from whence) []guess {
	address := addressPrefix(in.IP)
	guesses := []guess{
		s.accountGuess(limitAccountAddress, account, address), s.guess(limitAddress, address),
		s.accountGuess(limitSignIns, account),
	}
	switch from {
	case fromElsewhere:
		guesses = append(guesses, s.accountGuess(limitAccount, account))
	case fromDevice:
		guesses = append(guesses, s.accountGuess(limitDevice, account, in.DeviceID.String()))
	}
	return guesses
}

// admitAttempt charges the guesses. One that is refused while others of the same limit are under way waits for them,
// without a place anywhere: they are no failures yet.
func (s *Store) admitAttempt(ctx context.Context, address string, guesses []guess) (usedUp []guess, err error) {
	waiting, cancel := context.WithTimeout(ctx, waitUnderWay)
	defer cancel()
	for {
		leave, err := s.asking.enter(address)
		if err != nil {
			return nil, err
		}
		before := s.underWay.begin(guesses)
		usedUp, err := s.charge(ctx, guesses...)
		leave()
		refused, ok := errors.AsType[refusals](err)
		switch {
		case err == nil:
			s.blocked.forget(guesses)
			return usedUp, nil
		case !ok:
			s.underWay.end(guesses, func(guess) bool { return false })
			return nil, err
		case s.underWay.retry(waiting, guesses, refused[0].key, before[refused[0].key]):
			continue
		}
		for _, r := range refused {
			s.blocked.block(r.key, r.wait)
		}
		return nil, refused.throttled()
	}
}

// checkPassword counts the attempt, takes a place, and looks at the password. u is nil for a user that does not exist.
func (s *Store) checkPassword(
	ctx context.Context, u *User, account string, from whence, in PasswordAttempt,
) (*User, error) {
	address, guesses := addressPrefix(in.IP), s.passwordGuesses(account, in, from)
	clears := guesses[0].key
	usedUp, err := s.admitAttempt(ctx, address, guesses)
	if err != nil {
		return nil, err
	}
	ok, stale, err := s.lookAtPassword(ctx, u, account, address, in.Password)
	// What does not count is given back: everything if it was not looked at, and of a right password all but that it
	// was one.
	back := func(g guess) bool { return err != nil || ok != (g.limit == limitSignIns) }
	given := slices.DeleteFunc(slices.Clone(guesses), func(g guess) bool { return !back(g) })
	if !ok {
		clears = ""
	}
	s.refund(ctx, clears, given...)
	s.underWay.end(guesses, back)
	if err != nil {
		return nil, dbError(err)
	}
	s.noteAttempt(ctx, u, ok, in, slices.DeleteFunc(usedUp, back))
	switch {
	case !ok, u.DisabledAt != 0:
		return nil, ErrCredentials
	case stale:
		s.rehash(ctx, u, in.Password)
	}
	return u, nil
}

// lookAtPassword takes a place, waits for a turn, and hashes.
func (s *Store) lookAtPassword(ctx context.Context, u *User, account, address, plain string) (
	ok, stale bool, err error,
) {
	leave, err := s.hashing.enter(address, "account "+account)
	if err != nil {
		return false, false, err
	}
	defer leave()
	for _, name := range []string{address, "account " + account} {
		done, err := s.hashing.turn(ctx, name, s.hasher.LongestWait())
		if err != nil {
			return false, false, err
		}
		defer done()
	}
	if u == nil {
		return false, false, s.hasher.VerifyUnknown(ctx, plain)
	}
	return s.hasher.Verify(ctx, u.PasswordHash, plain)
}

// noteAttempt tells the audit log of a wrong password, and of every limit that an attempt has used up. There are no
// more of these events than the limits let attempts through. A name that nobody has stays out: it may be a password
// that was typed into the wrong field.
func (s *Store) noteAttempt(ctx context.Context, u *User, ok bool, in PasswordAttempt, usedUp []guess) {
	var events []AuditEvent
	if !ok {
		events = append(events, AuditEvent{Type: AuditWrongPassword})
	}
	for _, g := range usedUp {
		events = append(events, AuditEvent{Type: AuditLimitReached, Detail: detail{"limit": g.name}})
	}
	for i := range events {
		if u != nil {
			events[i].UserID = u.ID.String()
		}
	}
	s.note(ctx, Actor{Entity: EntityUser, IP: knownIP(in.IP, in.ByProxy), UserAgent: in.Agent}, events...)
}

// note writes events of what changed nothing else. They are worth no failure.
func (s *Store) note(ctx context.Context, by Actor, events ...AuditEvent) {
	if len(events) == 0 {
		return
	}
	err := s.write(ctx, func(tx *gorm.DB) error {
		now, err := s.now(tx)
		for _, e := range events {
			if e.At = now; err == nil {
				err = s.audit(tx, e, by)
			}
		}
		return err
	})
	if err != nil {
		s.log.Warn("the audit log could not be told of an attempt", "type", events[0].Type, "error", err)
	}
}

// knownDevices is how many of a user's devices, the newest, are looked at for the addresses where the user is known:
// however many there are, an attempt costs the same.
const knownDevices = 200

// userNamed is userAt for the name that was typed.
func (s *Store) userNamed(ctx context.Context, in PasswordAttempt) (u *User, from whence, err error) {
	key, err := s.storedKey(ctx, in.Username)
	if err != nil {
		return nil, fromElsewhere, err
	}
	return s.userAt(ctx, "username_key", key, in)
}

// userAt finds the user with this value in a column, and tells whether the user is signed in where the attempt comes
// from, or on the device that it names: a stranger's guesses elsewhere do not lock the user out there.
func (s *Store) userAt(ctx context.Context, column string, value any, in PasswordAttempt) (
	u *User, from whence, err error,
) {
	var found struct {
		User
		Addresses string
		Named     bool
	}
	err = s.read(ctx, func(tx *gorm.DB) error {
		return s.raw(tx, userAtStatement+` WHERE u.`+column+` = @value`,
			args{"device": in.DeviceID, "value": value, "known": knownDevices}).Take(&found).Error
	})
	if err != nil {
		return nil, fromElsewhere, err
	}
	here := addressPrefix(in.IP)
	switch {
	case slices.ContainsFunc(strings.Fields(found.Addresses), func(ip string) bool { return addressPrefix(ip) == here }):
		from = fromAddress
	case found.Named:
		from = fromDevice
	}
	return &found.User, from, nil
}

const userAtStatement = `SELECT u.*,
		EXISTS (SELECT 1 FROM devices d, clients c, realm r
			WHERE d.id = @device AND` + ruleJoin + `AND ` + aliveDevice + `) AS named,
		coalesce((SELECT string_agg(p.ip, ' ') FROM (SELECT DISTINCT d.ip
			FROM (SELECT n.* FROM devices n WHERE n.user_id = u.id ORDER BY n.id DESC LIMIT @known) d, clients c, realm r
			WHERE` + ruleJoin + `AND ` + aliveDevice + `) p), '') AS addresses
	FROM users u`

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
	IP         string    // what the limits count it for
	ByProxy    bool      // as in [PasswordAttempt]
}

// ChangePassword is the user's own change: it checks the current password, limits on guessing included, signs out the
// other devices, and signs the caller's own in anew, whose older tokens die too. Its errors are those of
// [Store.AuthenticateUser], [ErrPasswordPolicy], and [ErrAccessToken] if the caller's device is out by then.
//
// A sign-in that checked the old password cannot create a device any more once this has returned: it locks the user's
// row as this does, and signs in only the password version that it checked.
func (s *Store) ChangePassword(ctx context.Context, in PasswordChange, by Actor) (*Grant, *SignOut, error) {
	w, out, err := s.changePassword(ctx, in, by)
	if err != nil {
		return nil, nil, err
	}
	g, err := s.grant(w.device, w.Client, common(w.device.Scope, w.Client.Scopes), w.now)
	return g, out, err
}

func (s *Store) changePassword(ctx context.Context, in PasswordChange, by Actor) (*signingIn, *SignOut, error) {
	attempt := PasswordAttempt{
		Password: in.Current, IP: in.IP, Agent: by.UserAgent, ByProxy: in.ByProxy, DeviceID: in.KeepDevice,
	}
	u, from, err := s.userAt(ctx, "id", in.UserID, attempt)
	if err != nil {
		return nil, nil, err
	}
	if err := s.policy.Check(in.New, u.Username); err != nil {
		return nil, nil, err
	}
	if err := s.blocked.refuses(s.passwordGuesses(u.UsernameKey, attempt, from)); err != nil {
		return nil, nil, err
	}
	if u, err = s.checkPassword(ctx, u, u.UsernameKey, from, attempt); err != nil {
		return nil, nil, err
	}
	if err := s.policy.CheckBreaches(ctx, in.New); err != nil { // not before: it costs others something
		return nil, nil, err
	}
	phc, err := s.hasher.Hash(ctx, in.New)
	if err != nil {
		return nil, nil, dbError(err)
	}
	return s.setPasswordAndSignInAnew(ctx, u, phc, in, by)
}
