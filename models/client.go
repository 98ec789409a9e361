package models

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"errors"
	"regexp"
	"slices"
	"strings"
	"sync"

	"gorm.io/gorm"
)

// The grants and scopes that mean something to Curfew itself.
const (
	GrantPassword          = "password"
	GrantRefreshToken      = "refresh_token"
	GrantClientCredentials = "client_credentials"

	ScopeAdmin       = "admin"       // the admin API; must be asked for by name
	ScopeSettings    = "settings"    // the settings API
	ScopeRevocations = "revocations" // the revocation feed
)

// MinClientSecret is the length of the shortest client secret that may be chosen by hand.
const MinClientSecret = 16

// Client is a registered app, RFC 6749 section 2.
type Client struct {
	ID         string `gorm:"primaryKey"`
	Name       string
	Public     bool   // has no secret (RFC 6749 section 2.1)
	SecretHash string // SHA-256 of a random secret, in hex
	Grants     string // separated by spaces
	Scopes     string // separated by spaces
	Introspect bool   // may ask for the state of any token, RFC 7662
	ValidFrom  Micros // tokens issued to the client at or before it are dead
	Version    int64  // rises with each change
	CreatedAt  Micros
	UpdatedAt  Micros `gorm:"autoUpdateTime:false"` // GORM would write this process's clock, in seconds
}

// HasGrant tells whether the client may use a grant.
func (c *Client) HasGrant(grant string) bool { return slices.Contains(strings.Fields(c.Grants), grant) }

// NewClient is what CreateClient takes. Secret is made when it is empty and the client is confidential.
type NewClient struct {
	ID         string
	Name       string
	Public     bool
	Secret     string
	Grants     []string
	Scopes     []string
	Introspect bool
}

// ClientPatch changes what is not nil.
type ClientPatch struct {
	Name       *string
	Grants     *[]string
	Scopes     *[]string
	Introspect *bool
}

var (
	clientID   = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$`)
	scopeToken = regexp.MustCompile(`^[\x21\x23-\x5B\x5D-\x7E]{1,64}$`) // RFC 6749 section 3.3
	secretText = regexp.MustCompile(`^[\x21-\x7E]{16,256}$`)
)

func (c *Client) setGrants(grants []string) error {
	for i, g := range grants {
		switch {
		case g != GrantPassword && g != GrantRefreshToken && g != GrantClientCredentials:
			return invalid("the grant %q: it takes password, refresh_token, client_credentials", g)
		case slices.Contains(grants[:i], g):
			return invalid("the grant %q is there twice", g)
		}
	}
	switch {
	case slices.Contains(grants, GrantClientCredentials) && c.Public:
		return invalid("client_credentials is for confidential clients (RFC 6749 section 4.4)")
	case slices.Contains(grants, GrantRefreshToken) && !slices.Contains(grants, GrantPassword):
		return invalid("refresh_token takes password beside it: there would be nothing to refresh")
	}
	c.Grants = strings.Join(grants, " ")
	return nil
}

func (c *Client) setScopes(scopes []string) error {
	for i, sc := range scopes {
		switch {
		case !scopeToken.MatchString(sc):
			return invalid("the scope %q: it takes 1 to 64 printable characters without space, quote and backslash", sc)
		case slices.Contains(scopes[:i], sc):
			return invalid("the scope %q is there twice", sc)
		}
	}
	if len(scopes) > 64 {
		return invalid("%d scopes: a client has 64 at most", len(scopes))
	}
	c.Scopes = strings.Join(scopes, " ")
	return nil
}

func (c *Client) setName(name string) error {
	name, err := CleanName(name)
	if err != nil {
		return err
	}
	c.Name = name
	return nil
}

// CreateClient registers a client and returns its secret, which is not kept and cannot be shown again. It returns
// [ErrConflict] if the id is taken.
func (s *Store) CreateClient(ctx context.Context, in NewClient, by Actor) (c *Client, secret string, err error) {
	c = &Client{ID: in.ID, Public: in.Public, Introspect: in.Introspect, Version: 1}
	if in.Name == "" {
		in.Name = in.ID
	}
	if !clientID.MatchString(in.ID) {
		return nil, "", invalid("the client id %q: it takes 1 to 64 letters, digits, dots, dashes and underscores", in.ID)
	}
	if err := errors.Join(c.setName(in.Name), c.setGrants(in.Grants), c.setScopes(in.Scopes)); err != nil {
		return nil, "", err
	}
	switch {
	case c.Public && in.Secret != "":
		return nil, "", invalid("a public client has no secret")
	case c.Public && c.Introspect:
		return nil, "", invalid("introspection is for confidential clients (RFC 7662 section 2.1)")
	case !c.Public:
		if secret = in.Secret; secret == "" {
			secret = newClientSecret()
		}
		if !secretText.MatchString(secret) {
			return nil, "", invalid("the client secret takes %d to 256 printable ASCII characters without space", MinClientSecret)
		}
		c.SecretHash = hashClientSecret(secret)
	}
	err = s.write(ctx, func(tx *gorm.DB) error {
		// An id that was deleted and comes again must not bring its old tokens back to life.
		turn, err := s.takeTurn(tx, 0)
		if err != nil {
			return err
		}
		c.ValidFrom, c.CreatedAt, c.UpdatedAt = Micros(turn.ValidFrom), Micros(turn.Now), Micros(turn.Now)
		// A deleted client's cached version must not fit either.
		c.Version = turn.Now
		if err := tx.Create(c).Error; err != nil {
			return err
		}
		return s.audit(tx, AuditEvent{At: c.CreatedAt, Type: AuditClientCreated, ClientID: c.ID}, by)
	})
	if err != nil {
		return nil, "", err
	}
	return c, secret, nil
}

// GetClient returns one client.
func (s *Store) GetClient(ctx context.Context, id string) (*Client, error) {
	var c Client
	err := s.read(ctx, func(tx *gorm.DB) error { return tx.Where("id = ?", id).Take(&c).Error })
	if err != nil {
		return nil, err
	}
	return &c, nil
}

// ListClients returns a page of the clients in the order of their ids.
func (s *Store) ListClients(ctx context.Context, p Page) (list []Client, next string, err error) {
	after, err := s.cursorAfter("clients", p)
	if err != nil {
		return nil, "", err
	}
	err = s.read(ctx, func(tx *gorm.DB) error {
		return tx.Where("id > ?", after).Order("id").Limit(p.limit() + 1).Find(&list).Error
	})
	list, next = pageOf(s, "clients", p, list, func(c Client) string { return c.ID })
	return list, next, err
}

// UpdateClient changes a client. Tokens that are out keep their scopes until they expire or are revoked; a refresh
// gives no more than what the client has by then.
func (s *Store) UpdateClient(ctx context.Context, id string, p ClientPatch, by Actor) (*Client, error) {
	var c Client
	err := s.write(ctx, func(tx *gorm.DB) error {
		c = Client{}
		now, err := s.lockClient(tx, id, &c)
		if err != nil {
			return err
		}
		if p.Name != nil {
			err = errors.Join(err, c.setName(*p.Name))
		}
		if p.Grants != nil {
			err = errors.Join(err, c.setGrants(*p.Grants))
		}
		if p.Scopes != nil {
			err = errors.Join(err, c.setScopes(*p.Scopes))
		}
		if p.Introspect != nil {
			if c.Introspect = *p.Introspect; c.Introspect && c.Public {
				err = errors.Join(err, invalid("introspection is for confidential clients (RFC 7662 section 2.1)"))
			}
		}
		if err != nil {
			return err
		}
		c.Version, c.UpdatedAt = c.Version+1, Micros(now)
		if err := tx.Model(&c).Select("name", "grants", "scopes", "introspect", "version", "updated_at").Updates(&c).Error; err != nil {
			return err
		}
		return s.audit(tx, AuditEvent{At: c.UpdatedAt, Type: AuditClientChanged, ClientID: id}, by)
	})
	if err != nil {
		return nil, err
	}
	return &c, nil
}

// lockClient loads a client's row and keeps it from changing until the commit.
func (s *Store) lockClient(tx *gorm.DB, id string, c *Client) (now int64, err error) {
	if err := s.raw(tx, `SELECT * FROM clients WHERE id = @id {lock}`, args{"id": id}).Take(c).Error; err != nil {
		return 0, err
	}
	return now, s.row(tx, `SELECT {now} FROM realm`, nil, &now)
}

// RotateClientSecret gives a confidential client a new secret; the old one stops working at once. Tokens stay.
// secret is made when it is empty.
func (s *Store) RotateClientSecret(ctx context.Context, id, secret string, by Actor) (string, error) {
	if secret == "" {
		secret = newClientSecret()
	}
	if !secretText.MatchString(secret) {
		return "", invalid("the client secret takes %d to 256 printable ASCII characters without space", MinClientSecret)
	}
	err := s.write(ctx, func(tx *gorm.DB) error {
		var c Client
		now, err := s.lockClient(tx, id, &c)
		if err != nil {
			return err
		}
		if c.Public {
			return invalid("the client %q is public: it has no secret", id)
		}
		if err := tx.Model(&c).Updates(map[string]any{
			"secret_hash": hashClientSecret(secret), "version": c.Version + 1, "updated_at": now,
		}).Error; err != nil {
			return err
		}
		return s.audit(tx, AuditEvent{At: Micros(now), Type: AuditClientSecret, ClientID: id}, by)
	})
	if err != nil {
		return "", err
	}
	return secret, nil
}

// DeleteClient ends every token of the client and removes it. Its devices go with the next clean-up.
func (s *Store) DeleteClient(ctx context.Context, id string, by Actor) (*SignOut, error) {
	return s.change(ctx, func(tx *gorm.DB) (*SignOut, error) {
		out, err := s.revokeIn(tx, Target{Level: LevelClient, Subject: id}, ReasonClientDeleted, by)
		if err != nil {
			return nil, err
		}
		if err := tx.Where("id = ?", id).Delete(&Client{}).Error; err != nil {
			return nil, err
		}
		return out, s.audit(tx, AuditEvent{At: out.Revocation.CreatedAt, Type: AuditClientDeleted, ClientID: id}, by)
	})
}

// clientCache remembers clients so that the hot paths need no read for them. An entry is used only together with a
// statement that makes sure its version is still the client's; see [errStaleClient].
type clientCache struct {
	mu      sync.RWMutex
	entries map[string]*Client
}

const clientCacheSize = 1024

// errStaleClient: the client changed since it was authenticated from the cache; authenticate it anew.
var errStaleClient = errors.New("the cached client has changed")

// isCurrent returns [errStaleClient] if the client is not any more what was authenticated.
func (s *Store) isCurrent(tx *gorm.DB, c *Client) error {
	var current bool
	err := s.row(tx, `SELECT EXISTS (SELECT 1 FROM clients WHERE id = @asks AND version = @version)`, args{"asks": c.ID, "version": c.Version}, &current)
	if err == nil && !current {
		return errStaleClient
	}
	return err
}

func (cc *clientCache) get(id string) *Client {
	cc.mu.RLock()
	defer cc.mu.RUnlock()
	return cc.entries[id]
}

func (cc *clientCache) put(c *Client) {
	cc.mu.Lock()
	defer cc.mu.Unlock()
	if cc.entries == nil || len(cc.entries) >= clientCacheSize {
		cc.entries = map[string]*Client{}
	}
	cc.entries[c.ID] = c
}

// ClientCredentials are what a client authenticates with, RFC 6749 section 2.3, and the address it does so from.
type ClientCredentials struct {
	ID      string
	Secret  string // empty for a public client
	Address string
}

// AuthenticateClient checks a client's id and secret. A public client has no secret and must give none. It returns
// [ErrClientCredentials] for an unknown client, a wrong secret, a missing one and a superfluous one, and
// [*ThrottledError] after too many of these.
func (s *Store) AuthenticateClient(ctx context.Context, in ClientCredentials) (*Client, error) {
	guess := s.clientGuess(in)
	if wait := s.blocked.remaining(guess.key); wait > 0 {
		return nil, &ThrottledError{RetryAfter: wait}
	}
	secret := true // to be guessed
	if clientID.MatchString(in.ID) && len(in.Secret) <= 1024 {
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
			secret = !c.Public
		}
	}
	err := s.charge(ctx, guess, s.guess(s.cfg.Limits.PerAddress, "address", AddressPrefix(in.Address)))
	// Where there is no secret, nobody's mistakes shut out the others at his address.
	if throttled, ok := errors.AsType[*ThrottledError](err); ok && secret {
		s.blocked.block(guess.key, throttled.RetryAfter)
	}
	if err != nil {
		return nil, err
	}
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
	return s.guess(s.cfg.Limits.PerClient, "client", in.ID, AddressPrefix(in.Address))
}

// WithClient authenticates a client and calls fn with it. To save the hot paths a read it takes the client from memory
// at first. So fn returns nil only after a statement that made sure that the client's version is still the same; and a
// refusal, which may be owed to what the client was once, stands only if the client is still the same. If it is not,
// authentication and fn are done again from the database. fn must hand on the error of the store's method.
func (s *Store) WithClient(ctx context.Context, in ClientCredentials, fn func(*Client) error) error {
	known := s.clients.get(in.ID)
	if known == nil || !known.fits(in.Secret) || (!known.Public && s.blocked.any() && s.blocked.remaining(s.clientGuess(in).key) > 0) {
		return s.WithFreshClient(ctx, in, fn)
	}
	refusal := fn(known)
	if refusal == nil || errors.Is(refusal, ErrUnavailable) || errors.Is(refusal, ErrRefreshTokenReused) {
		return refusal
	}
	return s.WithFreshClient(ctx, in, func(c *Client) error {
		if c.Version == known.Version {
			return refusal
		}
		return fn(c)
	})
}

// WithFreshClient is [Store.WithClient] without the memory: for what must not begin before the client is known to be right,
// like looking at a password.
func (s *Store) WithFreshClient(ctx context.Context, in ClientCredentials, fn func(*Client) error) error {
	for try := 0; ; try++ {
		c, err := s.AuthenticateClient(ctx, in)
		if err != nil {
			return err
		}
		if err := fn(c); !errors.Is(err, errStaleClient) {
			return err
		} else if try == 3 {
			return errAgain
		}
	}
}
