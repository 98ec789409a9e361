package models

import (
	"crypto/sha256"
	"sync"
)

// verifiedTokens remembers the access tokens whose signature was checked, and what they say, because checking and
// reading one anew costs more than the rest of an introspection, and a token is asked about many times. Both follow
// from the token's own text and never change; whether it lives is asked of the database each time. A key that is no
// longer in the key set finds nothing here, because it is not looked up.
type verifiedTokens struct {
	mu         sync.Mutex
	young, old map[[sha256.Size]byte]*Claims
}

// verifiedSize is how many there are in each of the two generations; two full ones take some 25 MB.
const verifiedSize = 16 << 10

// verifiedKey names a token together with the key that it was checked with.
func verifiedKey(key *SigningKey, raw string) [sha256.Size]byte {
	h := sha256.New()
	h.Write(key.PublicKey)
	h.Write([]byte(raw))
	return [sha256.Size]byte(h.Sum(nil))
}

func (v *verifiedTokens) get(key [sha256.Size]byte) *Claims {
	v.mu.Lock()
	defer v.mu.Unlock()
	if c := v.young[key]; c != nil {
		return c
	}
	c := v.old[key]
	if c != nil {
		v.put(key, c)
	}
	return c
}

func (v *verifiedTokens) add(key [sha256.Size]byte, c *Claims) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.put(key, c)
}

func (v *verifiedTokens) put(key [sha256.Size]byte, c *Claims) {
	if v.young == nil || len(v.young) >= verifiedSize {
		v.young, v.old = make(map[[sha256.Size]byte]*Claims), v.young
	}
	v.young[key] = c
}
