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
	"golang.org/x/crypto/bcrypt"
	"golang.org/x/crypto/scrypt"
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
		return scrypt.Key([]byte(password), p.salt, 1<<p.cost, int(p.block), int(p.lanes), len(p.key))
	case bcryptHash:
		err := bcrypt.CompareHashAndPassword([]byte(p.encode()), []byte(password[:min(len(password), maxBcryptPassword)]))
		if errors.Is(err, bcrypt.ErrMismatchedHashAndPassword) {
			return nil, nil
		}
		return p.key, err
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

// tellsApart is false for a password that the algorithm cannot tell from another one: bcrypt reads 72 bytes, and
// repeats what ends with a NUL; HMAC, in pbkdf2 and scrypt, fills up with NULs. Such a password is wrong, whatever was
// computed.
func (p *storedHash) tellsApart(password string) bool {
	switch p.algorithm {
	case argon2idHash, argon2iHash:
		return true
	case bcryptHash:
		return len(password) <= maxBcryptPassword && !strings.Contains(password, "\x00")
	}
	return !strings.Contains(password, "\x00")
}
