package models

import (
	"cmp"
	"context"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"
	"gorm.io/gorm"
)

// Origin is where a request came from.
type Origin struct {
	IP        string
	UserAgent string
}

func (o Origin) clean() Origin {
	return Origin{IP: cleanText(o.IP, 64), UserAgent: cleanText(o.UserAgent, maxUserAgent)}
}

// SignIn is a password grant whose client and password have been checked.
type SignIn struct {
	User     *User
	Client   *Client
	Scope    string    // granted already; see [GrantedScope]
	DeviceID uuid.UUID // what the app says it is; uuid.Nil for a new device
	Name     string    // of a new device
	Origin   Origin

	Resources []string // what its tokens are for, RFC 8707; none for the server's audience
}

// SignIn makes a device and its first tokens, or signs the same device in again: same user, same client, same GUID. A
// GUID that nobody has becomes the new device's; one that belongs to somebody else is not touched, and a fresh one is
// given. With too many devices the longest unseen is signed out.
//
// It signs in the user only as it was when the password was checked: a password that was changed, or a user that was
// disabled or deleted since then, is [ErrCredentials]. The scope admin for somebody else is [ErrScope]; the audit log
// tells of it, so that a password is not tried out in silence. A resource that the client has not is [ErrTarget].
func (s *Store) SignIn(ctx context.Context, in SignIn) (*Grant, error) {
	if err := in.Client.checkResources(in.Resources); err != nil {
		return nil, err
	}
	var w *signingIn
	_, err := s.writeSignOut(ctx, func(tx *gorm.DB) (*SignOut, error) {
		w = newSigningIn(in)
		for _, step := range []func(*gorm.DB, *signingIn) error{s.admit, s.findDevice, s.issue, s.auditSignIn} {
			if err := step(tx, w); err != nil {
				return nil, err
			}
		}
		return &w.out, nil
	})
	if err != nil {
		return nil, err
	}
	s.countSignIn(w)
	return s.grant(w.device, in.Client, w.device.Scope, w.now)
}

func (s *Store) countSignIn(w *signingIn) {
	s.Stats.SignIns.Add(1)
	if w.again {
		s.Stats.SignInsAgain.Add(1)
	}
}

// signingIn is a sign-in under way: [Store.admit], [Store.findDevice], [Store.issue], [Store.auditSignIn], in one
// transaction.
type signingIn struct {
	SignIn
	parent uuid.UUID     // the browser session whose code it comes from
	authAt Micros        // when the password was given, if not now
	most   time.Duration // after which it ends in any case, if the server's is not sooner; 0: none
	until  Micros        // likewise, as a moment
	self   Actor
	device *Device
	again  bool     // the device was there
	ends   []ending // what the sign-in signs out, beside what it finds in the way
	out    SignOut
	signInState
}

func newSigningIn(in SignIn) *signingIn {
	in.Name, in.Origin = cmp.Or(DeviceName(in.Name), "Unknown device"), in.Origin.clean()
	return &signingIn{SignIn: in, self: Actor{
		Entity: EntityUser, ID: in.User.ID.String(), IP: in.Origin.IP, UserAgent: in.Origin.UserAgent,
	}}
}

// signInState is what decides about the issue time of a sign-in, all of one snapshot.
type signInState struct {
	now, horizon Micros
	validFrom    Micros // of user, client and everyone
	others       int    // devices of the user that are signed in, without the one that signs in again
}

// admit locks the user's row, so that sign-ins of the same user come one after the other, and looks whether the user is
// still who was authenticated.
func (s *Store) admit(tx *gorm.DB, w *signingIn) error {
	u, err := s.lockUser(tx, w.User.ID)
	if err != nil {
		return whenNotFound(err, ErrCredentials)
	}
	// mutant: sign-in-does-not-look-at-the-password-again
	// mutant: sign-in-does-not-look-whether-the-user-was-disabled
	if u.PasswordVersion != w.User.PasswordVersion || u.DisabledAt != 0 {
		return ErrCredentials
	}
	if u.Admin || !slices.Contains(strings.Fields(w.Scope), ScopeAdmin) {
		return nil
	}
	now, err := s.now(tx)
	if err != nil {
		return err
	}
	return s.refuseAdmin(tx, now, u.ID, w.Client.ID, w.Origin)
}

// refuseAdmin refuses the scope admin to somebody who is none, and the audit log tells of it.
func (s *Store) refuseAdmin(tx *gorm.DB, now Micros, user uuid.UUID, client string, from Origin) error {
	refused := AuditEvent{At: now, Type: AuditAdminRefused, UserID: user.String(), ClientID: client}
	by := Actor{Entity: EntityUser, ID: user.String(), IP: from.IP, UserAgent: from.UserAgent}
	if err := s.audit(tx, refused, by); err != nil {
		return err
	}
	return commitAndFail(ErrScope)
}

// findDevice finds the device that signs in again, whose older tokens die, or begins a new one; and makes room for it.
func (s *Store) findDevice(tx *gorm.DB, w *signingIn) error {
	w.device = &Device{ID: w.DeviceID, UserID: w.User.ID, ClientID: w.Client.ID, Name: w.Name}
	own := uuid.Nil
	if w.DeviceID != uuid.Nil {
		var mine []*Device
		if err := s.raw(tx, `SELECT * FROM devices WHERE id = @id AND user_id = @user AND client_id = @client {lock}`,
			args{"id": w.DeviceID, "user": w.User.ID, "client": w.Client.ID}).Scan(&mine).Error; err != nil {
			return err
		}
		if w.again = len(mine) == 1; w.again {
			w.device, own = mine[0], mine[0].ID
		}
	}
	if err := s.readSignInState(tx, w, own); err != nil {
		return err
	}
	room, err := s.makeRoom(tx, w, own)
	if err != nil {
		return err
	}
	ends := append(w.ends, room...)
	if !w.again {
		return s.endDevices(tx, &w.out, ends)
	}
	// A device that is out already has no tokens, and makes no event.
	var alive bool
	if err := s.row(tx, `SELECT `+aliveDevice+` FROM devices d, users u, clients c, realm r
		WHERE d.id = @id AND`+ruleJoin, args{"id": own}, &alive); err != nil {
		return err
	}
	// mutant: signing-in-again-makes-no-event
	if alive {
		ends = append(ends, ending{Device: w.device, why: ReasonSignedInAgain, by: w.self})
	}
	if err := s.endDevices(tx, &w.out, ends); err != nil {
		return err
	}
	w.device.ValidFrom = max(w.device.ValidFrom, w.device.IssuedAt)
	return nil
}

// issueTime finds the issue time: above every valid_from and not above the horizon, all of one snapshot.
func (s *Store) issueTime(tx *gorm.DB, w *signingIn, own uuid.UUID) (Micros, error) {
	for {
		issued := max(w.now, w.validFrom+1, w.device.ValidFrom+1)
		if issued <= w.horizon {
			s.keepHorizonAhead(w.now, w.horizon)
			return issued, nil
		}
		if err := s.pushHorizonIn(tx, issued); err != nil {
			return 0, err
		}
		if err := s.readSignInState(tx, w, own); err != nil {
			return 0, err
		}
	}
}

// issue writes the device with its issue time.
func (s *Store) issue(tx *gorm.DB, w *signingIn) error {
	d, own := w.device, uuid.Nil
	if w.again {
		own = d.ID
	}
	issued, err := s.issueTime(tx, w, own)
	if err != nil {
		return err
	}
	d.SignedInAt, d.IssuedAt, d.RotatedAt, d.LastSeenAt = issued, issued, w.now, w.now
	// mutant: token-family-kept-at-sign-in
	d.RefreshID = newFamily(d.RefreshID)
	if !w.again {
		d.CreatedAt = w.now
		d.ValidFrom = issued - 1 // a row of the same GUID may have been removed: its tokens, issued before, stay dead
	}
	d.PreviousRefreshID = uuid.Nil
	s.setEnd(w)
	d.Scope, d.IP, d.UserAgent = w.Scope, w.Origin.IP, w.Origin.UserAgent
	d.ParentID, d.Resources = w.parent, strings.Join(w.Resources, " ")
	d.Offline = w.parent != uuid.Nil && covers(w.Scope, ScopeOfflineAccess)
	if d.AuthAt = w.authAt; d.AuthAt == 0 {
		d.AuthAt = w.now
	}
	if w.again {
		return s.updateDevice(tx, d)
	}
	return s.insertDevice(tx, d)
}

// setEnd says when the device ends, and when unless it is used before.
func (s *Store) setEnd(w *signingIn) {
	d := w.device
	d.EndsAt = never
	if age := s.deviceMaxAge(w.Client); age > 0 {
		d.EndsAt = w.now.Add(age)
	}
	if w.most > 0 {
		d.EndsAt = min(d.EndsAt, w.now.Add(w.most))
	}
	if w.until > 0 {
		d.EndsAt = min(d.EndsAt, w.until)
	}
	life := s.refreshTTL(w.Client)
	if !w.Client.HasGrant(GrantRefreshToken) && !w.Client.BuiltIn {
		life = s.accessTTL(w.Client) + 2*time.Second // what rounding up can add
	}
	d.ExpiresAt = min(w.now.Add(life), d.EndsAt)
}

// isShared tells whether a device, which may live for maxAge (0: for ever) otherwise, was given a sooner end: a browser
// on a shared computer, or an app that was signed in through it.
func isShared(d *Device, maxAge time.Duration) bool {
	if maxAge > 0 {
		return d.EndsAt < d.AuthAt.Add(maxAge)
	}
	return d.EndsAt < never
}

// auditSignIn tells of a sign-in that has been written.
func (s *Store) auditSignIn(tx *gorm.DB, w *signingIn) error {
	d, kind := w.device, AuditSignedIn
	if w.again {
		kind = AuditSignedInAgain
	}
	what := detail{"name": d.Name, "scope": d.Scope}
	if d.ParentID != uuid.Nil {
		what["parent_id"] = d.ParentID
	}
	return s.audit(tx, AuditEvent{
		At: w.now, Type: kind, UserID: d.UserID.String(), ClientID: d.ClientID, DeviceID: d.ID.String(),
		Detail: what,
	}, w.self)
}

// readSignInState comes after the user's row was locked: it is newer than what that waited for, and the user's devices
// do not become more.
func (s *Store) readSignInState(tx *gorm.DB, w *signingIn, own uuid.UUID) error {
	var version int64
	err := s.row(tx, `SELECT c.version, {greatest}(u.valid_from, c.valid_from, r.valid_from), r.horizon, {now},
			(SELECT count(*)`+otherDevices+`)
		FROM users u, clients c, realm r WHERE u.id = @user AND c.id = @client`,
		args{"user": w.User.ID, "client": w.Client.ID, "device": own},
		&version, &w.validFrom, &w.horizon, &w.now, &w.others)
	if err == nil && version != w.Client.Version {
		return errStaleClient
	}
	return whenNotFound(err, ErrClientCredentials)
}

// otherDevices are those of a user that are signed in, but for one.
const otherDevices = ` FROM devices d, users u, clients c, realm r
	WHERE d.user_id = @user AND d.id <> @device AND` + ruleJoin + `AND ` + aliveDevice

func (s *Store) updateDevice(tx *gorm.DB, d *Device) error {
	res := tx.Model(d).Select("*").Omit("id", "user_id", "client_id", "name", "created_at").Updates(d)
	if res.Error == nil && res.RowsAffected != 1 {
		return errAgain
	}
	return res.Error
}

// insertDevice stores a new device. Where somebody has its GUID it gets a fresh one, and the answer does not tell.
func (s *Store) insertDevice(tx *gorm.DB, d *Device) error {
	for try := 0; ; try++ {
		if d.ID == uuid.Nil || try > 0 {
			var err error
			if d.ID, err = uuid.NewV7(); err != nil {
				return err
			}
		}
		n, err := s.exec(tx, `INSERT INTO devices (
				id, user_id, refresh_id, previous_refresh_id, rotated_at, issued_at, signed_in_at, valid_from,
				expires_at, ends_at, last_seen_at, created_at, client_id, name, scope, ip, user_agent,
				parent_id, offline, auth_at, resources)
			VALUES (@id, @user, @refresh, @previous, @rotated, @issued, @signed, @valid,
				@expires, @ends, @seen, @created, @client, @name, @scope, @ip, @agent,
				@parent, @offline, @auth, @resources)
			ON CONFLICT (id) DO NOTHING`, args{
			"id": d.ID, "user": d.UserID, "refresh": d.RefreshID, "previous": d.PreviousRefreshID, "rotated": d.RotatedAt,
			"issued": d.IssuedAt, "signed": d.SignedInAt, "valid": d.ValidFrom, "expires": d.ExpiresAt, "ends": d.EndsAt,
			"seen": d.LastSeenAt, "created": d.CreatedAt, "client": d.ClientID, "name": d.Name, "scope": d.Scope,
			"ip": d.IP, "agent": d.UserAgent,
			"parent": d.ParentID, "offline": d.Offline, "auth": d.AuthAt, "resources": d.Resources,
		})
		if n > 0 || err != nil {
			return err
		}
	}
}
