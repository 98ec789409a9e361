package models

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"errors"
	"sync"

	"gorm.io/gorm"
)

// clientMemory remembers clients so that the hot paths need no read for them. An entry is used only together with a
// statement that makes sure its version is still the client's; see [errStaleClient].
type clientMemory struct {
	mu      sync.RWMutex
	entries map[string]*Client
}

const clientMemorySize = 1024

// errStaleClient: the client changed since it was authenticated from memory; authenticate it anew.
var errStaleClient = errors.New("the client that was remembered has changed")

// isCurrent returns [errStaleClient] if the client is not any more what was authenticated.
func (s *Store) isCurrent(tx *gorm.DB, c *Client) error {
	var current bool
	err := s.row(tx, `SELECT EXISTS (SELECT 1 FROM clients WHERE id = @asks AND version = @version)`,
		args{"asks": c.ID, "version": c.Version}, &current)
	if err == nil && !current {
		return errStaleClient
	}
	return err
}

func (m *clientMemory) get(id string) *Client {
	m.mu.RLock()
	defer m.mu.RUnlock()
	return m.entries[id]
}

func (m *clientMemory) put(c *Client) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.entries == nil || len(m.entries) >= clientMemorySize {
		m.entries = map[string]*Client{}
	}
	m.entries[c.ID] = c
}

// ClientCredentials are what a client authenticates with, RFC 6749 section 2.3, and the address it does so from.
type ClientCredentials struct {
	ID      string
	Secret  string // empty for a public client
	IP      string
	ByProxy bool // as in [PasswordAttempt]
}

// AuthenticateClient checks a client's id and secret. A public client has no secret and must give none. It returns
// [ErrClientCredentials] for an unknown client, a wrong secret, a missing one and a superfluous one, and
// [*ThrottledError] after too many of these.
func (s *Store) AuthenticateClient(ctx context.Context, in ClientCredentials) (*Client, error) {
	guess := s.clientGuess(in)
	if wait := s.blocked.remaining(guess.key); wait > 0 {
		return nil, &ThrottledError{RetryAfter: wait}
	}
	secret, known := true, "" // is there one to be guessed, and the id of a client that there is
	if clientID.MatchString(in.ID) && !builtIn(in.ID) && len(in.Secret) <= 1024 {
		c, err := s.GetClient(ctx, in.ID)
		switch {
		case errors.Is(err, ErrNotFound):
			unknownClient.fits(in.Secret) // the same work as for a known one
		case err != nil:
			return nil, err
		case c.fits(in.Secret):
			s.clients.put(c)
			return c, nil
		default:
			secret, known = !c.Public, c.ID
		}
	}
	usedUp, err := s.charge(ctx, guess, s.guess(limitAddress, addressPrefix(in.IP)))
	if refused, ok := errors.AsType[refusals](err); ok {
		// Where there is no secret, nobody's mistakes shut out the others at his address.
		if secret {
			s.blocked.block(guess.key, refused[0].wait)
		}
		return nil, refused.throttled()
	}
	if err != nil {
		return nil, err
	}
	var events []AuditEvent
	for _, g := range usedUp {
		events = append(events, AuditEvent{Type: AuditLimitReached, ClientID: known, Detail: detail{"limit": g.name}})
	}
	s.note(ctx, Actor{Entity: EntitySystem, IP: knownIP(in.IP, in.ByProxy)}, events...)
	return nil, ErrClientCredentials
}

var unknownClient = &Client{SecretHash: hashClientSecret(rand.Text())}

func (c *Client) fits(secret string) bool {
	if c.Public {
		return subtle.ConstantTimeCompare([]byte(secret), nil) == 1
	}
	return equalClientSecret(c.SecretHash, secret)
}

func (s *Store) clientGuess(in ClientCredentials) guess {
	return s.guess(limitClient, in.ID, addressPrefix(in.IP))
}

// WithClient authenticates a client and calls fn with it. To save the hot paths a read it takes the client from memory
// at first. So fn returns nil only after a statement that made sure that the client's version is still the same; and a
// refusal, which may be owed to what the client was once, stands only if the client is still the same. If it is not,
// authentication and fn are done again from the database. fn must hand on the error of the store's method.
func (s *Store) WithClient(ctx context.Context, in ClientCredentials, fn func(*Client) error) error {
	known := s.clients.get(in.ID)
	if known == nil || !known.fits(in.Secret) || s.isBlocked(known, in) {
		return s.WithFreshClient(ctx, in, fn)
	}
	refusal := fn(known)
	if refusal == nil || errors.Is(refusal, ErrUnavailable) || errors.Is(refusal, ErrRefreshTokenReused) ||
		errors.Is(refusal, ErrCodeReused) {
		return refusal
	}
	return s.WithFreshClient(ctx, in, func(c *Client) error {
		if c.Version == known.Version {
			return refusal
		}
		return fn(c)
	})
}

// isBlocked tells whether so many secrets of the client were guessed from that address that a right one does not help.
func (s *Store) isBlocked(c *Client, in ClientCredentials) bool {
	return !c.Public && s.blocked.any() && s.blocked.remaining(s.clientGuess(in).key) > 0
}

// WithFreshClient is [Store.WithClient] without the memory: for what must not begin before the client is known to be
// right, like looking at a password.
func (s *Store) WithFreshClient(ctx context.Context, in ClientCredentials, fn func(*Client) error) error {
	for try := 0; ; try++ {
		c, err := s.AuthenticateClient(ctx, in)
		if err != nil {
			return err
		}
		if err := fn(c); !errors.Is(err, errStaleClient) {
			return err
		} else if try == maxRetries {
			return errAgain
		}
	}
}
