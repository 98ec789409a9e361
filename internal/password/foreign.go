package password

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"

	"golang.org/x/crypto/bcrypt"
	"golang.org/x/crypto/scrypt"
)

// Variants of bcrypt and scrypt that one system alone writes.

// prehash is what a system does to a password before it gives it to bcrypt, so that more than 72 bytes of it count.
type prehash string

const (
	noPrehash       prehash = ""
	djangoSHA256    prehash = "bcrypt_sha256"     // SHA-256, in hexadecimal
	passlibSHA256   prehash = "bcrypt-sha256"     // SHA-256, in base64: passlib up to 1.7.2
	passlibHMAC     prehash = "bcrypt-sha256 v=2" // HMAC-SHA-256 with the salt's text as its key, in base64: passlib since
	maxSeparator            = 16                  // bytes, of Firebase's salt separator
	firebaseKeySize         = 32                  // bytes, of the AES key that scrypt makes
)

func (p *storedHash) prehashed(password string) []byte {
	switch p.prehash {
	case djangoSHA256:
		sum := sha256.Sum256([]byte(password))
		return []byte(hex.EncodeToString(sum[:]))
	case passlibSHA256:
		sum := sha256.Sum256([]byte(password))
		return []byte(base64.StdEncoding.EncodeToString(sum[:]))
	case passlibHMAC:
		mac := hmac.New(sha256.New, []byte(bcryptBase64.EncodeToString(p.salt)))
		mac.Write([]byte(password))
		return []byte(base64.StdEncoding.EncodeToString(mac.Sum(nil)))
	}
	return []byte(password[:min(len(password), maxBcryptPassword)])
}

// bcryptVerdict is p.key for the right password and nothing for a wrong one.
func bcryptVerdict(p *storedHash, password string) ([]byte, error) {
	err := bcrypt.CompareHashAndPassword([]byte(p.bcryptText()), p.prehashed(password))
	if errors.Is(err, bcrypt.ErrMismatchedHashAndPassword) {
		return nil, nil
	}
	return p.key, err
}

// bcryptText is crypt's form, without what was done before.
func (p *storedHash) bcryptText() string {
	b64 := bcryptBase64.EncodeToString
	return fmt.Sprintf("$%s$%02d$%s%s", p.bcryptID, p.cost, b64(p.salt), b64(p.key))
}

func (p *storedHash) encodeBcrypt() string {
	b64 := bcryptBase64.EncodeToString
	switch p.prehash {
	case djangoSHA256:
		return "bcrypt_sha256$" + p.bcryptText()
	case passlibSHA256:
		return fmt.Sprintf("$bcrypt-sha256$%s,%d$%s$%s", p.bcryptID, p.cost, b64(p.salt), b64(p.key))
	case passlibHMAC:
		return fmt.Sprintf("$bcrypt-sha256$v=2,t=%s,r=%d$%s$%s", p.bcryptID, p.cost, b64(p.salt), b64(p.key))
	}
	return p.bcryptText()
}

// bcrypt_sha256$$2b$12$ and 53 characters: Django.
func parseBcryptDjango(fields []string) (*storedHash, error) {
	if len(fields) != 4 || fields[0] != "" || len(fields[1]) != 2 || !strings.Contains("2a 2b 2y", fields[1]) {
		return nil, errors.New("bcrypt_sha256: must be bcrypt_sha256$$2b$, two digits, $ and 53 characters")
	}
	p, err := parseBcrypt(fields[1], fields[2:])
	if err != nil {
		return nil, err
	}
	p.prehash = djangoSHA256
	return p, nil
}

// $bcrypt-sha256$v=2,t=2b,r=12$salt$hash, or with 2b,12 in place of the parameters: passlib.
func parseBcryptPasslib(fields []string) (*storedHash, error) {
	const form = "bcrypt-sha256: must be $bcrypt-sha256$v=2,t=2b,r=…$, 22 characters of salt, $ and 31 characters"
	if len(fields) != 3 || len(fields[1]) != 22 || len(fields[2]) != 31 {
		return nil, errors.New(form)
	}
	id, rounds, kind := "", "", passlibSHA256
	if parts := strings.Split(fields[0], ","); len(parts) == 2 {
		id, rounds = parts[0], parts[1]
	} else {
		values, err := assignments("bcrypt-sha256", fields[0], "v", "t", "r")
		if err != nil {
			return nil, err
		}
		if values["v"] != "2" {
			return nil, errors.New(form)
		}
		id, rounds, kind = values["t"], values["r"], passlibHMAC
	}
	if id != "2a" && id != "2b" {
		return nil, errors.New(form)
	}
	cost, err := number("bcrypt-sha256", "r (cost)", rounds)
	if err != nil {
		return nil, err
	}
	p, err := parseBcrypt(id, []string{fmt.Sprintf("%02d", min(cost, 99)), fields[1] + fields[2]})
	if err != nil {
		return nil, err
	}
	if kind == passlibHMAC && bcryptBase64.EncodeToString(p.salt) != fields[1] { // its text is the key
		return nil, errors.New("bcrypt-sha256: the salt is not in bcrypt's base64")
	}
	p.prehash = kind
	return p, nil
}

// scrypt:32768:8:1$salt$hash and pbkdf2:sha256:600000$salt$hash, the hash in hexadecimal: werkzeug.
func parseWerkzeug(scheme string, fields []string) (*storedHash, error) {
	method := strings.Split(scheme, ":")
	if len(fields) != 2 {
		return nil, fmt.Errorf("%s: must be the method with its parameters, $, the salt, $ and the hash", method[0])
	}
	p := &storedHash{salt: []byte(fields[0])}
	var err error
	switch {
	case method[0] == "scrypt" && len(method) == 4:
		err = p.setScrypt(method[1], method[2], method[3])
	case method[0] == "pbkdf2" && len(method) == 3:
		digest := map[string]algorithm{
			"sha1": pbkdf2SHA1Hash, "sha256": pbkdf2SHA256Hash, "sha512": pbkdf2SHA512Hash,
		}[method[1]]
		if digest == "" {
			return nil, errors.New("pbkdf2: the digest must be sha1, sha256 or sha512")
		}
		p.algorithm = digest
		p.cost, err = number(digest, "the number of rounds", method[2])
	default:
		return nil, fmt.Errorf("%s: must be scrypt:N:r:p$salt$hash or pbkdf2:DIGEST:ROUNDS$salt$hash", method[0])
	}
	if err != nil {
		return nil, err
	}
	if p.key, err = hex.DecodeString(fields[1]); err != nil {
		return nil, fmt.Errorf("%s: the hash is not hexadecimal", p.algorithm)
	}
	return p, nil
}

// setScrypt takes N, r and p as they are written.
func (p *storedHash) setScrypt(n, r, lanes string) (err error) {
	p.algorithm = scryptHash
	iterations, err := number(scryptHash, "N", n)
	if err != nil {
		return err
	}
	if p.block, err = number(scryptHash, "r", r); err != nil {
		return err
	}
	if p.lanes, err = number(scryptHash, "p", lanes); err != nil {
		return err
	}
	return p.setScryptN(iterations)
}

func (p *storedHash) setScryptN(n uint32) error {
	p.cost = 0
	for 1<<p.cost < uint64(n) {
		p.cost++
	}
	if uint64(n) != 1<<p.cost {
		return errors.New("scrypt: N is no power of two")
	}
	return nil
}

// $firescrypt$ln=14,r=8,p=1$salt$hash$salt separator$signer key, all in base64: Firebase's export, as Kratos writes it.
func parseFirebase(fields []string) (*storedHash, error) {
	if len(fields) != 5 {
		return nil, errors.New("firescrypt: must be $firescrypt$ln=…,r=…,p=…$salt$hash$salt separator$signer key")
	}
	p := &storedHash{algorithm: scryptHash}
	err := parameters("firescrypt", fields[0], []string{"ln", "r", "p"}, &p.cost, &p.block, &p.lanes)
	if err != nil {
		return nil, err
	}
	if p, err = p.decode(base64.RawStdEncoding, fields[1], fields[2]); err != nil {
		return nil, err
	}
	strict := base64.RawStdEncoding.Strict()
	separator, err := strict.DecodeString(strings.TrimRight(fields[3], "="))
	if err != nil || len(separator) > maxSeparator {
		return nil, fmt.Errorf("firescrypt: the salt separator must be base64 of at most %d bytes", maxSeparator)
	}
	signer, err := strict.DecodeString(strings.TrimRight(fields[4], "="))
	if err != nil || len(signer) != len(p.key) || len(signer) == 0 {
		return nil, errors.New("firescrypt: the signer key must be base64 of as many bytes as the hash has")
	}
	p.separator, p.signer = separator, signer
	return p, nil
}

func (p *storedHash) encodeFirebase() string {
	b64 := base64.StdEncoding.EncodeToString
	return fmt.Sprintf("$firescrypt$ln=%d,r=%d,p=%d$%s$%s$%s$%s", p.cost, p.block, p.lanes,
		b64(p.salt), b64(p.key), b64(p.separator), b64(p.signer))
}

// scryptKey is the key, or for Firebase its signer key, encrypted with it.
func scryptKey(p *storedHash, password string) ([]byte, error) {
	if p.signer == nil {
		return scrypt.Key([]byte(password), p.salt, 1<<p.cost, int(p.block), int(p.lanes), len(p.key))
	}
	salt := append(p.salt[:len(p.salt):len(p.salt)], p.separator...)
	key, err := scrypt.Key([]byte(password), salt, 1<<p.cost, int(p.block), int(p.lanes), firebaseKeySize)
	if err != nil {
		return nil, err
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	sealed := make([]byte, len(p.signer))
	cipher.NewCTR(block, make([]byte, aes.BlockSize)).XORKeyStream(sealed, p.signer)
	return sealed, nil
}
