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

// The two sets of keys, a table each. A key signs one kind of token only: what is made for an app to look at is never
// taken for an access token, by nobody, also if he forgets to look at the type. Nodes of a version that knows the first
// table alone go on beside the second.
const (
	accessKeys   = "signing_keys"
	identityKeys = "identity_keys"
)

// What a key signs.
const (
	KeyForAccess   = "access"   // access tokens
	KeyForIdentity = "identity" // ID tokens and logout tokens
)

// identityAlg is what stock clients of OpenID Connect take without being told.
const identityAlg = "RS256"

// SigningKey is a row of a key table. The private part is sealed by the server's secret.
type SigningKey struct {
	KID         string `gorm:"column:kid;primaryKey"`
	Alg         string
	PublicKey   []byte // PKIX, DER
	PrivateKey  []byte // PKCS #8, DER, sealed
	SecretID    string
	CreatedAt   Micros
	ActivatesAt Micros // from here on it signs
	RetiresAt   Micros // from here on it is not published; 0 while it is the newest

	Purpose string `gorm:"-"` // [KeyForAccess] or [KeyForIdentity]

	header  string // of the access tokens that it signs, encoded; RFC 9068 section 2.1
	public  crypto.PublicKey
	private crypto.Signer
}

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
	all      []*SigningKey          // of access tokens, newest first
	identity []*SigningKey          // likewise, of what apps look at
	byHeader map[string]*SigningKey // of access tokens
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

// generateKey makes a key for a table. One of 2048 bits is enough for what lives for minutes, and made ten times faster
// than one of 3072.
func (s *Store) generateKey(table string) (alg string, key crypto.Signer, err error) {
	if table == identityKeys {
		key, err = rsa.GenerateKey(rand.Reader, 2048)
		return identityAlg, key, err
	}
	key, err = generateKey(s.cfg.SigningAlg)
	return s.cfg.SigningAlg, key, err
}

// newSigningKey makes a key and its row; the caller says when it starts.
func (s *Store) newSigningKey(table string) (*SigningKey, error) {
	alg, private, err := s.generateKey(table)
	if err != nil {
		return nil, err
	}
	jwk, err := newJWK(private.Public(), alg)
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
		KID: jwk.Kid, Alg: alg, PublicKey: public,
		PrivateKey: s.secret.seal(der, jwk.Kid), SecretID: s.secret.currentID(),
	}, nil
}

// initKeys makes the first keys, seals keys of an older secret anew, and loads them all.
func (s *Store) initKeys(ctx context.Context) error {
	for _, table := range []string{accessKeys, identityKeys} {
		if err := s.initKeyTable(ctx, table); err != nil {
			return err
		}
	}
	return s.loadKeys(ctx)
}

// initKeyTable: of several nodes that start at once one makes the first key: the realm's row decides.
func (s *Store) initKeyTable(ctx context.Context, table string) error {
	var known []*SigningKey
	err := s.read(ctx, func(tx *gorm.DB) error { return tx.Table(table).Find(&known).Error })
	if err != nil {
		return err
	}
	opens := func(k *SigningKey) bool {
		_, err := s.secret.open(k.SecretID, k.PrivateKey, k.KID)
		return err == nil
	}
	var first *SigningKey
	if len(known) == 0 || table == identityKeys && !slices.ContainsFunc(known, opens) { // an RSA key takes its time to make
		if first, err = s.newSigningKey(table); err != nil {
			return err
		}
	}
	return s.write(ctx, func(tx *gorm.DB) error {
		realm, err := s.lockRealm(tx, 0)
		if err != nil {
			return err
		}
		var rows []*SigningKey
		if err := tx.Table(table).Find(&rows).Error; err != nil {
			return err
		}
		lost := 0
		for _, k := range rows {
			if k.SecretID == s.secret.currentID() {
				continue
			}
			der, err := s.secret.open(k.SecretID, k.PrivateKey, k.KID)
			if err != nil && table == identityKeys && first != nil { // lost with its secret; what it signs lives for minutes
				if err := tx.Table(table).Where("kid = ?", k.KID).Delete(&SigningKey{}).Error; err != nil {
					return err
				}
				lost++
				continue
			}
			if err != nil {
				return fmt.Errorf("signing key %s: %w; give the secret it was sealed with as the second one", k.KID, err)
			}
			if err := tx.Table(table).Where("kid = ?", k.KID).Updates(map[string]any{
				"private_key": s.secret.seal(der, k.KID), "secret_id": s.secret.currentID(),
			}).Error; err != nil {
				return err
			}
		}
		if lost < len(rows) || first == nil {
			return nil
		}
		first.CreatedAt, first.ActivatesAt = realm.Now, realm.Now
		return tx.Table(table).Create(first).Error
	})
}

func (s *Store) loadKeys(ctx context.Context) error {
	set := &keySet{byHeader: map[string]*SigningKey{}, loaded: time.Now()}
	var now Micros
	err := s.read(ctx, func(tx *gorm.DB) (err error) {
		if now, err = s.now(tx); err != nil {
			return err
		}
		return errors.Join(s.readKeys(tx, accessKeys, &set.all), s.readKeys(tx, identityKeys, &set.identity))
	})
	if err != nil {
		return err
	}
	retired := func(k *SigningKey) bool { return k.RetiresAt != 0 && k.RetiresAt <= now }
	set.all, set.identity = slices.DeleteFunc(set.all, retired), slices.DeleteFunc(set.identity, retired)
	for _, k := range slices.Concat(set.all, set.identity) {
		if err := k.load(s.secret); err != nil {
			return fmt.Errorf("signing key %s: %w", k.KID, err)
		}
		jwk, err := newJWK(k.public, k.Alg)
		if err != nil {
			return err
		}
		if k.Purpose == KeyForAccess {
			set.byHeader[k.header] = k
		}
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

// readKeys reads a key table, newest first.
func (s *Store) readKeys(tx *gorm.DB, table string, keys *[]*SigningKey) error {
	err := tx.Table(table).Order("activates_at DESC, created_at DESC").Find(keys).Error
	for _, k := range *keys {
		k.Purpose = KeyForAccess
		if table == identityKeys {
			k.Purpose = KeyForIdentity
		}
	}
	return err
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

// ListKeys returns the keys of both tables, newest first, the private parts left out.
func (s *Store) ListKeys(ctx context.Context) (list []SigningKey, err error) {
	var access, identity []*SigningKey
	err = s.read(ctx, func(tx *gorm.DB) error {
		return errors.Join(s.readKeys(tx, accessKeys, &access), s.readKeys(tx, identityKeys, &identity))
	})
	for _, k := range slices.Concat(access, identity) {
		k.PrivateKey = nil
		list = append(list, *k)
	}
	return list, err
}

// SignIdentity makes a token that an app looks at: a JWT with this typ, by the key for those.
func (s *Store) SignIdentity(typ string, claims any, now Micros) (string, error) {
	keys := s.keys.Load().identity
	i := slices.IndexFunc(keys, func(k *SigningKey) bool { return k.ActivatesAt <= now })
	if i < 0 {
		i = len(keys) - 1 // a clock that stepped back
	}
	key := keys[i]
	header, err := key.identityHeader(typ)
	if err != nil {
		return "", err
	}
	payload, err := json.Marshal(claims)
	if err != nil {
		return "", fmt.Errorf("the claims of a token: %w", err)
	}
	text := header + "." + b64(payload)
	signature, err := signingMethod(key.Alg).Sign(text, key.private)
	if err != nil {
		return "", fmt.Errorf("sign with key %s: %w", key.KID, err)
	}
	return text + "." + b64(signature), nil
}

// identityHeader is the JOSE header of a token of this type, encoded.
func (k *SigningKey) identityHeader(typ string) (string, error) {
	header, err := json.Marshal(map[string]string{"typ": typ, "alg": k.Alg, "kid": k.KID})
	return b64(header), err
}

// RotateKeys makes a new signing key of each table, and returns that of access tokens. It is published at once and
// signs after twice the key set's max-age; the older keys stay published until their last token has expired, and nobody
// notices. With now it signs at once and the older keys are withdrawn, which ends every token signed by them: the
// answer to a leaked key.
func (s *Store) RotateKeys(ctx context.Context, now bool, by Actor) (*SigningKey, error) {
	if _, err := s.rotateKeys(ctx, identityKeys, now, 0, by); err != nil {
		return nil, err
	}
	return s.rotateKeys(ctx, accessKeys, now, 0, by)
}

// rotateOldKeys is what is due without being asked.
func (s *Store) rotateOldKeys(ctx context.Context) error {
	for _, table := range []string{accessKeys, identityKeys} {
		if _, err := s.rotateKeys(ctx, table, false, s.cfg.KeyRotation, Actor{Entity: EntitySystem}); err != nil {
			return err
		}
	}
	return nil
}

// rotateKeys does nothing, and returns nil, if the newest key is younger than olderThan.
func (s *Store) rotateKeys(
	ctx context.Context, table string, now bool, olderThan time.Duration, by Actor,
) (*SigningKey, error) {
	if due, err := s.rotationIsDue(ctx, table, olderThan); err != nil || !due {
		return nil, err
	}
	key, err := s.newSigningKey(table)
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
		if err := s.row(tx, `SELECT (SELECT max(created_at) FROM `+table+`), longest_access_ttl FROM realm`, nil,
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
		if err := tx.Table(table).Where("retires_at = 0 OR retires_at > ?", retires).
			Update("retires_at", retires).Error; err != nil {
			return err
		}
		if err := tx.Table(table).Create(key).Error; err != nil {
			return err
		}
		made = true
		event := AuditEvent{At: key.CreatedAt, Type: AuditKeysRotated, Detail: detail{"kid": key.KID, "now": now}}
		if table == identityKeys {
			event.Detail["purpose"] = KeyForIdentity
		}
		return s.audit(tx, event, by)
	})
	if err != nil || !made {
		return nil, err
	}
	return key, s.loadKeys(ctx)
}

// rotationIsDue looks before a key is made, which takes its time.
func (s *Store) rotationIsDue(ctx context.Context, table string, olderThan time.Duration) (due bool, err error) {
	err = s.read(ctx, func(tx *gorm.DB) error {
		return s.row(tx, `SELECT coalesce((SELECT max(created_at) FROM `+table+`), 0) <= {now} - @age FROM realm`,
			args{"age": olderThan}, &due)
	})
	return due, err
}
