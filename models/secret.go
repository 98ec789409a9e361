package models

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"errors"
)

// MinSecretSize is how many bytes of randomness the server's secret has at least.
const MinSecretSize = 32

// keyring holds what is derived from the server's secrets (HKDF, RFC 5869), one key for each purpose. The first secret
// makes, all of them are understood.
type keyring struct {
	subkeys []subkeys
}

type subkeys struct {
	id       [4]byte // names the secret without telling anything of it
	refresh  []byte  // HMAC key of refresh tokens
	browser  []byte  // HMAC key of the cookies of browser sessions
	keys     cipher.AEAD
	throttle []byte // HMAC key of the names in rate_limits
	cursor   []byte // HMAC key of list cursors
}

func newKeyring(secrets [][]byte) (*keyring, error) {
	if len(secrets) == 0 {
		return nil, invalid("the server's secret is missing: must be %d random bytes or more", MinSecretSize)
	}
	k := &keyring{}
	for i, secret := range secrets {
		if len(secret) < MinSecretSize {
			return nil, invalid("secret number %d has %d bytes: must be %d random bytes or more",
				i+1, len(secret), MinSecretSize)
		}
		for _, other := range secrets[:i] {
			if bytes.Equal(other, secret) {
				return nil, invalid("secret number %d is there twice", i+1)
			}
		}
		sub := func(purpose string) []byte {
			key, err := hkdf.Key(sha256.New, secret, nil, "curfew "+purpose+" v1", 32)
			if err != nil {
				panic(err) // only for absurd lengths
			}
			return key
		}
		block, err := aes.NewCipher(sub("signing keys"))
		if err != nil {
			return nil, err
		}
		aead, err := cipher.NewGCMWithRandomNonce(block)
		if err != nil {
			return nil, err
		}
		k.subkeys = append(k.subkeys, subkeys{
			id: [4]byte(sub("id")), refresh: sub("refresh tokens"), browser: sub("browser sessions"), keys: aead,
			throttle: sub("rate limits"), cursor: sub("cursors"),
		})
	}
	return k, nil
}

func (k *keyring) current() *subkeys { return &k.subkeys[0] }

func (k *keyring) byID(id [4]byte) *subkeys {
	for i := range k.subkeys {
		if k.subkeys[i].id == id {
			return &k.subkeys[i]
		}
	}
	return nil
}

func (k *keyring) currentID() string { return hex.EncodeToString(k.current().id[:]) }

// seal encrypts what belongs to name under the current secret.
func (k *keyring) seal(plain []byte, name string) []byte {
	return k.current().keys.Seal(nil, nil, plain, []byte(name))
}

var errWrongSecret = errors.New("none of the server's secrets opens it")

func (k *keyring) open(secretID string, sealed []byte, name string) ([]byte, error) {
	id, err := hex.DecodeString(secretID)
	if err != nil || len(id) != 4 {
		return nil, errWrongSecret
	}
	sub := k.byID([4]byte(id))
	if sub == nil {
		return nil, errWrongSecret
	}
	plain, err := sub.keys.Open(nil, nil, sealed, []byte(name))
	if err != nil {
		return nil, errWrongSecret
	}
	return plain, nil
}

func mac(key []byte, parts ...[]byte) []byte {
	h := hmac.New(sha256.New, key)
	for _, p := range parts {
		h.Write(p)
	}
	return h.Sum(nil)
}

// newClientSecret is 130 bits or more of letters and digits: the same bytes in both forms of HTTP Basic.
func newClientSecret() string { return rand.Text() + rand.Text() }

// A client secret is random and long, so a plain hash of it gives nothing away; it need not be slow.
func hashClientSecret(secret string) string {
	sum := sha256.Sum256([]byte(secret))
	return hex.EncodeToString(sum[:])
}

func equalClientSecret(hash, secret string) bool {
	return subtle.ConstantTimeCompare([]byte(hash), []byte(hashClientSecret(secret))) == 1
}
