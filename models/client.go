package models

import (
	"context"
	"errors"
	"regexp"
	"time"

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
	CreatedAt  Micros
	UpdatedAt  Micros `gorm:"autoUpdateTime:false"` // GORM would write this process's clock, in seconds
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
}

// ClientPatch changes what is not nil.
type ClientPatch struct {
	Name       *string
	Grants     *[]string
	Scopes     *[]string
	Introspect *bool
	LostAnswer **Span // to nil: the server's
}

var (
	clientID   = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$`)
	secretText = regexp.MustCompile(`^[\x21-\x7E]{16,256}$`)
)

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
	c = &Client{ID: in.ID, Public: in.Public}
	if in.Name == "" {
		in.Name = in.ID
	}
	if !clientID.MatchString(in.ID) {
		return nil, "", invalid("the client id %q: must be 1 to 64 letters, digits, dots, dashes and underscores", in.ID)
	}
	if err := errors.Join(c.setName(in.Name), c.setGrants(in.Grants), c.setScopes(in.Scopes)); err != nil {
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
	if err := errors.Join(c.setIntrospect(in.Introspect), c.setLostAnswer(in.LostAnswer)); err != nil {
		return nil, "", err
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
			err = errors.Join(err, c.setIntrospect(*p.Introspect))
		}
		if p.LostAnswer != nil {
			err = errors.Join(err, c.setLostAnswer(*p.LostAnswer))
		}
		if err != nil {
			return err
		}
		c.Version, c.UpdatedAt = c.Version+1, now
		if err := tx.Model(&c).Select("name", "grants", "scopes", "introspect", "lost_answer", "version", "updated_at").
			Updates(&c).Error; err != nil {
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
func (s *Store) lockClient(tx *gorm.DB, id string, c *Client) (now Micros, err error) {
	if err := s.raw(tx, `SELECT * FROM clients WHERE id = @id {lock}`, args{"id": id}).Take(c).Error; err != nil {
		return 0, err
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

// DeleteClient ends every token of the client and removes it. Its devices go with the next clean-up.
func (s *Store) DeleteClient(ctx context.Context, id string, by Actor) (*SignOut, error) {
	return s.writeSignOut(ctx, func(tx *gorm.DB) (*SignOut, error) {
		out, err := s.revokeIn(tx, WholeClient(id), ReasonClientDeleted, by)
		if err != nil {
			return nil, err
		}
		if err := tx.Where("id = ?", id).Delete(&Client{}).Error; err != nil {
			return nil, err
		}
		return out, s.audit(tx, AuditEvent{At: out.Revocation.CreatedAt, Type: AuditClientDeleted, ClientID: id}, by)
	})
}
