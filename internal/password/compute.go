package password

import (
	"crypto/pbkdf2"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/sha512"
	"errors"
	"hash"
	"strings"

	"golang.org/x/crypto/argon2"
)

// computeKey is the one place where a password is hashed: bounded (the caller holds a slot and the memory), without a
// lock, and not to be interrupted. It keeps a CPU busy for tens of milliseconds: see [worker].
//
// The key is as long as p.key. bcrypt gives no key but a verdict: it is p.key or nothing.
func computeKey(p *storedHash, password string) (key []byte, err error) {
	var digest func() hash.Hash
	switch p.algorithm {
	case argon2idHash:
		return argon2.IDKey([]byte(password), p.salt, p.cost, p.memory, uint8(p.lanes), uint32(len(p.key))), nil
	case argon2iHash:
		return argon2.Key([]byte(password), p.salt, p.cost, p.memory, uint8(p.lanes), uint32(len(p.key))), nil
	case scryptHash:
		return scryptKey(p, password)
	case bcryptHash:
		return bcryptVerdict(p, password)
	case pbkdf2SHA1Hash:
		digest = sha1.New
	case pbkdf2SHA256Hash:
		digest = sha256.New
	case pbkdf2SHA512Hash:
		digest = sha512.New
	default:
		return nil, errors.New("unknown algorithm")
	}
	return pbkdf2.Key(digest, password, p.salt, int(p.cost), len(p.key))
}

// maxBcryptPassword is how many bytes of a password bcrypt looks at.
const maxBcryptPassword = 72

// truncates is true for a password of which bcrypt looks at the beginning only. The systems that we import from mostly
// cut it off in silence, so its user signs in with the whole of it: it is right if its beginning is. What follows was
// never looked at, and may be mistyped: such a hash is kept, not made anew of what was typed.
func (p *storedHash) truncates(password string) bool {
	return p.algorithm == bcryptHash && p.prehash == noPrehash && len(password) > maxBcryptPassword
}

// tellsApart is false for a password that the algorithm cannot tell from another one, which no system made: bcrypt
// repeats what ends with a NUL; HMAC, in pbkdf2 and scrypt, fills up with NULs. Such a password is wrong, whatever was
// computed.
func (p *storedHash) tellsApart(password string) bool {
	switch {
	case p.algorithm == argon2idHash, p.algorithm == argon2iHash, p.prehash != noPrehash:
		return true
	}
	return !strings.Contains(password, "\x00")
}
