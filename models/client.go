package models

import (
	"context"
	"errors"
	"regexp"
	"time"

	"github.com/google/uuid"
	"gorm.io/gorm"
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
	LostAnswer *Span  // how long an unanswered refresh may be tried again; nil: the server's, which is not at all
	ValidFrom  Micros // tokens issued to the client at or before it are dead
	Version    int64  // rises with each change

	RedirectURIs           string `gorm:"column:redirect_uris"` // separated by spaces, like the next three
	PostLogoutRedirectURIs string `gorm:"column:post_logout_redirect_uris"`
	Origins                string // of the web pages that may call us
	Resources              string // RFC 8707: what a token may be for
	PKCE                   string `gorm:"column:pkce"`       // [PKCERequired] or [PKCEOptional]
	AccessTTL              *Span  `gorm:"column:access_ttl"` // nil: the server's, like the next three
	RefreshTTL             *Span  `gorm:"column:refresh_ttl"`
	DeviceMaxAge           *Span
	MaxDevices             *int   // of one user
	RefreshCookie          bool   // the refresh token is a cookie and in no answer
	BackchannelLogoutURI   string `gorm:"column:backchannel_logout_uri"`
	BuiltIn                bool   // Curfew's own: its devices are browser sessions
	CreatedAt              Micros
	UpdatedAt              Micros `gorm:"autoUpdateTime:false"` // GORM would write this process's clock, in seconds
}

// NewClient is what CreateClient takes. Secret is made when it is empty and the client is confidential.
type NewClient struct {
	ID         string
	Name       string
	Public     bool
	Secret     string
	Grants     []string
	Scopes     []string
	Introspect bool
	LostAnswer *Span // nil: the server's

	RedirectURIs           []string
	PostLogoutRedirectURIs []string
	Origins                []string // of web pages; see [CheckWebOrigin]
	Resources              []string // RFC 8707
	PKCE                   string   // default [PKCERequired]
	AccessTTL              *Span    // nil: the server's, like the next three
	RefreshTTL             *Span
	DeviceMaxAge           *Span // 0: none
	MaxDevices             *int  // of one user
	RefreshCookie          bool
	BackchannelLogoutURI   string
}

// ClientPatch changes what is not nil.
type ClientPatch struct {
	Name       *string
	Grants     *[]string
	Scopes     *[]string
	Introspect *bool
	LostAnswer **Span // to nil: the server's

	RedirectURIs           *[]string
	PostLogoutRedirectURIs *[]string
	Origins                *[]string
	Resources              *[]string
	PKCE                   *string
	AccessTTL              **Span // to nil: the server's, like the next three
	RefreshTTL             **Span
	DeviceMaxAge           **Span
	MaxDevices             **int
	RefreshCookie          *bool
	BackchannelLogoutURI   *string // to the empty one: none
}

var (
	clientID   = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$`)
	secretText = regexp.MustCompile(`^[\x21-\x7E]{16,256}$`)
)

// IsClientID tells whether a text has the form of a client's id.
func IsClientID(id string) bool { return clientID.MatchString(id) }

// isUserID tells an id that a user may have: a client's own token has the client's id as its sub (RFC 9068 section 5),
// and must not speak for a user.
func isUserID(id string) bool { return len(id) == len(uuid.Nil.String()) && uuid.Validate(id) == nil }

func (c *Client) setName(name string) error {
	name, err := CleanName(name)
	if err != nil {
		return err
	}
	c.Name = name
	return nil
}

func (c *Client) setIntrospect(may bool) error {
	if may && c.Public {
		return invalid("introspection is for confidential clients (RFC 7662 section 2.1)")
	}
	c.Introspect = may
	return nil
}

// maxLostAnswer bounds for how long a copied token of before stays as good as the current one.
const maxLostAnswer = 24 * time.Hour

func (c *Client) setLostAnswer(window *Span) error {
	if window != nil && (*window < 0 || time.Duration(*window) > maxLostAnswer) {
		return invalid("the window for a lost answer, %s: must be 0 to %s", time.Duration(*window), maxLostAnswer)
	}
	c.LostAnswer = window
	return nil
}

// secretOr is the secret that was chosen, or a new one where none was.
func secretOr(chosen string) (string, error) {
	if chosen == "" {
		return newClientSecret(), nil
	}
	if !secretText.MatchString(chosen) {
		return "", invalid("the client secret must be %d to 256 printable ASCII characters without space", MinClientSecret)
	}
	return chosen, nil
}

// CreateClient registers a client and returns its secret, which is not kept and cannot be shown again. It returns
// [ErrConflict] if the id is taken.
func (s *Store) CreateClient(ctx context.Context, in NewClient, by Actor) (c *Client, secret string, err error) {
	c = &Client{ID: in.ID, Public: in.Public, PKCE: PKCERequired}
	if in.Name == "" {
		in.Name = in.ID
	}
	if builtIn(in.ID) {
		return nil, "", errBuiltIn(in.ID)
	}
	if !clientID.MatchString(in.ID) {
		return nil, "", invalid("the client id %q: must be 1 to 64 letters, digits, dots, dashes and underscores", in.ID)
	}
	if isUserID(in.ID) {
		return nil, "", invalid("the client id %q: must not be a UUID, as the sub of a user is", in.ID)
	}
	if err := c.apply(in.patch()); err != nil {
		return nil, "", err
	}
	switch {
	case c.Public && in.Secret != "":
		return nil, "", invalid("a public client has no secret")
	case !c.Public:
		if secret, err = secretOr(in.Secret); err != nil {
			return nil, "", err
		}
		c.SecretHash = hashClientSecret(secret)
	}
	err = s.write(ctx, func(tx *gorm.DB) error {
		// An id that was deleted and comes again must not bring its old tokens back to life.
		realm, err := s.lockRealm(tx, 0)
		if err != nil {
			return err
		}
		c.ValidFrom, c.CreatedAt, c.UpdatedAt = realm.ValidFrom, realm.Now, realm.Now
		// What a node remembers of the deleted client must not fit either.
		c.Version = int64(realm.Now)
		if err := errors.Join(s.roomForOrigins(tx, c), s.keepLongestAccessTTL(tx, c)); err != nil {
			return err
		}
		if err := tx.Create(c).Error; err != nil {
			return err
		}
		if err := s.keepLogoutReceiver(tx, c); err != nil {
			return err
		}
		return s.audit(tx, AuditEvent{At: c.CreatedAt, Type: AuditClientCreated, ClientID: c.ID}, by)
	})
	s.forgetOrigins()
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

// ListClients returns a page of the clients that were registered, in the order of their ids.
func (s *Store) ListClients(ctx context.Context, p Page) (list []Client, next string, err error) {
	after, err := s.cursorAfter("clients", p)
	if err != nil {
		return nil, "", err
	}
	err = s.read(ctx, func(tx *gorm.DB) error {
		return tx.Where("id > ? AND NOT built_in", after).Order("id").Limit(p.limit() + 1).Find(&list).Error
	})
	list, next = pageOf(s, "clients", p, list, func(c Client) string { return c.ID })
	return list, next, err
}

// UpdateClient changes a client, at once: a strict check and a refresh give no more than what the client has by then.
// Local verifiers go by the scope in the token until it expires or is revoked.
func (s *Store) UpdateClient(ctx context.Context, id string, p ClientPatch, by Actor) (*Client, error) {
	var c Client
	err := s.write(ctx, func(tx *gorm.DB) error {
		c = Client{}
		now, err := s.lockClient(tx, id, &c)
		if err != nil {
			return err
		}
		if err := c.apply(p); err != nil {
			return err
		}
		if err := errors.Join(s.roomForOrigins(tx, &c), s.keepLongestAccessTTL(tx, &c)); err != nil {
			return err
		}
		c.Version, c.UpdatedAt = c.Version+1, now
		// What is not named here is never a patch's to change. Select: GORM would leave out what has become empty.
		if err := tx.Model(&c).Select("*").Omit("id", "public", "secret_hash", "valid_from", "built_in", "created_at").
			Updates(&c).Error; err != nil {
			return err
		}
		if err := s.keepLogoutReceiver(tx, &c); err != nil {
			return err
		}
		return s.audit(tx, AuditEvent{At: c.UpdatedAt, Type: AuditClientChanged, ClientID: id}, by)
	})
	s.forgetOrigins()
	if err != nil {
		return nil, err
	}
	return &c, nil
}

// lockClient loads a client's row and keeps it from changing until the commit.
func (s *Store) lockClient(tx *gorm.DB, id string, c *Client) (now Micros, err error) {
	if err := s.raw(tx, `SELECT * FROM clients WHERE id = @id {lock}`, args{"id": id}).Take(c).Error; err != nil {
		return 0, err
	}
	if c.BuiltIn {
		return 0, errBuiltIn(id)
	}
	return s.now(tx)
}

// RotateClientSecret gives a confidential client a new secret; the old one stops working at once. Tokens stay.
// secret is made when it is empty.
func (s *Store) RotateClientSecret(ctx context.Context, id, secret string, by Actor) (string, error) {
	secret, err := secretOr(secret)
	if err != nil {
		return "", err
	}
	err = s.write(ctx, func(tx *gorm.DB) error {
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
		return s.audit(tx, AuditEvent{At: now, Type: AuditClientSecret, ClientID: id}, by)
	})
	if err != nil {
		return "", err
	}
	return secret, nil
}

// DeleteClient ends every token of the client and removes it. It is told of what it has to be told until then; its
// devices go with a clean-up after that.
func (s *Store) DeleteClient(ctx context.Context, id string, by Actor) (*SignOut, error) {
	if builtIn(id) {
		return nil, errBuiltIn(id)
	}
	defer s.forgetOrigins()
	return s.writeSignOut(ctx, func(tx *gorm.DB) (*SignOut, error) {
		out, err := s.revokeIn(tx, WholeClient(id), ReasonClientDeleted, by)
		if err != nil {
			return nil, err
		}
		if err := tx.Where("id = ?", id).Delete(&Client{}).Error; err != nil {
			return nil, err
		}
		if err := s.endLogoutReceiver(tx, id, out.Revocation.Seq); err != nil {
			return nil, err
		}
		return out, s.audit(tx, AuditEvent{At: out.Revocation.CreatedAt, Type: AuditClientDeleted, ClientID: id}, by)
	})
}
