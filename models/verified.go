package models

import (
	"crypto/sha256"
	"sync"
)

// verifiedTokens remembers which access tokens carry a signature that was checked, because checking one anew costs more than
// the rest of an introspection, and a token is asked about many times. It remembers that and nothing else: not what a token
// says, which is read from the token each time, and not whether it lives, which the database is asked each time. What was
// signed stays signed; a key that is no longer in the key set finds nothing here, because it is not looked up.
type verifiedTokens struct {
	mu         sync.Mutex
	young, old map[[sha256.Size]byte]struct{}
}

// verifiedSize is how many there are in each of the two generations; two full ones take about 5 MB.
const verifiedSize = 32 << 10

// verifiedKey names a token together with the key that it was checked with.
func verifiedKey(key *SigningKey, raw string) [sha256.Size]byte {
	h := sha256.New()
	h.Write(key.PublicKey)
	h.Write([]byte(raw))
	return [sha256.Size]byte(h.Sum(nil))
}

func (v *verifiedTokens) has(key [sha256.Size]byte) bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	if _, ok := v.young[key]; ok {
		return true
	}
	_, ok := v.old[key]
	if ok {
		v.put(key)
	}
	return ok
}

func (v *verifiedTokens) add(key [sha256.Size]byte) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.put(key)
}

func (v *verifiedTokens) put(key [sha256.Size]byte) {
	if v.young == nil || len(v.young) >= verifiedSize {
		v.young, v.old = make(map[[sha256.Size]byte]struct{}), v.young
	}
	v.young[key] = struct{}{}
}
