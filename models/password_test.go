package models

import (
	"context"
	"errors"
	"runtime"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/go-crypt/crypt/algorithm/argon2"
	"github.com/go-crypt/crypt/algorithm/bcrypt"
	"github.com/go-crypt/crypt/algorithm/pbkdf2"
	"github.com/go-crypt/crypt/algorithm/scrypt"
)

// cheapHashes keeps the tests fast; nothing in hasher depends on how much a hash costs.
var cheapHashes = HashConfig{Memory: 64, Time: 1, Threads: 1, Concurrency: 2, Queue: 3}

func testHasher(t testing.TB, cfg HashConfig) *hasher {
	t.Helper()
	h, err := newHasher(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return h
}

// countingHasher counts what it computes, with which parameters.
func countingHasher(t testing.TB, cfg HashConfig) (*hasher, *[]string) {
	h, done := testHasher(t, cfg), new([]string)
	h.compute = func(p *passwordHash, password string) ([]byte, error) {
		cost := *p
		cost.salt, cost.key = nil, nil
		*done = append(*done, cost.encode())
		return computePassword(p, password)
	}
	return h, done
}

func TestHasher_RoundTrip(t *testing.T) {
	h := testHasher(t, HashConfig{})
	phc, err := h.hash(t.Context(), "correct horse battery staple")
	if err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(phc, "$argon2id$v=19$m=19456,t=2,p=1$") {
		t.Errorf("got %s, want argon2id with the default parameters", phc)
	}
	if ok, stale, err := h.verify(t.Context(), phc, "correct horse battery staple"); !ok || stale || err != nil {
		t.Errorf("the password: got %v, %v, %v, want it right and not stale", ok, stale, err)
	}
	for _, wrong := range []string{"", "correct horse battery stapl", "correct horse battery staple\x00", "Correct horse battery staple", strings.Repeat("x", 2000)} {
		if ok, stale, err := h.verify(t.Context(), phc, wrong); ok || stale || err != nil {
			t.Errorf("%.40q: got %v, %v, %v, want it wrong", wrong, ok, stale, err)
		}
	}
	again, err := h.hash(t.Context(), "correct horse battery staple")
	if err != nil || again == phc {
		t.Errorf("the same password again: got the same hash, or %v; want another salt", err)
	}
	// Another implementation must read what we write.
	digest, err := argon2.Decode(phc)
	if err != nil {
		t.Fatal(err)
	}
	if !digest.Match("correct horse battery staple") {
		t.Error("go-crypt: the password does not match our hash")
	}
	if h.queued() != 0 {
		t.Errorf("afterwards %d hashes are counted as running", h.queued())
	}
}

const vectorPassword = "correct horse battery staple"

// What other programs made: argon2's README and its test.c, libxcrypt's crypt(3) through Perl, RFC 7914 in the form $7$, and Python's
// hashlib for the rest.
var importVectors = []struct{ name, password, hash, canonical string }{
	{
		"argon2i, README of the reference implementation", "password",
		"$argon2i$v=19$m=65536,t=2,p=4$c29tZXNhbHQ$RdescudvJCsgt3ub+b+dWRWJTmaaJObG", "",
	},
	{
		"argon2id, test.c of the reference implementation", "password",
		"$argon2id$v=19$m=256,t=2,p=1$c29tZXNhbHQ$nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4", "",
	},
	{
		"argon2id, Django", "password",
		"argon2$argon2id$v=19$m=256,t=2,p=1$c29tZXNhbHQ$nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4",
		"$argon2id$v=19$m=256,t=2,p=1$c29tZXNhbHQ$nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4",
	},
	{"bcrypt 2a", vectorPassword, "$2a$04$abcdefghijklmnopqrstuu7EJV7kdjBBQxyb0HjTh9KS7.Lah/6CG", ""},
	{"bcrypt 2b", vectorPassword, "$2b$04$abcdefghijklmnopqrstuu7EJV7kdjBBQxyb0HjTh9KS7.Lah/6CG", ""},
	{"bcrypt 2y", vectorPassword, "$2y$04$abcdefghijklmnopqrstuu7EJV7kdjBBQxyb0HjTh9KS7.Lah/6CG", ""},
	{
		"bcrypt, spare bits of the salt set", vectorPassword, "$2b$04$abcdefghijklmnopqrstuv7EJV7kdjBBQxyb0HjTh9KS7.Lah/6CG",
		"$2b$04$abcdefghijklmnopqrstuu7EJV7kdjBBQxyb0HjTh9KS7.Lah/6CG",
	},
	{
		"bcrypt, Django", vectorPassword, "bcrypt$$2b$04$abcdefghijklmnopqrstuu7EJV7kdjBBQxyb0HjTh9KS7.Lah/6CG",
		"$2b$04$abcdefghijklmnopqrstuu7EJV7kdjBBQxyb0HjTh9KS7.Lah/6CG",
	},
	{"bcrypt, UTF-8", "pässwörd-ünïcode", "$2b$04$abcdefghijklmnopqrstuuV99m6c8lLdd2MX9TANV5TOhBwUuxNrW", ""},
	{"pbkdf2-sha1", vectorPassword, "$pbkdf2-sha1$1000$c2FsdHNhbHRzYWx0$MNEV9u2pN6dwoHiByKLtK5AJwGc", ""},
	{
		"pbkdf2-sha1, passlib's name", vectorPassword, "$pbkdf2$1000$c2FsdHNhbHRzYWx0$MNEV9u2pN6dwoHiByKLtK5AJwGc",
		"$pbkdf2-sha1$1000$c2FsdHNhbHRzYWx0$MNEV9u2pN6dwoHiByKLtK5AJwGc",
	},
	{"pbkdf2-sha256", vectorPassword, "$pbkdf2-sha256$1000$c2FsdHNhbHRzYWx0$KQDle8SXZRa7sBUZQfkYQI6NXnZxupxhxtm.aXnClyg", ""},
	{
		"pbkdf2-sha512", vectorPassword,
		"$pbkdf2-sha512$1000$c2FsdHNhbHRzYWx0$DdePUyRocgAl03UAD52hWr3T5PJAJ.XmaWPWayKeQfYfS/2o.F8xzxS6BET2RDqVLCKstA5cpv8TtN0w9Up80w", "",
	},
	{
		"pbkdf2-sha256, PHC parameters", vectorPassword,
		"$pbkdf2-sha256$i=1000,l=32$c2FsdHNhbHRzYWx0$KQDle8SXZRa7sBUZQfkYQI6NXnZxupxhxtm+aXnClyg",
		"$pbkdf2-sha256$1000$c2FsdHNhbHRzYWx0$KQDle8SXZRa7sBUZQfkYQI6NXnZxupxhxtm.aXnClyg",
	},
	{
		"pbkdf2_sha1, Django", vectorPassword, "pbkdf2_sha1$1000$saltsaltsalt$MNEV9u2pN6dwoHiByKLtK5AJwGc=",
		"$pbkdf2-sha1$1000$c2FsdHNhbHRzYWx0$MNEV9u2pN6dwoHiByKLtK5AJwGc",
	},
	{
		"pbkdf2_sha256, Django", vectorPassword, "pbkdf2_sha256$1000$saltsaltsalt$KQDle8SXZRa7sBUZQfkYQI6NXnZxupxhxtm+aXnClyg=",
		"$pbkdf2-sha256$1000$c2FsdHNhbHRzYWx0$KQDle8SXZRa7sBUZQfkYQI6NXnZxupxhxtm.aXnClyg",
	},
	{"scrypt", vectorPassword, "$scrypt$ln=4,r=8,p=2$c2FsdHNhbHRzYWx0$dMODbj5FPkKNPZLWE6NF3wLFvLrCc1xpK1f1lk21j0E", ""},
	{
		"scrypt $s0$", vectorPassword, "$s0$40802$c2FsdHNhbHRzYWx0$dMODbj5FPkKNPZLWE6NF3wLFvLrCc1xpK1f1lk21j0E=",
		"$scrypt$ln=4,r=8,p=2$c2FsdHNhbHRzYWx0$dMODbj5FPkKNPZLWE6NF3wLFvLrCc1xpK1f1lk21j0E",
	},
	{
		"scrypt, Django", vectorPassword,
		"scrypt$16$saltsaltsalt$8$2$dMODbj5FPkKNPZLWE6NF3wLFvLrCc1xpK1f1lk21j0GCALFdBEXAa7+QwYp9YyLzmrJGCGx2CEGzT2gB/Qm2CA==",
		"$scrypt$ln=4,r=8,p=2$c2FsdHNhbHRzYWx0$dMODbj5FPkKNPZLWE6NF3wLFvLrCc1xpK1f1lk21j0GCALFdBEXAa7+QwYp9YyLzmrJGCGx2CEGzT2gB/Qm2CA",
	},
	{
		"scrypt $7$", "pleaseletmein", "$7$C6..../....SodiumChloride$kBGj9fHznVYFQMEn/qDCfrDevf9YDtcDdKvEqHJLV8D",
		"$scrypt$ln=14,r=8,p=1$U29kaXVtQ2hsb3JpZGU$cCO9yzr9c0hGHAbNgf046/2o+7qQT44+qbVD9lRdofI",
	},
}

func TestImportHash_Vectors(t *testing.T) {
	h := testHasher(t, cheapHashes)
	for _, v := range importVectors {
		t.Run(v.name, func(t *testing.T) {
			want := v.canonical
			if want == "" {
				want = v.hash
			}
			got, err := ImportHash(" " + v.hash + "\n")
			if err != nil || got != want {
				t.Fatalf("import: got %s, %v, want %s", got, err, want)
			}
			if ok, stale, err := h.verify(t.Context(), got, v.password); !ok || !stale || err != nil {
				t.Errorf("the password: got %v, %v, %v, want it right and stale", ok, stale, err)
			}
			for _, wrong := range []string{"", v.password + "x", v.password + "\x00", v.password + "\x00" + v.password, strings.Repeat(v.password, 20)} {
				if ok, stale, err := h.verify(t.Context(), got, wrong); ok || stale || err != nil {
					t.Errorf("%.40q: got %v, %v, %v, want it wrong", wrong, ok, stale, err)
				}
			}
		})
	}
}

// What go-crypt makes must be taken as it is.
func TestImportHash_FromGoCrypt(t *testing.T) {
	h := testHasher(t, cheapHashes)
	try := func(name string, encoded string, err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		got, err := ImportHash(encoded)
		if err != nil || got != encoded {
			t.Fatalf("%s: got %s, %v, want %s", name, got, err, encoded)
		}
		if ok, stale, err := h.verify(t.Context(), got, vectorPassword); !ok || !stale || err != nil {
			t.Errorf("%s: got %v, %v, %v, want the password right and stale", name, ok, stale, err)
		}
	}
	a, err := argon2.New(argon2.WithVariantI(), argon2.WithM(64), argon2.WithT(2), argon2.WithP(2))
	if err != nil {
		t.Fatal(err)
	}
	d, err := a.Hash(vectorPassword)
	try("argon2i", d.Encode(), err)
	b, err := bcrypt.New(bcrypt.WithIterations(10))
	if err != nil {
		t.Fatal(err)
	}
	d, err = b.Hash(vectorPassword)
	try("bcrypt", d.Encode(), err)
	p, err := pbkdf2.New(pbkdf2.WithVariant(pbkdf2.VariantSHA512), pbkdf2.WithIterations(pbkdf2.IterationsMin))
	if err != nil {
		t.Fatal(err)
	}
	d, err = p.Hash(vectorPassword)
	try("pbkdf2", d.Encode(), err)
	s, err := scrypt.New(scrypt.WithLN(5), scrypt.WithR(4), scrypt.WithP(3))
	if err != nil {
		t.Fatal(err)
	}
	d, err = s.Hash(vectorPassword)
	try("scrypt", d.Encode(), err)
}

// bcrypt looks at 72 bytes. A longer password that begins with the right ones is wrong, and no error.
func TestHasher_BcryptBeyond72Bytes(t *testing.T) {
	const of80a = "$2b$04$abcdefghijklmnopqrstuuBzzIgyKkz7xMWYSzkIjUSnxEQFQ0WNe" // libxcrypt, of 80 times a
	h, done := countingHasher(t, cheapHashes)
	for length, want := range map[int]bool{71: false, 72: true, 73: false, 80: false, 1024: false} {
		ok, _, err := h.verify(t.Context(), of80a, strings.Repeat("a", length))
		if ok != want || err != nil {
			t.Errorf("%d bytes: got %v, %v, want %v", length, ok, err, want)
		}
	}
	if len(*done) != 5 {
		t.Errorf("computed %d hashes for 5 passwords: the answer to a long one must cost the same", len(*done))
	}
}

func TestHasher_Stale(t *testing.T) {
	current := cheapHashes
	h := testHasher(t, current)
	for name, change := range map[string]func(*HashConfig){
		"less memory": func(c *HashConfig) { c.Memory = 32 },
		"more memory": func(c *HashConfig) { c.Memory = 128 },
		"more passes": func(c *HashConfig) { c.Time = 2 },
		"more lanes":  func(c *HashConfig) { c.Threads = 2 },
		"the same":    func(*HashConfig) {},
		"other slots": func(c *HashConfig) { c.Concurrency, c.Queue = 1, 1 },
	} {
		cfg := current
		change(&cfg)
		phc, err := testHasher(t, cfg).hash(t.Context(), vectorPassword)
		if err != nil {
			t.Fatal(err)
		}
		want := name != "the same" && name != "other slots"
		if ok, stale, err := h.verify(t.Context(), phc, vectorPassword); !ok || stale != want || err != nil {
			t.Errorf("%s: got %v, %v, %v, want it right and stale: %v", name, ok, stale, err, want)
		}
		if ok, stale, err := h.verify(t.Context(), phc, "wrong"); ok || stale || err != nil {
			t.Errorf("%s, wrong password: got %v, %v, %v, want neither right nor stale", name, ok, stale, err)
		}
	}
}

// NFKC: one password, however the keyboard composes its accents; and an imported hash may be of the other form.
func TestHasher_Normalises(t *testing.T) {
	h, done := countingHasher(t, cheapHashes)
	const composed, decomposed = "caf\u00e9 cr\u00e8me", "cafe\u0301 cre\u0300me"
	for _, made := range []string{composed, decomposed} {
		phc, err := h.hash(t.Context(), made)
		if err != nil {
			t.Fatal(err)
		}
		for _, typed := range []string{composed, decomposed} {
			if ok, stale, err := h.verify(t.Context(), phc, typed); !ok || stale || err != nil {
				t.Errorf("made of %+q, typed %+q: got %v, %v, %v, want it right and current", made, typed, ok, stale, err)
			}
		}
	}

	raw := h.current // as a system that does not normalise would make it
	raw.salt, raw.key = []byte("saltsaltsaltsalt"), make([]byte, hasherKeySize)
	raw.key, _ = computePassword(&raw, decomposed)
	if ok, stale, err := h.verify(t.Context(), raw.encode(), decomposed); !ok || !stale || err != nil {
		t.Errorf("imported: got %v, %v, %v, want it right and stale", ok, stale, err)
	}

	*done = nil
	if _, _, err := h.verify(t.Context(), raw.encode(), decomposed+"x"); err != nil {
		t.Fatal(err)
	}
	wrong := len(*done)
	*done = nil
	if err := h.verifyUnknown(t.Context(), decomposed+"x"); err != nil {
		t.Fatal(err)
	}
	if len(*done) != wrong || wrong != 2 {
		t.Errorf("computed %d for an unknown user and %d for a wrong password, want 2 each", len(*done), wrong)
	}
}

func TestHasher_UnknownUserCostsTheSame(t *testing.T) {
	h, done := countingHasher(t, cheapHashes)
	phc, err := h.hash(t.Context(), vectorPassword)
	if err != nil {
		t.Fatal(err)
	}
	for _, password := range []string{"", "wrong", strings.Repeat("ü", 300), strings.Repeat("x", MaxPasswordSize), strings.Repeat("x", MaxPasswordSize+1), "\xff\x00"} {
		*done = nil
		if _, _, err := h.verify(t.Context(), phc, password); err != nil {
			t.Fatal(err)
		}
		known := slices.Clone(*done)
		*done = nil
		if err := h.verifyUnknown(t.Context(), password); err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(known, *done) {
			t.Errorf("%.20q: computed %q for a known user and %q for an unknown one", password, known, *done)
		}
	}
}

func TestHasher_TooLong(t *testing.T) {
	h, done := countingHasher(t, cheapHashes)
	if _, err := h.hash(t.Context(), strings.Repeat("x", MaxPasswordSize+1)); !errors.Is(err, ErrPasswordPolicy) {
		t.Errorf("hash: got %v, want ErrPasswordPolicy", err)
	}
	if ok, _, err := h.verify(t.Context(), h.dummy, strings.Repeat("x", MaxPasswordSize+1)); ok || err != nil {
		t.Errorf("verify: got %v, %v, want it wrong", ok, err)
	}
	if len(*done) != 0 {
		t.Errorf("computed %q", *done)
	}
}

// A hash that asks for too much, or makes no sense, is refused on import and again when it is used, before anything is computed.
func TestImportHash_Refuses(t *testing.T) {
	const argon, pbkdf2ed = "$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc", "$c2FsdHNhbHRzYWx0$KQDle8SXZRa7sBUZQfkYQI6NXnZxupxhxtm.aXnClyg"
	const bcrypted = "abcdefghijklmnopqrstuu7EJV7kdjBBQxyb0HjTh9KS7.Lah/6CG"
	const scrypted = "$c2FsdHNhbHRzYWx0$dMODbj5FPkKNPZLWE6NF3wLFvLrCc1xpK1f1lk21j0E"
	const longKey = "$c2FsdHNhbHRzYWx0$DdePUyRocgAl03UAD52hWr3T5PJAJ.XmaWPWayKeQfYfS/2o.F8xzxS6BET2RDqVLCKstA5cpv8TtN0w9Up80w"
	h, done := countingHasher(t, cheapHashes)
	for _, tt := range []struct{ hash, says string }{
		{"", "empty"},
		{"hunter2!", "no known form"},
		{"$", "no known form"},
		{"$$$$$", "no known form"},
		{"5f4dcc3b5aa765d61d8327deb882cf99", "no known form"},
		{strings.Repeat("$2b$04$"+bcrypted, 20), "characters"},
		{"$2b$04$" + bcrypted[:30] + "\n" + bcrypted[31:], "printable"},
		{"$2b$04$" + bcrypted[:30] + "ü" + bcrypted[32:], "printable"},
		{"$6$salt$hash", "kind 6"},
		{"$argon2d$v=19$m=65536,t=2,p=1" + argon, "kind argon2d"},
		{"$argon2id$v=19$m=4294967295,t=1,p=1" + argon, "m (KiB of memory) is 4294967295: it takes 8 to 262144"},
		{"$argon2id$v=19$m=262145,t=1,p=1" + argon, "m (KiB"},
		{"$argon2id$v=19$m=99999999999,t=1,p=1" + argon, "not a decimal number"},
		{"$argon2id$v=19$m=262144,t=5,p=1" + argon, "m × t"},
		{"$argon2i$v=19$m=64,t=11,p=1" + argon, "t (passes) is 11: it takes 1 to 10"},
		{"$argon2i$v=19$m=64,t=0,p=1" + argon, "t (passes)"},
		{"$argon2id$v=19$m=65536,t=1,p=17" + argon, "p (lanes)"},
		{"$argon2id$v=19$m=65536,t=1,p=0" + argon, "p (lanes)"},
		{"$argon2id$v=19$m=15,t=1,p=2" + argon, "m (KiB"},
		{"$argon2id$v=19$m=64,t=01,p=2" + argon, "not a decimal number"},
		{"$argon2id$v=19$m=64,t=+1,p=2" + argon, "not a decimal number"},
		{"$argon2id$v=19$t=1,m=64,p=2" + argon, "in this order"},
		{"$argon2id$v=19$m=64,t=1,p=2,keyid=AA" + argon, "parameters m, t, p"},
		{"$argon2id$v=19$m=64,t=1,m=64" + argon, "in this order"},
		{"$argon2id$v=16$m=64,t=1,p=1" + argon, "v=19"},
		{"$argon2id$m=64,t=1,p=1" + argon, "v=19"},
		{"$argon2id$v=19$m=64,t=1,p=1$c29tZXNhbHQ$", "the hash has 0 bytes"},
		{"$argon2id$v=19$m=64,t=1,p=1$c29tZXNhbHQ$CTFhFdXPJO", "the hash"},
		{"$argon2id$v=19$m=64,t=1,p=1$c29t$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc", "the salt has 3 bytes"},
		{"$argon2id$v=19$m=64,t=1,p=1$c29tZXNhbHR$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc", "not base64"},
		{"$argon2id$v=19$m=64,t=1,p=1" + argon + "$", "it takes"},
		{"$2b$15$" + bcrypted, "cost is 15: it takes 4 to 14"},
		{"$2b$03$" + bcrypted, "cost is 3"},
		{"$2b$00$" + bcrypted, "cost is 0"},
		{"$2b$31$" + bcrypted, "cost is 31"},
		{"$2b$4$" + bcrypted, "two digits"},
		{"$2b$-4$" + bcrypted, "decimal"},
		{"$2b$04$" + bcrypted[:52], "53 characters"},
		{"$2b$04$" + bcrypted + "a", "53 characters"},
		{"$2b$04$!" + bcrypted[1:], "base64"},
		{"$2x$04$" + bcrypted, "kind 2x"},
		{"$scrypt$ln=19,r=8,p=1" + scrypted, "KiB of memory"},
		{"$scrypt$ln=18,r=8,p=5" + scrypted, "N × r × p"},
		{"$scrypt$ln=63,r=8,p=1" + scrypted, "ln (log2"},
		{"$scrypt$ln=0,r=8,p=1" + scrypted, "ln (log2"},
		{"$scrypt$ln=4,r=65,p=1" + scrypted, "r (block"},
		{"$scrypt$ln=4,r=0,p=1" + scrypted, "r (block"},
		{"$scrypt$ln=4,r=8,p=1073741823" + scrypted, "p (lanes)"},
		{"$7$C6....", "it takes $7$"},
		{"$7$Z6..../....SodiumChloride$kBGj9fHznVYFQMEn/qDCfrDevf9YDtcDdKvEqHJLV8D", "ln (log2"},
		{"$7$C6..../....SodiumChloride$kBGj9fHznVYFQMEn/qDCfrDevf9YDtcDdKvEqHJLV8z", "it takes $7$"},
		{"$7$C6..../....$kBGj9fHznVYFQMEn/qDCfrDevf9YDtcDdKvEqHJLV8D", "the salt has 0 bytes"},
		{"$s0$ffffffff" + scrypted, "p (lanes)"},
		{"$s0$1ffffffff" + scrypted, "hexadecimal"},
		{"scrypt$17$saltsaltsalt$8$1$dMODbj5FPkKNPZLWE6NF3wLFvLrCc1xpK1f1lk21j0E=", "no power of two"},
		{"scrypt$4294967295$saltsaltsalt$8$1$dMODbj5FPkKNPZLWE6NF3wLFvLrCc1xpK1f1lk21j0E=", "no power of two"},
		{"$pbkdf2-sha256$5000001" + pbkdf2ed, "is 5000001: it takes 1 to 5000000"},
		{"$pbkdf2-sha256$2500001" + longKey, "it takes 1 to 2500000"},
		{"$pbkdf2-sha1$1250001" + longKey, "it takes 1 to 1250000"},
		{"$pbkdf2-sha256$0" + pbkdf2ed, "is 0"},
		{"$pbkdf2-sha256$" + pbkdf2ed, "decimal"},
		{"$pbkdf2-sha256$i=1000,l=20" + pbkdf2ed, "l is 20"},
		{"$pbkdf2-sha384$1000" + pbkdf2ed, "no known form"},
		{"pbkdf2_sha256$5000001$saltsaltsalt$KQDle8SXZRa7sBUZQfkYQI6NXnZxupxhxtm+aXnClyg=", "rounds"},
		{"pbkdf2_sha256$1000$$KQDle8SXZRa7sBUZQfkYQI6NXnZxupxhxtm+aXnClyg=", "the salt has 0 bytes"},
		{"pbkdf2_sha256$1000$salt$", "the salt has 4 bytes"},
		{"bcrypt$$", "no known form"},
		{"bcrypt_sha256$$2b$04$" + bcrypted, "kind bcrypt_sha256"},
		{"argon2$", "no known form"},
	} {
		_, err := ImportHash(tt.hash)
		if !errors.Is(err, ErrInvalid) || !strings.Contains(err.Error(), tt.says) {
			t.Errorf("import of %.60q: got %v, want ErrInvalid that says %q", tt.hash, err, tt.says)
		}
		ok, stale, err := h.verify(t.Context(), tt.hash, vectorPassword)
		if ok || stale || err == nil || errors.Is(err, ErrInvalid) {
			t.Errorf("verify against %.60q: got %v, %v, %v, want an error that is not the caller's fault", tt.hash, ok, stale, err)
		}
		for part := range strings.SplitSeq(tt.hash, "$") {
			if len(part) > 20 && err != nil && strings.Contains(err.Error(), part) {
				t.Errorf("the error repeats the hash: %v", err)
			}
		}
	}
	if _, err := ImportHash("hunter2!"); strings.Contains(err.Error(), "hunter2") {
		t.Errorf("the error repeats what may be a password: %v", err)
	}
	if len(*done) != 0 || h.queued() != 0 {
		t.Errorf("computed %d hashes of those, %d are in the queue", len(*done), h.queued())
	}
}

func TestNewHasher_Bounds(t *testing.T) {
	for _, cfg := range []HashConfig{
		{Memory: 262145},
		{Memory: 7},
		{Memory: 262144, Time: 5},
		{Time: 11},
		{Threads: 17},
		{Memory: 16, Threads: 4},
		{Concurrency: -1},
		{Queue: -1},
		{Concurrency: 1 << 30},
	} {
		if _, err := newHasher(cfg); !errors.Is(err, ErrInvalid) {
			t.Errorf("%+v: got %v, want ErrInvalid", cfg, err)
		}
	}
	if _, err := newHasher(HashConfig{Memory: 262144, Time: 4, Threads: 16}); err != nil {
		t.Errorf("the greatest cost that is taken: %v", err)
	}
}

// blockingHasher computes nothing until it is told to.
func blockingHasher(t *testing.T, cfg HashConfig) (h *hasher, started chan *passwordHash, proceed chan struct{}) {
	h, started, proceed = testHasher(t, cfg), make(chan *passwordHash), make(chan struct{})
	h.compute = func(p *passwordHash, _ string) ([]byte, error) {
		started <- p
		<-proceed
		return make([]byte, hasherKeySize), nil
	}
	return h, started, proceed
}

func TestHasher_Queue(t *testing.T) {
	h, started, proceed := blockingHasher(t, cheapHashes) // 2 slots, 3 may wait
	var running, most atomic.Int64
	inner := h.compute
	h.compute = func(p *passwordHash, password string) ([]byte, error) {
		most.Store(max(most.Load(), running.Add(1)))
		defer running.Add(-1)
		return inner(p, password)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	done, cancelled := make(chan error), make(chan error)
	for range 2 {
		go func() { _, err := h.hash(t.Context(), vectorPassword); done <- err }()
		<-started
	}
	go func() { done <- h.verifyUnknown(t.Context(), vectorPassword) }()
	go func() { _, _, err := h.verify(t.Context(), h.dummy, vectorPassword); done <- err }()
	go func() { cancelled <- h.verifyUnknown(ctx, vectorPassword) }()
	for h.queued() != 5 {
		runtime.Gosched() // they are on their way
	}

	if _, err := h.hash(t.Context(), vectorPassword); !errors.Is(err, ErrHashQueueFull) {
		t.Errorf("hash: got %v, want ErrHashQueueFull", err)
	}
	if _, _, err := h.verify(t.Context(), h.dummy, vectorPassword); !errors.Is(err, ErrHashQueueFull) {
		t.Errorf("verify: got %v, want ErrHashQueueFull", err)
	}
	if err := h.verifyUnknown(t.Context(), vectorPassword); !errors.Is(err, ErrHashQueueFull) {
		t.Errorf("verifyUnknown: got %v, want ErrHashQueueFull", err)
	}

	cancel() // who waits and gives up makes room
	if err := <-cancelled; !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled while waiting: got %v, want context.Canceled", err)
	}
	if h.queued() != 4 {
		t.Errorf("after one gave up %d are in the queue, want 4", h.queued())
	}
	go func() { done <- h.verifyUnknown(t.Context(), vectorPassword) }()

	for range 3 { // one leaves, the next one starts
		proceed <- struct{}{}
		if err := <-done; err != nil {
			t.Error(err)
		}
		<-started
	}
	for range 2 {
		proceed <- struct{}{}
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
	if h.queued() != 0 || most.Load() != 2 {
		t.Errorf("at the end %d are in the queue, and at most %d ran at a time, want 0 and 2", h.queued(), most.Load())
	}
	if err := h.verifyUnknown(ctx, vectorPassword); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled before: got %v, want context.Canceled", err)
	}
	if h.queued() != 0 {
		t.Errorf("a cancelled one is still in the queue")
	}
}

// Imported hashes may ask for much more memory than ours: together they get no more than the budget.
func TestHasher_Memory(t *testing.T) {
	h, started, proceed := blockingHasher(t, HashConfig{Memory: 64, Time: 1, Concurrency: 4})
	const big = "$argon2id$v=19$m=131072,t=1,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc"
	done := make(chan error)
	for range 3 {
		go func() { _, _, err := h.verify(t.Context(), big, vectorPassword); done <- err }()
	}
	<-started
	<-started
	for h.queued() != 3 {
		runtime.Gosched() // it is on its way
	}
	select {
	case <-started:
		t.Fatal("three times 128 MiB at a time")
	default:
	}
	if h.memory.TryAcquire(1) {
		t.Fatal("with two times 128 MiB there is memory left")
	}
	proceed <- struct{}{}
	if err := <-done; err != nil {
		t.Error(err)
	}
	<-started
	for range 2 {
		proceed <- struct{}{}
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
	if !h.memory.TryAcquire(h.budget) || !h.slots.TryAcquire(4) {
		t.Error("not everything was given back")
	}
}

func TestCheckPasswordPolicy(t *testing.T) {
	for _, tt := range []struct {
		name, password, username string
		says                     string // empty: it is taken
	}{
		{"a passphrase", "correct horse battery staple", "alice", ""},
		{"eight characters", "kx7vqm2p", "alice", ""},
		{"no composition rules", "wqzjkvhx", "alice", ""},
		{"spaces, also at the ends", "  m y  c a t ", "alice", ""},
		{"eight characters of two bytes", "пйщцъэжё", "alice", ""},
		{"1024 bytes", "x!" + strings.Repeat("yz#42", 204) + "ab", "alice", ""},
		{"a common word in a passphrase", "password of my grandmother", "alice", ""},
		{"the user name in a passphrase", "alice has seven green frogs", "alice", ""},
		{"a short user name in it", "jo jogs in joburg", "jo", ""},
		{"no user name", "wqzjkvhx", "", ""},

		{"empty", "", "alice", "0 characters, and needs at least 8"},
		{"seven characters", "kx7vqm2", "alice", "7 characters"},
		{"seven characters of two bytes", "пйщцъэж", "alice", "7 characters"},
		{"eight code points that are four characters", "o\u0308u\u0308a\u0308e\u0301", "alice", "4 characters"},
		{"one character that normalises to many", "\ufdfa", "alice", "1 characters"},
		{"1025 bytes", strings.Repeat("yz#42", 205), "alice", "1025 bytes, and may have at most 1024"},
		{"not UTF-8", "wqzjkvhx\xff", "alice", "UTF-8"},
		{"NUL", "wqzjk\x00vhx", "alice", "NUL"},
		{"listed", "password", "alice", "tried first"},
		{"listed, in capitals", "PassWord123", "alice", "tried first"},
		{"listed, full-width", "ｐａｓｓｗｏｒｄ", "alice", "tried first"},
		{"a keyboard walk", "1qaz2wsx3edc", "alice", "tried first"},
		{"a season and a year", "Summer2026!", "alice", "tried first"},
		{"one character", "zzzzzzzzzzzzzzzzzzzz", "alice", "tried first"},
		{"two characters", "x1x1x1x1x", "alice", "tried first"},
		{"four characters", "w0rdw0rdw0rd", "alice", "tried first"},
		{"the user name", "Alice.Liddell", "alice.liddell", "user name"},
		{"the user name and little more", "alice2026!", "alice", "user name"},
		{"the user name and a listed one", "alicepassword1", "alice", "user name"},
		{"the user name again and again", "alicealicealice", "Alice", "user name"},
		{"the address", "alice@example.org", "alice@example.org", "user name"},
		{"the address's local part", "alice2026!", "alice@example.org", "user name"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			err := CheckPasswordPolicy(tt.password, tt.username)
			switch {
			case tt.says == "" && err != nil:
				t.Errorf("got %v, want it taken", err)
			case tt.says != "" && (!errors.Is(err, ErrPasswordPolicy) || !strings.Contains(err.Error(), tt.says)):
				t.Errorf("got %v, want ErrPasswordPolicy that says %q", err, tt.says)
			case err != nil && len(tt.password) >= MinPasswordLength && tt.password != "password" && strings.Contains(err.Error(), tt.password):
				t.Errorf("the error repeats the password: %v", err)
			}
		})
	}
}

func TestPasswordBlockList(t *testing.T) {
	lines := strings.Split(strings.TrimSuffix(passwordBlockList, "\n"), "\n")
	if len(lines) < 1000 {
		t.Errorf("the list has %d lines", len(lines))
	}
	if !slices.IsSorted(lines) || len(slices.Compact(slices.Clone(lines))) != len(lines) {
		t.Error("the list is not sorted, or a line is there twice")
	}
	for _, line := range lines {
		if line != foldPassword(line) || len(line) < MinPasswordLength || strings.TrimSpace(line) != line {
			t.Errorf("%q is not folded, too short to matter, or padded: it can never be met", line)
		}
		if !errors.Is(CheckPasswordPolicy(strings.ToUpper(line), "somebody"), ErrPasswordPolicy) {
			t.Errorf("%q is listed and taken", line)
		}
	}
}

// Whatever the import takes is stored in one form, can be computed within the bounds, and says no to a wrong password.
func FuzzImportHash(f *testing.F) {
	for _, v := range importVectors {
		f.Add(v.hash)
	}
	for _, s := range []string{
		"", "$", "$$$$", "bcrypt$$", "argon2$", "$argon2id$v=19$m=4294967295,t=1,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc",
		"$scrypt$ln=58,r=1,p=1$c2FsdHNhbHRzYWx0$dMODbj5FPkKNPZLWE6NF3wLFvLrCc1xpK1f1lk21j0E", "$pbkdf2-sha256$i=1,l=1$$", "$7$zzzzzzzzzzz$",
		"$s0$ffffffff$$", "scrypt$0$saltsalt$1$1$", "$2y$14$abcdefghijklmnopqrstuv7EJV7kdjBBQxyb0HjTh9KS7.Lah/6CZ",
	} {
		f.Add(s)
	}
	h := testHasher(f, cheapHashes)
	f.Fuzz(func(t *testing.T, s string) {
		canonical, err := ImportHash(s)
		if err != nil {
			if !errors.Is(err, ErrInvalid) || canonical != "" {
				t.Fatalf("%q: got %q, %v, want ErrInvalid alone", s, canonical, err)
			}
			return
		}
		if again, err := ImportHash(canonical); err != nil || again != canonical {
			t.Fatalf("%q became %q, and that %q, %v", s, canonical, again, err)
		}
		p, err := parsePasswordHash(canonical)
		if err != nil {
			t.Fatalf("%q became %q: %v", s, canonical, err)
		}
		if p.kibibytes() > maxHashMemory {
			t.Fatalf("%q asks for %d KiB", canonical, p.kibibytes())
		}
		if p.kibibytes()*int64(p.cost)*int64(max(p.lanes, 1)) > 4096 || p.algorithm == bcryptHash && p.cost > 4 {
			return // within the bounds, but too slow for a fuzzer
		}
		if ok, stale, err := h.verify(t.Context(), canonical, "x\x00y"); err != nil || stale && !ok {
			t.Fatalf("%q: verify: %v, %v, %v", canonical, ok, stale, err)
		}
	})
}
