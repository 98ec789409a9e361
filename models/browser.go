package models

import (
	"context"
	"errors"
	"time"

	"github.com/google/uuid"
	"gorm.io/gorm"
)

// A browser session is a device of a built-in client. What the browser holds is a cookie: derived like a refresh token,
// so that the database holds nothing it could be made from, and taken by nothing but the methods of this file. It opens
// pages; no token is issued for it.

// BrowserSession is a browser that is signed in. Its device is the session's row.
type BrowserSession struct {
	Device
	User    *User         // as it is now
	AuthAge time.Duration // since the password was given, by the database's clock
	cookie  refreshToken
}

// BrowserCookie is what a browser presents, and for which of the built-in clients.
type BrowserCookie struct {
	ClientID string // [ClientBrowser] or [ClientConsole]
	Value    string
	Origin   Origin
}

// fitting tells whether a cookie's id is the session's, or the one before within the reuse interval: several tabs sign
// in at once.
const fitting = `(d.refresh_id = @refresh OR (d.previous_refresh_id = @refresh AND {now} < d.rotated_at + @reuse))`

// AuthenticateBrowser is the one rule for a browser session, asked of the database. It returns [ErrBrowserSession] for
// every reason, and [ErrUnavailable] if the database cannot be asked. The session counts as seen, and its idle time
// begins anew, at most once a minute.
func (s *Store) AuthenticateBrowser(ctx context.Context, in BrowserCookie) (*BrowserSession, error) {
	cookie, ok := s.secret.parseDerived(browserCookies, in.Value)
	if !ok || !builtIn(in.ClientID) {
		return nil, ErrBrowserSession
	}
	var b *BrowserSession
	var now Micros
	err := s.read(ctx, func(tx *gorm.DB) (err error) {
		if now, err = s.now(tx); err != nil {
			return err
		}
		b, err = s.findSession(tx, in.ClientID, cookie)
		return err
	})
	if err != nil {
		return nil, whenNotFound(err, ErrBrowserSession)
	}
	b.AuthAge = now.Sub(b.AuthAt)
	if now.Sub(b.LastSeenAt) >= seenEvery {
		s.touchBrowser(ctx, b, in.Origin.clean())
	}
	return b, nil
}

func (s *Store) findSession(tx *gorm.DB, client string, cookie refreshToken) (*BrowserSession, error) {
	var found struct {
		Device
		User User `gorm:"embedded;embeddedPrefix:of_"`
	}
	err := s.raw(tx, `SELECT d.*, u.id AS of_id, u.username AS of_username, u.username_key AS of_username_key,
			u.password_version AS of_password_version, u.admin AS of_admin, u.name AS of_name, u.email AS of_email,
			u.email_verified AS of_email_verified, u.valid_from AS of_valid_from, u.created_at AS of_created_at,
			u.updated_at AS of_updated_at
		FROM devices d, users u, clients c, realm r
		WHERE d.id = @device AND d.client_id = @client AND c.built_in AND `+fitting+` AND`+ruleJoin+`AND `+aliveDevice+`
			AND `+withinBrowserLifetimes, s.lifetimes(args{
		"device": cookie.DeviceID, "refresh": cookie.RefreshID, "client": client, "reuse": s.cfg.ReuseInterval,
	})).Take(&found).Error
	if err != nil {
		return nil, err
	}
	return &BrowserSession{Device: found.Device, User: &found.User, cookie: cookie}, nil
}

// touchBrowser notes that the session was seen. It is worth no failure, and waits for nobody.
func (s *Store) touchBrowser(ctx context.Context, b *BrowserSession, from Origin) {
	err := s.autocommit(ctx, func(tx *gorm.DB) error {
		_, err := s.exec(tx, `UPDATE devices SET last_seen_at = {now}, expires_at = {least}({now} + @ttl, ends_at),
				ip = @ip, user_agent = @agent
			WHERE id IN (SELECT id FROM devices WHERE id = @id AND refresh_id = @refresh AND expires_at > {now}
				AND last_seen_at <= {now} - @every {skip locked})`, args{
			"id": b.ID, "refresh": b.RefreshID, "ttl": s.cfg.RefreshTTL, "every": seenEvery, "ip": from.IP,
			"agent": from.UserAgent,
		})
		return err
	})
	if err != nil {
		s.log.Warn("when a browser was last seen could not be written", "error", err)
	}
}

// BrowserSignIn is a sign-in on our own page, whose password has been checked.
type BrowserSignIn struct {
	User     *User
	ClientID string        // [ClientBrowser], or [ClientConsole] for an admin
	Cookie   string        // what the browser has held until now; may be anything
	Marker   uuid.UUID     // what names the browser: the id of its session before; uuid.Nil if it has none
	Name     string        // of a new device
	Most     time.Duration // after which it ends in any case (a shared computer); 0: the server's
	Origin   Origin
}

// SignInBrowser makes a browser session, or renews the one that the browser has: of the same user it ends nothing, but
// there is a new cookie and the password was given now. Its cookie must prove it, but for tabs that sign in within the
// reuse interval. The session of another user in the same browser is signed out in the same commit, with its children,
// if its cookie proves it. The id of the session is the browser's next marker.
//
// Like [Store.SignIn] it returns [ErrCredentials] for a user that has changed since the password was checked, and
// [ErrScope] for somebody who is no admin at the console, who leaves no device.
func (s *Store) SignInBrowser(ctx context.Context, in BrowserSignIn) (*BrowserSession, string, error) {
	if !builtIn(in.ClientID) {
		return nil, "", invalid("the client %q has no browser sessions", in.ClientID)
	}
	client, err := s.GetClient(ctx, in.ClientID)
	if err != nil {
		return nil, "", err
	}
	var w *signingIn
	_, err = s.writeSignOut(ctx, func(tx *gorm.DB) (*SignOut, error) {
		w = newSigningIn(SignIn{
			User: in.User, Client: client, DeviceID: in.Marker, Name: in.Name, Origin: in.Origin,
		})
		w.most = in.Most
		if in.ClientID == ClientConsole {
			w.Scope = ScopeAdmin
		}
		if err := s.admit(tx, w); err != nil {
			return nil, err
		}
		w.Scope = ""
		return &w.out, s.signInBrowser(tx, w, in)
	})
	if err != nil {
		return nil, "", err
	}
	s.countSignIn(w)
	b := &BrowserSession{Device: *w.device, User: in.User, cookie: refreshToken{w.device.ID, w.device.RefreshID}}
	return b, s.secret.derive(browserCookies, b.cookie), nil
}

func (s *Store) signInBrowser(tx *gorm.DB, w *signingIn, in BrowserSignIn) error {
	presented, ok := s.secret.parseDerived(browserCookies, in.Cookie)
	if ok {
		if err := s.findFormer(tx, w, presented); err != nil {
			return err
		}
	}
	renews, err := s.findRenewed(tx, w, presented)
	if err != nil {
		return err
	}
	if renews {
		if err := s.endDevices(tx, &w.out, w.ends); err != nil {
			return err
		}
		return s.renewBrowser(tx, w, presented)
	}
	if err := s.findDevice(tx, w); err != nil {
		return err
	}
	if err := s.issue(tx, w); err != nil {
		return err
	}
	return s.auditSignIn(tx, w)
}

// findFormer looks whose session the browser's cookie is. The user's own is the one to renew; another user's ends.
func (s *Store) findFormer(tx *gorm.DB, w *signingIn, presented refreshToken) error {
	former, err := s.findSession(tx, w.Client.ID, presented)
	if errors.Is(dbError(err), ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	if former.UserID == w.User.ID {
		w.DeviceID = former.ID
		return nil
	}
	locked := &Device{}
	if err := s.lockDevice(tx, former.ID, locked); err != nil {
		return err
	}
	if w.DeviceID == former.ID {
		w.DeviceID = uuid.Nil // the browser gets a new name
	}
	w.ends = append(w.ends, ending{Device: locked, why: ReasonSignedOut, by: w.self})
	return nil
}

// findRenewed locks the user's session in this browser, and tells whether it is to be renewed. The marker, which lists
// show, is enough for that only while tabs sign in at the same moment. Later whoever lacks the cookie signs in again on
// the same GUID, like any device: what was of before ends, and the log and the notices say so.
func (s *Store) findRenewed(tx *gorm.DB, w *signingIn, presented refreshToken) (bool, error) {
	if w.DeviceID == uuid.Nil {
		return false, nil
	}
	d := &Device{}
	if err := s.lockDevice(tx, w.DeviceID, d); err != nil {
		return false, whenNotFound(err, nil)
	}
	if d.UserID != w.User.ID || d.ClientID != w.Client.ID {
		return false, nil
	}
	// A statement of its own: what it reads is newer than the lock.
	var alive, now bool
	err := s.row(tx, `SELECT `+aliveDevice+` AND `+withinBrowserLifetimes+`, {now} < d.rotated_at + @reuse
		FROM devices d, users u, clients c, realm r WHERE d.id = @id AND`+ruleJoin,
		s.lifetimes(args{"id": d.ID, "reuse": s.cfg.ReuseInterval}), &alive, &now)
	w.device, w.again = d, true
	return alive && (now || presented == refreshToken{d.ID, d.RefreshID}), err
}

// renewBrowser gives the session, whose row is locked, a new cookie and the time of the password that was just given.
// Its life begins anew. Tabs that sign in at the same moment get the same cookie, whichever of their answers the
// browser sees last.
func (s *Store) renewBrowser(tx *gorm.DB, w *signingIn, presented refreshToken) error {
	d := w.device
	if err := s.readSignInState(tx, w, d.ID); err != nil {
		return err
	}
	issued, err := s.issueTime(tx, w, d.ID)
	if err != nil {
		return err
	}
	isCurrent := presented.DeviceID == d.ID && presented.RefreshID == d.RefreshID
	if isCurrent || w.now >= d.RotatedAt.Add(s.cfg.ReuseInterval) {
		d.PreviousRefreshID, d.RefreshID, d.RotatedAt = d.RefreshID, nextRefreshID(d.RefreshID), w.now
	}
	d.IssuedAt = max(issued, d.IssuedAt)
	d.SignedInAt, d.AuthAt, d.LastSeenAt = d.IssuedAt, w.now, w.now
	s.setEnd(w)
	d.IP, d.UserAgent = w.Origin.IP, w.Origin.UserAgent
	if err := s.updateDevice(tx, d); err != nil {
		return err
	}
	return s.audit(tx, AuditEvent{
		At: w.now, Type: AuditRenewed, UserID: d.UserID.String(), ClientID: d.ClientID, DeviceID: d.ID.String(),
	}, w.self)
}

// SignOutBrowser signs out the session of a cookie, with its children. Any cookie since the sign-in will do: a log-out
// must win its race with a renewal in another tab. It returns nil if there is nothing to end.
func (s *Store) SignOutBrowser(ctx context.Context, in BrowserCookie) (*SignOut, error) {
	cookie, ok := s.secret.parseDerived(browserCookies, in.Value)
	if !ok || !builtIn(in.ClientID) {
		return nil, nil
	}
	from := in.Origin.clean()
	return s.writeSignOut(ctx, func(tx *gorm.DB) (*SignOut, error) {
		var d Device
		if err := s.lockDevice(tx, cookie.DeviceID, &d); err != nil {
			return nil, whenNotFound(err, nil)
		}
		if d.ClientID != in.ClientID || !sameFamily(d.RefreshID, cookie.RefreshID) {
			return nil, nil
		}
		by := Actor{Entity: EntityUser, ID: d.UserID.String(), IP: from.IP, UserAgent: from.UserAgent}
		out, err := s.revokeIn(tx, OneDevice(d.ID), ReasonSignedOut, by)
		return out, whenNotFound(err, nil) // its user is gone
	})
}

// ChangePasswordInBrowser is [Store.ChangePassword] on our own page, of the session's user: the session is signed in
// anew, with the cookie that is returned. It returns [ErrBrowserSession] if the session is out by then.
func (s *Store) ChangePasswordInBrowser(ctx context.Context, b *BrowserSession, in PasswordChange, by Actor) (
	cookie string, out *SignOut, err error,
) {
	in.UserID, in.KeepDevice = b.UserID, b.ID
	w, out, err := s.changePassword(ctx, in, by)
	if errors.Is(err, ErrAccessToken) {
		err = ErrBrowserSession
	}
	if err != nil {
		return "", nil, err
	}
	return s.secret.derive(browserCookies, refreshToken{w.device.ID, w.device.RefreshID}), out, nil
}
