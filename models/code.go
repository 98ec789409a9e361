package models

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"regexp"
	"strings"

	"github.com/google/uuid"
	"gorm.io/gorm"
)

// Code is an authorization code, RFC 6749 section 4.1: what it was made for, by its hash. It is spent by
// [Store.ExchangeCode].
type Code struct {
	Hash        []byte `gorm:"primaryKey"` // SHA-256
	ClientID    string
	UserID      uuid.UUID
	ParentID    uuid.UUID // the browser session that it was made in
	RedirectURI string    `gorm:"column:redirect_uri"`
	Challenge   string    // RFC 7636, S256; empty for a client that may do without
	Scope       string
	Resources   string // separated by spaces; empty: the server's audience
	Nonce       string // OpenID Connect, as it was asked for
	AuthAt      Micros // when the password was given
	IssuedAt    Micros // its issue time: it is one of the tokens of its user, client and browser session
	ExpiresAt   Micros
	UsedAt      Micros    // the issue time of the sign-in that it became; 0: not spent
	DeviceID    uuid.UUID // the device that it made
}

// What a client's codes need, RFC 7636.
const (
	PKCERequired = "required"
	PKCEOptional = "optional"
)

const (
	codePrefix = "curfew_ac_" // for secret scanners
	codeSize   = 32
	// maxRedirectURI and maxNonce bound what a code's row holds.
	maxRedirectURI = 2048
	maxNonce       = 1024
)

var (
	pkceChallenge = regexp.MustCompile(`^[A-Za-z0-9_-]{43}$`) // RFC 7636 section 4.2, of SHA-256
	pkceVerifier  = regexp.MustCompile(`^[A-Za-z0-9._~-]{43,128}$`)
)

// newCode is a code and its hash. It is random and long, so a plain hash gives nothing away.
func newCode() (code string, hash []byte) {
	var b [codeSize]byte
	rand.Read(b[:]) // never fails
	code = codePrefix + base64.RawURLEncoding.EncodeToString(b[:])
	return code, hashCode(code)
}

func hashCode(code string) []byte {
	sum := sha256.Sum256([]byte(code))
	return sum[:]
}

// looksLikeCode spares the database what is none.
func looksLikeCode(code string) bool {
	return strings.HasPrefix(code, codePrefix) && len(code) == len(codePrefix)+base64.RawURLEncoding.EncodedLen(codeSize)
}

// CodeRequest is an authorization request that has been checked: the redirect URI is one of the client's, the scope is
// granted (see [GrantedScope]).
type CodeRequest struct {
	Session     *BrowserSession
	Client      *Client
	RedirectURI string
	Challenge   string // RFC 7636, S256; empty only for a client that may do without
	Scope       string
	Resources   []string // RFC 8707; none for the server's audience
	Nonce       string
	Origin      Origin
}

// IssueCode makes an authorization code in a browser session. A code is one of the tokens of its user, client, browser
// session and everyone: its issue time, which goes into the session's row, is what they are compared with.
//
// It returns [ErrBrowserSession] if the session is out by now, [ErrClientCredentials] if the client is gone or has
// changed (begin anew), [ErrScope] for the scope admin of somebody who is none, of which the audit log tells,
// [ErrTarget], [ErrInvalid] for a challenge that is none, and [*ThrottledError]: a code costs a row, and what it is
// exchanged for a device and perhaps an event for everybody, so that one user's are bounded.
func (s *Store) IssueCode(ctx context.Context, in CodeRequest) (string, error) {
	if err := in.check(); err != nil {
		return "", err
	}
	by := Actor{
		Entity: EntityUser, ID: in.Session.UserID.String(), IP: in.Origin.IP, UserAgent: in.Origin.UserAgent,
	}
	codes := s.accountGuess(limitCodes, in.Session.User.UsernameKey)
	if err := s.spend(ctx, codes, in.Session.UserID, by); err != nil {
		return "", err
	}
	code, hash := newCode()
	err := s.write(ctx, func(tx *gorm.DB) error {
		d := &Device{}
		if err := s.lockDevice(tx, in.Session.ID, d); err != nil {
			return whenNotFound(err, ErrBrowserSession)
		}
		now, err := s.issueForCode(tx, in, d)
		if err != nil {
			return err
		}
		return tx.Create(&Code{
			Hash: hash, ClientID: in.Client.ID, UserID: d.UserID, ParentID: d.ID, RedirectURI: in.RedirectURI,
			Challenge: in.Challenge, Scope: in.Scope, Resources: strings.Join(in.Resources, " "), Nonce: in.Nonce,
			AuthAt: d.AuthAt, IssuedAt: d.IssuedAt, ExpiresAt: now.Add(s.cfg.CodeTTL),
		}).Error
	})
	if err != nil {
		return "", err
	}
	return code, nil
}

func (in *CodeRequest) check() error {
	switch {
	case !in.Client.HasGrant(GrantAuthorizationCode):
		return ErrClientCredentials
	case in.Challenge == "" && (in.Client.Public || in.Client.PKCE != PKCEOptional):
		return invalid("the code challenge is missing")
	case in.Challenge != "" && !pkceChallenge.MatchString(in.Challenge):
		return invalid("the code challenge must be 43 characters: a SHA-256 as base64url")
	case in.RedirectURI == "" || len(in.RedirectURI) > maxRedirectURI:
		return invalid("the redirect URI has %d bytes: must be 1 to %d", len(in.RedirectURI), maxRedirectURI)
	case len(in.Nonce) > maxNonce:
		return invalid("the nonce has %d bytes: must be at most %d", len(in.Nonce), maxNonce)
	}
	return in.Client.checkResources(in.Resources)
}

// issueForCode finds the issue time of a code and writes it into the row of its browser session, which is locked: above
// every valid_from and not above the horizon, all of one snapshot that is newer than the lock.
func (s *Store) issueForCode(tx *gorm.DB, in CodeRequest, d *Device) (now Micros, err error) {
	for {
		var alive, admin bool
		var validFrom, horizon Micros
		err := s.row(tx, `SELECT `+fitting+` AND `+aliveDevice+` AND `+withinBrowserLifetimes+`,
				u.admin, k.valid_from, r.horizon, {now}
			FROM devices d, users u, clients c, realm r, clients k
			WHERE d.id = @id AND`+ruleJoin+`AND k.id = @client AND k.version = @version`, s.lifetimes(args{
			"id": d.ID, "refresh": in.Session.cookie.RefreshID, "reuse": s.cfg.ReuseInterval,
			"client": in.Client.ID, "version": in.Client.Version,
		}), &alive, &admin, &validFrom, &horizon, &now)
		switch {
		case err != nil:
			return 0, whenNotFound(err, ErrClientCredentials)
		case !alive:
			return 0, ErrBrowserSession
		case !admin && in.Scope != "" && covers(in.Scope, ScopeAdmin):
			return 0, s.refuseAdmin(tx, now, d.UserID, in.Client.ID, in.Origin)
		}
		issued := max(now, d.IssuedAt, validFrom+1)
		if issued > horizon {
			if err := s.pushHorizonIn(tx, issued); err != nil {
				return 0, err
			}
			continue
		}
		s.keepHorizonAhead(now, horizon)
		d.IssuedAt = issued
		// mutant: code-issued-without-its-session
		_, err = s.exec(tx, `UPDATE devices SET issued_at = @issued, last_seen_at = @seen WHERE id = @id`,
			args{"issued": d.IssuedAt, "seen": now, "id": d.ID})
		return now, err
	}
}
