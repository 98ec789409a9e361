package models

import (
	"context"
	"errors"
	"strings"

	"github.com/google/uuid"
	"gorm.io/gorm"
)

// setPasswordAndSignInAnew is what a user's own change of the password comes to, in one commit: the password, an event
// for each of the user's devices, and a new sign-in on the caller's. Whoever changes the password because somebody else
// has a token is rid of him, also if it is a token of the same device.
func (s *Store) setPasswordAndSignInAnew(ctx context.Context, u *User, phc string, in PasswordChange, by Actor) (
	w *signingIn, out *SignOut, err error,
) {
	var client Client
	out, err = s.writeSignOut(ctx, func(tx *gorm.DB) (*SignOut, error) {
		// The user's row comes first: a sign-in that is under way has it, and its device is seen below.
		var now Micros
		err := s.row(tx, `UPDATE users SET password_hash = @hash, password_version = password_version + 1, updated_at = {now}
			WHERE id = @id AND password_version = @version AND disabled_at = 0 RETURNING updated_at`,
			args{"hash": phc, "id": u.ID, "version": u.PasswordVersion}, &now)
		if err != nil { // not found: it was changed by somebody else in between
			return nil, whenNotFound(err, ErrCredentials)
		}
		client, w = Client{}, &signingIn{self: by, device: &Device{}, again: true, SignIn: SignIn{
			User: u, Client: &client, Origin: Origin{IP: by.IP, UserAgent: by.UserAgent}.clean(),
		}}
		if err := s.lockOwnDevice(tx, w, in.KeepDevice); err != nil {
			return nil, err
		}
		if err := s.audit(tx, AuditEvent{
			At: now, Type: AuditPasswordChanged, UserID: u.ID.String(), ClientID: client.ID, DeviceID: w.device.ID.String(),
		}, by); err != nil {
			return nil, err
		}
		return &w.out, s.endAllAndSignInAnew(tx, w)
	})
	return w, out, err
}

// lockOwnDevice locks the device that asks, and makes sure that it is still signed in: the look at its token was before
// that at the password, which takes its time.
func (s *Store) lockOwnDevice(tx *gorm.DB, w *signingIn, id uuid.UUID) error {
	if err := s.lockDevice(tx, id, w.device); err != nil {
		return whenNotFound(err, ErrAccessToken)
	}
	var own uuid.UUID
	if err := s.row(tx, `SELECT d.id FROM devices d, users u, clients c, realm r
		WHERE d.id = @id AND d.user_id = @user AND`+ruleJoin+`AND `+aliveDevice,
		args{"id": id, "user": w.User.ID}, &own); err != nil {
		return whenNotFound(err, ErrAccessToken)
	}
	err := s.raw(tx, `SELECT * FROM clients WHERE id = @id`, args{"id": w.device.ClientID}).Take(w.Client).Error
	if err != nil {
		return err
	}
	if w.device.Resources != "" && common(w.device.Resources, w.Client.Resources) == "" {
		return ErrAccessToken // the client has lost all that it was for
	}
	return nil
}

// endAllAndSignInAnew ends every device of the user, but for the browser session that the caller's was signed in
// through, and signs the caller's in again. The count is that of the others.
func (s *Store) endAllAndSignInAnew(tx *gorm.DB, w *signingIn) error {
	d := w.device // its row is locked
	out, _, err := s.revokeBatch(tx, OtherDevices(w.User.ID, d.ID), uuid.Nil, 0, ReasonPasswordChanged, w.self)
	if err != nil {
		return err
	}
	others := out.Count
	if err := s.revokeDevices(tx, out, []*Device{d}, ReasonPasswordChanged, w.self, nil); err != nil {
		return err
	}
	if out.Count == others { // a wider sign-out was faster; from here on the realm's lock keeps others from it
		return ErrAccessToken
	}
	w.out, w.Scope = *out, d.Scope
	w.out.Count = others
	w.parent, w.Resources = d.ParentID, strings.Fields(common(d.Resources, w.Client.Resources))
	d.ValidFrom = max(d.ValidFrom, d.IssuedAt)
	if err = s.readSignInState(tx, w, d.ID); err == nil {
		if isShared(d, s.deviceMaxAge(w.Client)) {
			w.until = d.EndsAt
		}
		err = s.issue(tx, w)
	}
	if errors.Is(err, errStaleClient) { // it has changed since it was read above
		return errAgain
	}
	return err
}
