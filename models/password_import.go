package models

import (
	"encoding/base64"
	"fmt"
	"strconv"
	"strings"
)

// passwordHash is a parsed and bounded hash: what [parsePasswordHash] lets through can be computed.
type passwordHash struct {
	algorithm passwordAlgorithm
	memory    uint32 // argon2: KiB
	cost      uint32 // argon2: passes; scrypt: log2 of N; bcrypt: log2 of the rounds; pbkdf2: rounds
	block     uint32 // scrypt: r
	lanes     uint32 // argon2 and scrypt: p
	bcryptID  string // bcrypt: 2a, 2b or 2y
	salt, key []byte
}

// passwordAlgorithm is the name that stands first in the PHC string.
type passwordAlgorithm string

const (
	argon2idHash     passwordAlgorithm = "argon2id"
	argon2iHash      passwordAlgorithm = "argon2i"
	bcryptHash       passwordAlgorithm = "bcrypt"
	scryptHash       passwordAlgorithm = "scrypt"
	pbkdf2SHA1Hash   passwordAlgorithm = "pbkdf2-sha1"
	pbkdf2SHA256Hash passwordAlgorithm = "pbkdf2-sha256"
	pbkdf2SHA512Hash passwordAlgorithm = "pbkdf2-sha512"
)

// What a stored hash may ask for. Each is above what the systems we import from have as a default, and keeps one sign-in
// to about a second and [maxHashMemory].
const (
	maxHashLength     = 512       // characters of the text
	maxHashMemory     = 256 << 10 // KiB, of argon2 and scrypt
	maxHashTraffic    = 1 << 20   // KiB, argon2: memory × passes; scrypt: memory × lanes
	maxArgon2Passes   = 10
	maxHashLanes      = 16
	minBcryptCost     = 4
	maxBcryptCost     = 14
	maxScryptLogN     = 22
	maxScryptBlock    = 64
	maxPBKDF2Rounds   = 5_000_000 // for each block of the key
	minHashSalt       = 8         // bytes: RFC 8018 section 4.1, RFC 9106 section 3.1
	maxHashSalt       = 128
	minHashKey        = 16 // a shorter one fits wrong passwords too
	maxHashKey        = 64
	importedHashForms = "bcrypt ($2a$, $2b$, $2y$), $argon2id$, $argon2i$, scrypt ($scrypt$, $7$, $s0$), $pbkdf2-sha1$, $pbkdf2-sha256$, " +
		"$pbkdf2-sha512$, and what Django makes of these: bcrypt$, argon2$, scrypt$, pbkdf2_sha1$, pbkdf2_sha256$"
)

// ImportHash checks a password hash that another system made, and returns it in the one form that is stored. It takes bcrypt; argon2id,
// argon2i, scrypt and pbkdf2 as PHC strings; the crypt forms $7$ (libxcrypt, libsodium) and $s0$ (lambdaworks) of scrypt;
// and Django's forms of all of them. Whoever asks for more memory or time than the bounds allow is refused here rather than
// at every sign-in. The error wraps [ErrInvalid], says what was wrong and what is taken, and holds no part of the hash but its numbers.
func ImportHash(s string) (canonical string, err error) {
	p, err := parsePasswordHash(strings.TrimSpace(s))
	if err != nil {
		return "", err
	}
	return p.encode(), nil
}

// encode writes the stored form. Where several are in use it is passlib's.
func (p *passwordHash) encode() string {
	b64 := base64.RawStdEncoding.EncodeToString
	switch p.algorithm {
	case bcryptHash:
		return fmt.Sprintf("$%s$%02d$%s%s", p.bcryptID, p.cost, bcryptBase64.EncodeToString(p.salt), bcryptBase64.EncodeToString(p.key))
	case scryptHash:
		return fmt.Sprintf("$scrypt$ln=%d,r=%d,p=%d$%s$%s", p.cost, p.block, p.lanes, b64(p.salt), b64(p.key))
	case argon2idHash, argon2iHash:
		return fmt.Sprintf("$%s$v=19$m=%d,t=%d,p=%d$%s$%s", p.algorithm, p.memory, p.cost, p.lanes, b64(p.salt), b64(p.key))
	}
	return fmt.Sprintf("$%s$%d$%s$%s", p.algorithm, p.cost, adaptedBase64.EncodeToString(p.salt), adaptedBase64.EncodeToString(p.key))
}

var (
	bcryptBase64  = base64.NewEncoding("./ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789").WithPadding(base64.NoPadding)
	adaptedBase64 = base64.NewEncoding("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789./").WithPadding(base64.NoPadding)
)

// parsePasswordHash understands the stored form and all that [ImportHash] takes, and holds it to the bounds.
func parsePasswordHash(s string) (*passwordHash, error) {
	switch {
	case s == "":
		return nil, invalid("the password hash is empty: it takes %s", importedHashForms)
	case len(s) > maxHashLength:
		return nil, invalid("the password hash has %d characters: it takes at most %d", len(s), maxHashLength)
	}
	for i := range len(s) {
		if s[i] <= ' ' || s[i] > '~' { // base64 decoders skip line ends
			return nil, invalid("the password hash has a character that is not printable ASCII, or a space, at position %d", i+1)
		}
	}
	scheme, fields := "", strings.Split(s, "$")
	if fields[0] == "" && len(fields) > 1 {
		scheme, fields = "$"+fields[1], fields[2:]
	} else {
		scheme, fields = fields[0], fields[1:] // Django puts a name of its own in front
		if (scheme == "bcrypt" && len(fields) > 2 && fields[0] == "") || (scheme == "argon2" && len(fields) > 1) {
			if scheme == "bcrypt" {
				fields = fields[1:]
			}
			scheme, fields = "$"+fields[0], fields[1:]
		}
	}
	var p *passwordHash
	var err error
	switch scheme {
	case "$2a", "$2b", "$2y":
		p, err = parseBcrypt(scheme[1:], fields)
	case "$argon2id", "$argon2i":
		p, err = parseArgon2(passwordAlgorithm(scheme[1:]), fields)
	case "$scrypt":
		p, err = parseScrypt(fields)
	case "$7":
		p, err = parseScryptCrypt(fields)
	case "$s0":
		p, err = parseScryptHex(fields)
	case "scrypt":
		p, err = parseScryptDjango(fields)
	case "$pbkdf2", "$pbkdf2-sha1":
		p, err = parsePBKDF2(pbkdf2SHA1Hash, fields)
	case "$pbkdf2-sha256", "$pbkdf2-sha512":
		p, err = parsePBKDF2(passwordAlgorithm(scheme[1:]), fields)
	case "pbkdf2_sha1":
		p, err = parsePBKDF2Django(pbkdf2SHA1Hash, fields)
	case "pbkdf2_sha256":
		p, err = parsePBKDF2Django(pbkdf2SHA256Hash, fields)
	case "$argon2d", "$2", "$2x", "$1", "$5", "$6", "$y", "$gy", "bcrypt_sha256", "$bcrypt-sha256":
		return nil, invalid("a password hash of the kind %s is not taken: it takes %s", strings.TrimPrefix(scheme, "$"), importedHashForms)
	default: // do not repeat it: it may be a password
		return nil, invalid("the password hash is of no known form: it takes %s", importedHashForms)
	}
	if err != nil {
		return nil, err
	}
	if err := p.checkSizes(); err != nil {
		return nil, err
	}
	if err := p.checkCost(); err != nil {
		return nil, err
	}
	return p, nil
}

// checkCost holds the parameters to the bounds, before they cost anything.
func (p *passwordHash) checkCost() error {
	within := func(name string, v, low, high uint32) error {
		if v < low || v > high {
			return invalid("%s: %s is %d: it takes %d to %d", p.algorithm, name, v, low, high)
		}
		return nil
	}
	switch p.algorithm {
	case argon2idHash, argon2iHash:
		if err := within("p (lanes)", p.lanes, 1, maxHashLanes); err != nil {
			return err
		}
		if err := within("t (passes)", p.cost, 1, maxArgon2Passes); err != nil {
			return err
		}
		if err := within("m (KiB of memory)", p.memory, 8*p.lanes, maxHashMemory); err != nil { // RFC 9106 section 3.1
			return err
		}
		if p.memory*p.cost > maxHashTraffic {
			return invalid("%s: m × t is %d: it takes at most %d", p.algorithm, p.memory*p.cost, maxHashTraffic)
		}
	case scryptHash:
		if err := within("p (lanes)", p.lanes, 1, maxHashLanes); err != nil {
			return err
		}
		if err := within("r (block size)", p.block, 1, maxScryptBlock); err != nil {
			return err
		}
		if err := within("ln (log2 of N)", p.cost, 1, maxScryptLogN); err != nil {
			return err
		}
		kib := uint64(p.block) << p.cost / 8 // 128 × N × r bytes
		if kib > maxHashMemory {
			return invalid("scrypt: N × r × 128 is %d KiB of memory: it takes at most %d", kib, maxHashMemory)
		}
		if kib*uint64(p.lanes) > maxHashTraffic {
			return invalid("scrypt: N × r × p × 128 is %d KiB: it takes at most %d", kib*uint64(p.lanes), maxHashTraffic)
		}
	case bcryptHash:
		return within("cost", p.cost, minBcryptCost, maxBcryptCost)
	default:
		size := map[passwordAlgorithm]int{pbkdf2SHA1Hash: 20, pbkdf2SHA256Hash: 32, pbkdf2SHA512Hash: 64}[p.algorithm]
		blocks := (len(p.key) + size - 1) / size
		return within("the number of rounds", p.cost, 1, uint32(maxPBKDF2Rounds/max(blocks, 1)))
	}
	return nil
}

func (p *passwordHash) checkSizes() error {
	if n := len(p.salt); n < minHashSalt || n > maxHashSalt {
		return invalid("%s: the salt has %d bytes: it takes %d to %d", p.algorithm, n, minHashSalt, maxHashSalt)
	}
	if n := len(p.key); n < minHashKey || n > maxHashKey {
		return invalid("%s: the hash has %d bytes: it takes %d to %d", p.algorithm, n, minHashKey, maxHashKey)
	}
	return nil
}

// kibibytes is the memory that one computation holds.
func (p *passwordHash) kibibytes() int64 {
	switch p.algorithm {
	case argon2idHash, argon2iHash:
		return int64(p.memory)
	case scryptHash:
		return max(int64(p.block)<<p.cost/8, 1)
	}
	return 4 // bcrypt's tables; pbkdf2 needs less
}

// $2b$12$ and 53 characters: 16 bytes of salt, 23 of hash.
func parseBcrypt(id string, fields []string) (*passwordHash, error) {
	if len(fields) != 2 || len(fields[0]) != 2 || len(fields[1]) != 53 {
		return nil, invalid("bcrypt: it takes $%s$, two digits, $ and 53 characters", id)
	}
	p := &passwordHash{algorithm: bcryptHash, bcryptID: id}
	var err error
	if p.cost, err = hashNumber("bcrypt", "cost", strings.TrimPrefix(fields[0], "0")); err != nil {
		return nil, err
	}
	// The last character of each has bits to spare, and not every system left them zero.
	if p.salt, err = bcryptBase64.DecodeString(fields[1][:22]); err != nil {
		return nil, invalid("bcrypt: the salt is not in bcrypt's base64")
	}
	if p.key, err = bcryptBase64.DecodeString(fields[1][22:]); err != nil {
		return nil, invalid("bcrypt: the hash is not in bcrypt's base64")
	}
	return p, nil
}

// $argon2id$v=19$m=65536,t=3,p=4$salt$hash
func parseArgon2(algorithm passwordAlgorithm, fields []string) (*passwordHash, error) {
	if len(fields) == 3 { // version 16 did not name itself
		return nil, invalid("%s: the version is missing, which means 16: it takes v=19", algorithm)
	}
	if len(fields) != 4 {
		return nil, invalid("%s: it takes $%s$v=19$m=…,t=…,p=…$salt$hash", algorithm, algorithm)
	}
	if fields[0] != "v=19" {
		return nil, invalid("%s: the version is not 19: it takes v=19", algorithm)
	}
	p := &passwordHash{algorithm: algorithm}
	err := hashParameters(algorithm, fields[1], []string{"m", "t", "p"}, &p.memory, &p.cost, &p.lanes)
	if err != nil {
		return nil, err
	}
	return p.decode(base64.RawStdEncoding, fields[2], fields[3])
}

// $scrypt$ln=16,r=8,p=1$salt$hash
func parseScrypt(fields []string) (*passwordHash, error) {
	if len(fields) != 3 {
		return nil, invalid("scrypt: it takes $scrypt$ln=…,r=…,p=…$salt$hash")
	}
	p := &passwordHash{algorithm: scryptHash}
	if err := hashParameters(scryptHash, fields[0], []string{"ln", "r", "p"}, &p.cost, &p.block, &p.lanes); err != nil {
		return nil, err
	}
	return p.decode(base64.RawStdEncoding, fields[1], fields[2])
}

// $7$ and one character of ln, five of r, five of p, the salt as it is, $ and 43 characters: crypt(5).
func parseScryptCrypt(fields []string) (*passwordHash, error) {
	const form = "scrypt: it takes $7$, 11 characters of parameters, the salt, $ and 43 characters"
	if len(fields) != 2 || len(fields[0]) < 11 {
		return nil, invalid(form)
	}
	ln, ok1 := cryptNumber(fields[0][:1])
	r, ok2 := cryptNumber(fields[0][1:6])
	lanes, ok3 := cryptNumber(fields[0][6:11])
	key, ok4 := cryptDecode(fields[1])
	if !ok1 || !ok2 || !ok3 || !ok4 || len(key) != 32 {
		return nil, invalid(form)
	}
	return &passwordHash{algorithm: scryptHash, cost: ln, block: r, lanes: lanes, salt: []byte(fields[0][11:]), key: key}, nil
}

// $s0$e0801$salt$hash: ln, r and p as one number in hexadecimal.
func parseScryptHex(fields []string) (*passwordHash, error) {
	if len(fields) != 3 {
		return nil, invalid("scrypt: it takes $s0$parameters$salt$hash")
	}
	n, err := strconv.ParseUint(fields[0], 16, 32)
	if err != nil {
		return nil, invalid("scrypt: the parameters are not a hexadecimal number of 32 bits")
	}
	p := &passwordHash{algorithm: scryptHash, cost: uint32(n >> 16), block: uint32(n >> 8 & 0xff), lanes: uint32(n & 0xff)}
	return p.decode(base64.RawStdEncoding, fields[1], fields[2])
}

// scrypt$16384$salt$8$1$hash
func parseScryptDjango(fields []string) (*passwordHash, error) {
	if len(fields) != 5 {
		return nil, invalid("scrypt: it takes scrypt$N$salt$r$p$hash")
	}
	p := &passwordHash{algorithm: scryptHash}
	n, err := hashNumber(scryptHash, "N", fields[0])
	if err != nil {
		return nil, err
	}
	for 1<<p.cost < uint64(n) {
		p.cost++
	}
	if uint64(n) != 1<<p.cost {
		return nil, invalid("scrypt: N is no power of two")
	}
	if p.block, err = hashNumber(scryptHash, "r", fields[2]); err != nil {
		return nil, err
	}
	if p.lanes, err = hashNumber(scryptHash, "p", fields[3]); err != nil {
		return nil, err
	}
	p.salt = []byte(fields[1])
	return p.decode(base64.RawStdEncoding, "", fields[4])
}

// $pbkdf2-sha256$29000$salt$hash (passlib), $pbkdf2-sha256$i=29000,l=32$salt$hash (RustCrypto)
func parsePBKDF2(algorithm passwordAlgorithm, fields []string) (*passwordHash, error) {
	if len(fields) != 3 {
		return nil, invalid("%s: it takes $%s$rounds$salt$hash", algorithm, algorithm)
	}
	p := &passwordHash{algorithm: algorithm}
	var err error
	var length uint32
	switch rounds := fields[0]; {
	case strings.Contains(rounds, ","):
		err = hashParameters(algorithm, rounds, []string{"i", "l"}, &p.cost, &length)
	case strings.Contains(rounds, "="):
		err = hashParameters(algorithm, rounds, []string{"i"}, &p.cost)
	default:
		p.cost, err = hashNumber(algorithm, "the number of rounds", rounds)
	}
	if err != nil {
		return nil, err
	}
	plain := strings.NewReplacer("+", ".") // PHC's base64 has + where passlib's has a dot
	if p, err = p.decode(adaptedBase64, plain.Replace(fields[1]), plain.Replace(fields[2])); err != nil {
		return nil, err
	}
	if length != 0 && int(length) != len(p.key) {
		return nil, invalid("%s: l is %d, but the hash has %d bytes", algorithm, length, len(p.key))
	}
	return p, nil
}

// pbkdf2_sha256$600000$salt$hash: the salt as it is, the hash in padded base64.
func parsePBKDF2Django(algorithm passwordAlgorithm, fields []string) (*passwordHash, error) {
	if len(fields) != 3 {
		return nil, invalid("%s: it takes %s$rounds$salt$hash", algorithm, strings.ReplaceAll(string(algorithm), "-", "_"))
	}
	p := &passwordHash{algorithm: algorithm, salt: []byte(fields[1])}
	var err error
	if p.cost, err = hashNumber(algorithm, "the number of rounds", fields[0]); err != nil {
		return nil, err
	}
	return p.decode(base64.RawStdEncoding, "", fields[2])
}

// decode sets the salt, unless it is there already, and the key. Padding may be there or not.
func (p *passwordHash) decode(enc *base64.Encoding, salt, key string) (*passwordHash, error) {
	var err error
	enc = enc.Strict()
	if p.salt == nil {
		if p.salt, err = enc.DecodeString(strings.TrimRight(salt, "=")); err != nil {
			return nil, invalid("%s: the salt is not base64", p.algorithm)
		}
	}
	if p.key, err = enc.DecodeString(strings.TrimRight(key, "=")); err != nil {
		return nil, invalid("%s: the hash is not base64", p.algorithm)
	}
	return p, nil
}

// hashParameters reads "m=65536,t=3,p=4": these names, in this order, and no others.
func hashParameters(algorithm passwordAlgorithm, s string, names []string, values ...*uint32) error {
	parts := strings.Split(s, ",")
	if len(parts) != len(names) {
		return invalid("%s: it takes the parameters %s", algorithm, strings.Join(names, ", "))
	}
	for i, part := range parts {
		digits, ok := strings.CutPrefix(part, names[i]+"=")
		if !ok {
			return invalid("%s: it takes the parameters %s, in this order", algorithm, strings.Join(names, ", "))
		}
		var err error
		if *values[i], err = hashNumber(algorithm, names[i], digits); err != nil {
			return err
		}
	}
	return nil
}

// hashNumber reads a decimal number in its only spelling.
func hashNumber(algorithm passwordAlgorithm, name, digits string) (uint32, error) {
	n, err := strconv.ParseUint(digits, 10, 32)
	if err != nil || strconv.FormatUint(n, 10) != digits {
		return 0, invalid("%s: %s is not a decimal number of 32 bits", algorithm, name)
	}
	return uint32(n), nil
}

const cryptAlphabet = "./0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"

// cryptNumber reads crypt's digits, six bits each, the lowest first.
func cryptNumber(s string) (n uint32, ok bool) {
	for i := range len(s) {
		d := strings.IndexByte(cryptAlphabet, s[i])
		if d < 0 {
			return 0, false
		}
		n |= uint32(d) << (6 * i) // five digits have 30 bits
	}
	return n, true
}

// cryptDecode reads crypt's base64: three bytes are a number of four digits, the last ones of fewer.
func cryptDecode(s string) (b []byte, ok bool) {
	for len(s) > 0 {
		size := min(4, len(s))
		n, ok := cryptNumber(s[:size])
		if !ok || size == 1 || n>>(8*(size-1)) != 0 {
			return nil, false
		}
		for range size - 1 {
			b = append(b, byte(n))
			n >>= 8
		}
		s = s[size:]
	}
	return b, true
}
