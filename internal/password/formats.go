package password

import (
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// storedHash is a parsed and bounded hash: what [parse] lets through can be computed.
type storedHash struct {
	algorithm algorithm
	memory    uint32 // argon2: KiB
	cost      uint32 // argon2: passes; scrypt: log2 of N; bcrypt: log2 of the rounds; pbkdf2: rounds
	block     uint32 // scrypt: r
	lanes     uint32 // argon2 and scrypt: p
	bcryptID  string // bcrypt: 2a, 2b or 2y
	prehash   prehash
	salt, key []byte

	separator, signer []byte // Firebase's scrypt: what follows the salt, and what the key encrypts; nil elsewhere
}

// algorithm is the name that stands first in the PHC string.
type algorithm string

const (
	argon2idHash     algorithm = "argon2id"
	argon2iHash      algorithm = "argon2i"
	bcryptHash       algorithm = "bcrypt"
	scryptHash       algorithm = "scrypt"
	pbkdf2SHA1Hash   algorithm = "pbkdf2-sha1"
	pbkdf2SHA256Hash algorithm = "pbkdf2-sha256"
	pbkdf2SHA512Hash algorithm = "pbkdf2-sha512"
)

const knownForms = "bcrypt ($2a$, $2b$, $2y$), $argon2id$, $argon2i$, scrypt ($scrypt$, $7$, $s0$), " +
	"$pbkdf2-sha1$, $pbkdf2-sha256$, $pbkdf2-sha512$; Django's bcrypt$, bcrypt_sha256$, argon2$, scrypt$, " +
	"pbkdf2_sha1$, pbkdf2_sha256$; passlib's $bcrypt-sha256$; werkzeug's scrypt: and pbkdf2:; Firebase's $firescrypt$"

// Import checks a password hash that another system made, and returns it in the one form that is stored. It takes
// bcrypt; argon2id, argon2i, scrypt and pbkdf2 as PHC strings, their parameters in any order; the crypt forms $7$
// (libxcrypt, libsodium) and $s0$ (lambdaworks) of scrypt; and what Django, passlib, werkzeug, Kratos and Firebase
// make of these. A hash that asks for more memory or time than the bounds allow is refused here rather than at every
// sign-in, and so is one that costs so little that it protects nothing. The error says what was wrong and what it must
// be, and holds no part of the hash but its numbers.
func Import(s string) (canonical string, err error) {
	p, err := parse(strings.TrimSpace(s))
	if err != nil {
		return "", err
	}
	if err := p.checkWorth(); err != nil {
		return "", err
	}
	return p.encode(), nil
}

// encode writes the stored form. Where several are in use it is passlib's.
func (p *storedHash) encode() string {
	b64 := base64.RawStdEncoding.EncodeToString
	switch p.algorithm {
	case bcryptHash:
		return p.encodeBcrypt()
	case scryptHash:
		if p.signer != nil {
			return p.encodeFirebase()
		}
		return fmt.Sprintf("$scrypt$ln=%d,r=%d,p=%d$%s$%s", p.cost, p.block, p.lanes, b64(p.salt), b64(p.key))
	case argon2idHash, argon2iHash:
		return fmt.Sprintf("$%s$v=19$m=%d,t=%d,p=%d$%s$%s", p.algorithm, p.memory, p.cost, p.lanes, b64(p.salt), b64(p.key))
	}
	b64 = adaptedBase64.EncodeToString
	return fmt.Sprintf("$%s$%d$%s$%s", p.algorithm, p.cost, b64(p.salt), b64(p.key))
}

const letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"

var (
	bcryptBase64  = base64.NewEncoding("./" + letters + "0123456789").WithPadding(base64.NoPadding)
	adaptedBase64 = base64.NewEncoding(letters + "0123456789./").WithPadding(base64.NoPadding)
)

// parse understands the stored form and all that [Import] takes, and holds it to the bounds.
func parse(s string) (*storedHash, error) {
	switch {
	case s == "":
		return nil, fmt.Errorf("the password hash is empty: must be one of %s", knownForms)
	case len(s) > maxLength:
		return nil, fmt.Errorf("the password hash has %d characters: must be at most %d", len(s), maxLength)
	}
	for i := range len(s) {
		if s[i] <= ' ' || s[i] > '~' { // base64 decoders skip line ends
			const says = "the password hash has a character that is not printable ASCII, or a space, at position %d"
			return nil, fmt.Errorf(says, i+1)
		}
	}
	p, err := parseFields(splitScheme(s))
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

// splitScheme takes the name of the form off, with its dollar sign. A name without one is Django's, which puts such a
// name before the forms of others too.
func splitScheme(s string) (scheme string, fields []string) {
	fields = strings.Split(s, "$")
	if fields[0] == "" && len(fields) > 1 {
		return "$" + fields[1], fields[2:]
	}
	scheme, fields = fields[0], fields[1:]
	switch {
	case scheme == "bcrypt" && len(fields) > 2 && fields[0] == "":
		return "$" + fields[1], fields[2:]
	case scheme == "argon2" && len(fields) > 1:
		return "$" + fields[0], fields[1:]
	}
	return scheme, fields
}

func parseFields(scheme string, fields []string) (*storedHash, error) {
	switch scheme {
	case "$2a", "$2b", "$2y":
		return parseBcrypt(scheme[1:], fields)
	case "$argon2id", "$argon2i":
		return parseArgon2(algorithm(scheme[1:]), fields)
	case "$scrypt":
		return parseScrypt(fields)
	case "$firescrypt":
		return parseFirebase(fields)
	case "bcrypt_sha256":
		return parseBcryptDjango(fields)
	case "$bcrypt-sha256":
		return parseBcryptPasslib(fields)
	case "$7":
		return parseScryptCrypt(fields)
	case "$s0":
		return parseScryptHex(fields)
	case "scrypt":
		return parseScryptDjango(fields)
	case "$pbkdf2", "$pbkdf2-sha1":
		return parsePBKDF2(pbkdf2SHA1Hash, fields)
	case "$pbkdf2-sha256", "$pbkdf2-sha512":
		return parsePBKDF2(algorithm(scheme[1:]), fields)
	case "pbkdf2_sha1":
		return parsePBKDF2Django(pbkdf2SHA1Hash, fields)
	case "pbkdf2_sha256":
		return parsePBKDF2Django(pbkdf2SHA256Hash, fields)
	case "$argon2d", "$2", "$2x", "$1", "$5", "$6", "$y", "$gy":
		kind := strings.TrimPrefix(scheme, "$")
		return nil, fmt.Errorf("a password hash of the kind %s is not taken: must be one of %s", kind, knownForms)
	}
	if strings.HasPrefix(scheme, "scrypt:") || strings.HasPrefix(scheme, "pbkdf2:") {
		return parseWerkzeug(scheme, fields)
	}
	// It is not repeated: it may be a password.
	return nil, fmt.Errorf("the password hash is of no known form: must be one of %s", knownForms)
}

// $2b$12$ and 53 characters: 16 bytes of salt, 23 of hash.
func parseBcrypt(id string, fields []string) (*storedHash, error) {
	if len(fields) != 2 || len(fields[0]) != 2 || len(fields[1]) != 53 {
		return nil, fmt.Errorf("bcrypt: must be $%s$, two digits, $ and 53 characters", id)
	}
	p := &storedHash{algorithm: bcryptHash, bcryptID: id}
	var err error
	if p.cost, err = number("bcrypt", "cost", strings.TrimPrefix(fields[0], "0")); err != nil {
		return nil, err
	}
	// The last character of each has bits to spare, and not every system left them zero.
	if p.salt, err = bcryptBase64.DecodeString(fields[1][:22]); err != nil {
		return nil, fmt.Errorf("bcrypt: the salt is not in bcrypt's base64")
	}
	if p.key, err = bcryptBase64.DecodeString(fields[1][22:]); err != nil {
		return nil, fmt.Errorf("bcrypt: the hash is not in bcrypt's base64")
	}
	return p, nil
}

// $argon2id$v=19$m=65536,t=3,p=4$salt$hash
func parseArgon2(algorithm algorithm, fields []string) (*storedHash, error) {
	if len(fields) == 3 { // version 16 did not name itself
		return nil, fmt.Errorf("%s: the version is missing, which means 16: must be v=19", algorithm)
	}
	if len(fields) != 4 {
		return nil, fmt.Errorf("%s: must be $%s$v=19$m=…,t=…,p=…$salt$hash", algorithm, algorithm)
	}
	if fields[0] != "v=19" {
		return nil, fmt.Errorf("%s: the version is not 19: must be v=19", algorithm)
	}
	p := &storedHash{algorithm: algorithm}
	err := parameters(algorithm, fields[1], []string{"m", "t", "p"}, &p.memory, &p.cost, &p.lanes)
	if err != nil {
		return nil, err
	}
	return p.decode(base64.RawStdEncoding, fields[2], fields[3])
}

// $scrypt$ln=16,r=8,p=1$salt$hash; Kratos writes N itself after ln.
func parseScrypt(fields []string) (*storedHash, error) {
	if len(fields) != 3 {
		return nil, fmt.Errorf("scrypt: must be $scrypt$ln=…,r=…,p=…$salt$hash")
	}
	p := &storedHash{algorithm: scryptHash}
	if err := parameters(scryptHash, fields[0], []string{"ln", "r", "p"}, &p.cost, &p.block, &p.lanes); err != nil {
		return nil, err
	}
	if p.cost >= 64 { // no machine has 2^64 bytes
		if err := p.setScryptN(p.cost); err != nil {
			return nil, err
		}
	}
	return p.decode(base64.RawStdEncoding, fields[1], fields[2])
}

// $7$ and one character of ln, five of r, five of p, the salt as it is, $ and 43 characters: crypt(5).
func parseScryptCrypt(fields []string) (*storedHash, error) {
	const form = "scrypt: must be $7$, 11 characters of parameters, the salt, $ and 43 characters"
	if len(fields) != 2 || len(fields[0]) < 11 {
		return nil, errors.New(form)
	}
	ln, ok1 := cryptNumber(fields[0][:1])
	r, ok2 := cryptNumber(fields[0][1:6])
	lanes, ok3 := cryptNumber(fields[0][6:11])
	key, ok4 := cryptDecode(fields[1])
	if !ok1 || !ok2 || !ok3 || !ok4 || len(key) != 32 {
		return nil, errors.New(form)
	}
	salt := []byte(fields[0][11:])
	return &storedHash{algorithm: scryptHash, cost: ln, block: r, lanes: lanes, salt: salt, key: key}, nil
}

// $s0$e0801$salt$hash: ln, r and p as one number in hexadecimal.
func parseScryptHex(fields []string) (*storedHash, error) {
	if len(fields) != 3 {
		return nil, fmt.Errorf("scrypt: must be $s0$parameters$salt$hash")
	}
	n, err := strconv.ParseUint(fields[0], 16, 32)
	if err != nil {
		return nil, fmt.Errorf("scrypt: the parameters are not a hexadecimal number of 32 bits")
	}
	p := &storedHash{algorithm: scryptHash, cost: uint32(n >> 16), block: uint32(n >> 8 & 0xff), lanes: uint32(n & 0xff)}
	return p.decode(base64.RawStdEncoding, fields[1], fields[2])
}

// scrypt$16384$salt$8$1$hash
func parseScryptDjango(fields []string) (*storedHash, error) {
	if len(fields) != 5 {
		return nil, fmt.Errorf("scrypt: must be scrypt$N$salt$r$p$hash")
	}
	p := &storedHash{salt: []byte(fields[1])}
	if err := p.setScrypt(fields[0], fields[2], fields[3]); err != nil {
		return nil, err
	}
	return p.decode(base64.RawStdEncoding, "", fields[4])
}

// $pbkdf2-sha256$29000$salt$hash (passlib), $pbkdf2-sha256$i=29000,l=32$salt$hash (RustCrypto)
func parsePBKDF2(algorithm algorithm, fields []string) (*storedHash, error) {
	if len(fields) != 3 {
		return nil, fmt.Errorf("%s: must be $%s$rounds$salt$hash", algorithm, algorithm)
	}
	p := &storedHash{algorithm: algorithm}
	var err error
	var length uint32
	switch rounds := fields[0]; {
	case strings.Contains(rounds, ","):
		err = parameters(algorithm, rounds, []string{"i", "l"}, &p.cost, &length)
	case strings.Contains(rounds, "="):
		err = parameters(algorithm, rounds, []string{"i"}, &p.cost)
	default:
		p.cost, err = number(algorithm, "the number of rounds", rounds)
	}
	if err != nil {
		return nil, err
	}
	plain := strings.NewReplacer("+", ".") // PHC's base64 has + where passlib's has a dot
	if p, err = p.decode(adaptedBase64, plain.Replace(fields[1]), plain.Replace(fields[2])); err != nil {
		return nil, err
	}
	if length != 0 && int(length) != len(p.key) {
		return nil, fmt.Errorf("%s: l is %d, but the hash has %d bytes", algorithm, length, len(p.key))
	}
	return p, nil
}

// pbkdf2_sha256$600000$salt$hash: the salt as it is, the hash in padded base64.
func parsePBKDF2Django(algorithm algorithm, fields []string) (*storedHash, error) {
	if len(fields) != 3 {
		name := strings.ReplaceAll(string(algorithm), "-", "_")
		return nil, fmt.Errorf("%s: must be %s$rounds$salt$hash", algorithm, name)
	}
	p := &storedHash{algorithm: algorithm, salt: []byte(fields[1])}
	var err error
	if p.cost, err = number(algorithm, "the number of rounds", fields[0]); err != nil {
		return nil, err
	}
	return p.decode(base64.RawStdEncoding, "", fields[2])
}

// decode sets the salt, unless it is there already, and the key. Padding may be there or not.
func (p *storedHash) decode(enc *base64.Encoding, salt, key string) (*storedHash, error) {
	var err error
	enc = enc.Strict()
	if p.salt == nil {
		if p.salt, err = enc.DecodeString(strings.TrimRight(salt, "=")); err != nil {
			return nil, fmt.Errorf("%s: the salt is not base64", p.algorithm)
		}
	}
	if p.key, err = enc.DecodeString(strings.TrimRight(key, "=")); err != nil {
		return nil, fmt.Errorf("%s: the hash is not base64", p.algorithm)
	}
	return p, nil
}

// parameters reads "m=65536,t=3,p=4": these names, each once, in any order, and no others.
func parameters(algorithm algorithm, s string, names []string, values ...*uint32) error {
	texts, err := assignments(algorithm, s, names...)
	if err != nil {
		return err
	}
	for i, name := range names {
		if *values[i], err = number(algorithm, name, texts[name]); err != nil {
			return err
		}
	}
	return nil
}

// assignments reads the same without an opinion on the values.
func assignments(algorithm algorithm, s string, names ...string) (map[string]string, error) {
	parts, values := strings.Split(s, ","), map[string]string{}
	for _, part := range parts {
		name, value, ok := strings.Cut(part, "=")
		if _, twice := values[name]; !ok || twice || !slices.Contains(names, name) {
			break
		}
		values[name] = value
	}
	if len(parts) != len(names) || len(values) != len(names) {
		return nil, fmt.Errorf("%s: the parameters must be %s, each once", algorithm, strings.Join(names, ", "))
	}
	return values, nil
}

// number reads a decimal number in its only spelling.
func number(algorithm algorithm, name, digits string) (uint32, error) {
	n, err := strconv.ParseUint(digits, 10, 32)
	if err != nil || strconv.FormatUint(n, 10) != digits {
		return 0, fmt.Errorf("%s: %s is not a decimal number of 32 bits", algorithm, name)
	}
	return uint32(n), nil
}

const cryptAlphabet = "./0123456789" + letters

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
