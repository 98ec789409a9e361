package models

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"math/big"
	"slices"
	"time"

	"gorm.io/gorm"
)

// How a new signing key comes into use: published at once, used when every node and every resource server that honours
// the key set's max-age has it, and its predecessors stay published until their last token has expired.
const (
	// JWKSMaxAge is how long a copy of the key set may be used.
	JWKSMaxAge     = 5 * time.Minute
	keyAnnounce    = 2 * JWKSMaxAge
	keysReloadTime = 30 * time.Second
)

// SigningKey is a row of the key table. The private part is sealed by the server's secret.
type SigningKey struct {
	KID         string `gorm:"column:kid;primaryKey"`
	Alg         string
	PublicKey   []byte // PKIX, DER
	PrivateKey  []byte // PKCS #8, DER, sealed
	SecretID    string
	CreatedAt   Micros
	ActivatesAt Micros // from here on it signs
	RetiresAt   Micros // from here on it is not published; 0 while it is the newest

	header  string // of the tokens that it signs, encoded; RFC 9068 section 2.1
	public  crypto.PublicKey
	private crypto.Signer
}

// TableName implements gorm's Tabler.
func (SigningKey) TableName() string { return "signing_keys" }

// JWK is the public part as RFC 7517 has it, with the RFC 7638 thumbprint as its id.
type JWK struct {
	Kty string `json:"kty"`
	Use string `json:"use"`
	Alg string `json:"alg"`
	Kid string `json:"kid"`
	Crv string `json:"crv,omitempty"`
	X   string `json:"x,omitempty"`
	Y   string `json:"y,omitempty"`
	N   string `json:"n,omitempty"`
	E   string `json:"e,omitempty"`
}

// keySet is one reading of the key table: never changed, only replaced.
type keySet struct {
	all      []*SigningKey // newest first
	byHeader map[string]*SigningKey
	jwks     []JWK
	loaded   time.Time
}

func generateKey(alg string) (crypto.Signer, error) {
	switch alg {
	case "ES256":
		return ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	case "EdDSA":
		_, key, err := ed25519.GenerateKey(rand.Reader)
		return key, err
	case "RS256":
		return rsa.GenerateKey(rand.Reader, 3072)
	}
	return nil, invalid("the signing algorithm %q: must be ES256, EdDSA or RS256", alg)
}

func b64(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }

// newJWK describes a public key; its id is the thumbprint over the required members in alphabetical order (RFC 7638
// section 3.2).
func newJWK(pub crypto.PublicKey, alg string) (JWK, error) {
	j := JWK{Use: "sig", Alg: alg}
	var required any
	switch pub := pub.(type) {
	case *ecdsa.PublicKey:
		point, err := pub.Bytes()
		if err != nil {
			return j, err
		}
		j.Kty, j.Crv, j.X, j.Y = "EC", "P-256", b64(point[1:33]), b64(point[33:])
		required = struct {
			Crv string `json:"crv"`
			Kty string `json:"kty"`
			X   string `json:"x"`
			Y   string `json:"y"`
		}{j.Crv, j.Kty, j.X, j.Y}
	case ed25519.PublicKey:
		j.Kty, j.Crv, j.X = "OKP", "Ed25519", b64(pub)
		required = struct {
			Crv string `json:"crv"`
			Kty string `json:"kty"`
			X   string `json:"x"`
		}{j.Crv, j.Kty, j.X}
	case *rsa.PublicKey:
		j.Kty, j.N, j.E = "RSA", b64(pub.N.Bytes()), b64(big.NewInt(int64(pub.E)).Bytes())
		required = struct {
			E   string `json:"e"`
			Kty string `json:"kty"`
			N   string `json:"n"`
		}{j.E, j.Kty, j.N}
	default:
		return j, fmt.Errorf("a key of type %T has no JWK form here", pub)
	}
	text, err := json.Marshal(required)
	if err != nil {
		return j, err
	}
	sum := sha256.Sum256(text)
	j.Kid = b64(sum[:])
	return j, nil
}

// newSigningKey makes a key and its row; the caller says when it starts.
func (s *Store) newSigningKey() (*SigningKey, error) {
	private, err := generateKey(s.cfg.SigningAlg)
	if err != nil {
		return nil, err
	}
	jwk, err := newJWK(private.Public(), s.cfg.SigningAlg)
	if err != nil {
		return nil, err
	}
	public, err := x509.MarshalPKIXPublicKey(private.Public())
	if err != nil {
		return nil, err
	}
	der, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		return nil, err
	}
	return &SigningKey{
		KID: jwk.Kid, Alg: s.cfg.SigningAlg, PublicKey: public,
		PrivateKey: s.secret.seal(der, jwk.Kid), SecretID: s.secret.currentID(),
	}, nil
}

// initKeys makes the first key, seals keys of an older secret anew, and loads them all. Of several nodes that start at
// once one makes the key: the realm's row decides.
func (s *Store) initKeys(ctx context.Context) error {
	first, err := s.newSigningKey()
	if err != nil {
		return err
	}
	err = s.write(ctx, func(tx *gorm.DB) error {
		realm, err := s.lockRealm(tx, 0)
		if err != nil {
			return err
		}
		var rows []*SigningKey
		if err := tx.Find(&rows).Error; err != nil {
			return err
		}
		if len(rows) == 0 {
			first.CreatedAt, first.ActivatesAt = realm.Now, realm.Now
			return tx.Create(first).Error
		}
		for _, k := range rows {
			if k.SecretID == s.secret.currentID() {
				continue
			}
			der, err := s.secret.open(k.SecretID, k.PrivateKey, k.KID)
			if err != nil {
				return fmt.Errorf("signing key %s: %w; give the secret it was sealed with as the second one", k.KID, err)
			}
			if err := tx.Model(k).Updates(map[string]any{
				"private_key": s.secret.seal(der, k.KID), "secret_id": s.secret.currentID(),
			}).Error; err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	return s.loadKeys(ctx)
}

func (s *Store) loadKeys(ctx context.Context) error {
	set := &keySet{byHeader: map[string]*SigningKey{}, loaded: time.Now()}
	var now Micros
	err := s.read(ctx, func(tx *gorm.DB) (err error) {
		if now, err = s.now(tx); err != nil {
			return err
		}
		return tx.Order("activates_at DESC, created_at DESC").Find(&set.all).Error
	})
	if err != nil {
		return err
	}
	set.all = slices.DeleteFunc(set.all, func(k *SigningKey) bool { return k.RetiresAt != 0 && k.RetiresAt <= now })
	for _, k := range set.all {
		if err := k.load(s.secret); err != nil {
			return fmt.Errorf("signing key %s: %w", k.KID, err)
		}
		jwk, err := newJWK(k.public, k.Alg)
		if err != nil {
			return err
		}
		set.byHeader[k.header] = k
		set.jwks = append(set.jwks, jwk)
	}
	if len(set.all) == 0 {
		return errors.New("the database holds withdrawn signing keys only; " +
			"after DELETE FROM signing_keys the next start makes a new one")
	}
	for { // a slow reading does not take back a later one
		known := s.keys.Load()
		if known != nil && known.loaded.After(set.loaded) || s.keys.CompareAndSwap(known, set) {
			return nil
		}
	}
}

func (k *SigningKey) load(secret *keyring) error {
	der, err := secret.open(k.SecretID, k.PrivateKey, k.KID)
	if err != nil {
		return err
	}
	private, err := x509.ParsePKCS8PrivateKey(der)
	if err != nil {
		return err
	}
	signer, ok := private.(crypto.Signer)
	if !ok || signingMethod(k.Alg) == nil {
		return fmt.Errorf("a %T cannot sign %s", private, k.Alg)
	}
	header, err := json.Marshal(map[string]string{"typ": tokenType, "alg": k.Alg, "kid": k.KID})
	if err != nil {
		return err
	}
	k.private, k.public, k.header = signer, signer.Public(), b64(header)
	return nil
}

// JWKS is the published key set, RFC 7517 section 5.
func (s *Store) JWKS() []JWK { return s.keys.Load().jwks }

// ListKeys returns the key table, newest first, the private parts left out.
func (s *Store) ListKeys(ctx context.Context) ([]SigningKey, error) {
	var keys []SigningKey
	err := s.read(ctx, func(tx *gorm.DB) error {
		return tx.Omit("private_key").Order("activates_at DESC, created_at DESC").Find(&keys).Error
	})
	return keys, err
}

// RotateKeys makes a new signing key. It is published at once and signs after twice the key set's max-age; the older
// keys stay published until their last token has expired, and nobody notices. With now it signs at once and the older
// keys are withdrawn, which ends every token signed by them: the answer to a leaked key.
func (s *Store) RotateKeys(ctx context.Context, now bool, by Actor) (*SigningKey, error) {
	return s.rotateKeys(ctx, now, 0, by)
}

// rotateKeys does nothing, and returns nil, if the newest key is younger than olderThan.
func (s *Store) rotateKeys(ctx context.Context, now bool, olderThan time.Duration, by Actor) (*SigningKey, error) {
	key, err := s.newSigningKey()
	if err != nil {
		return nil, err
	}
	made := false
	err = s.write(ctx, func(tx *gorm.DB) error {
		made = false
		realm, err := s.lockRealm(tx, 0)
		if err != nil {
			return err
		}
		var newest, longestTTL Micros
		if err := s.row(tx, `SELECT (SELECT max(created_at) FROM signing_keys), longest_access_ttl FROM realm`, nil,
			&newest, &longestTTL); err != nil {
			return err
		}
		if realm.Now.Sub(newest) < olderThan {
			return nil
		}
		key.CreatedAt = realm.Now
		key.ActivatesAt = key.CreatedAt.Add(keyAnnounce)
		// A node may go on signing with the old key until it has read the table again.
		retires := (key.ActivatesAt + longestTTL).Add(2*keysReloadTime + Leeway)
		if now {
			key.ActivatesAt, retires = key.CreatedAt, key.CreatedAt
		}
		if err := tx.Model(&SigningKey{}).Where("retires_at = 0 OR retires_at > ?", retires).
			Update("retires_at", retires).Error; err != nil {
			return err
		}
		if err := tx.Create(key).Error; err != nil {
			return err
		}
		made = true
		return s.audit(tx, AuditEvent{
			At: key.CreatedAt, Type: AuditKeysRotated, Detail: detail{"kid": key.KID, "now": now},
		}, by)
	})
	if err != nil || !made {
		return nil, err
	}
	return key, s.loadKeys(ctx)
}
