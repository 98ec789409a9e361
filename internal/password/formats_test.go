package password

import (
	"slices"
	"strings"
	"testing"

	"github.com/go-crypt/crypt/algorithm/argon2"
	"github.com/go-crypt/crypt/algorithm/bcrypt"
	"github.com/go-crypt/crypt/algorithm/pbkdf2"
	"github.com/go-crypt/crypt/algorithm/scrypt"
)

const vectorPassword = "correct horse battery staple"

// What other programs made: argon2's README and its test.c, libxcrypt's crypt(3) through Perl, RFC 7914 in the form
// $7$, and Python's hashlib for the rest.
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
	{"scrypt", vectorPassword, "$scrypt$ln=6,r=8,p=2$c2FsdHNhbHRzYWx0$xC2oT7cXDQoEGkEwHQqq2d6l8W5l4PW7cZlYUhxJCnI", ""},
	{
		"scrypt $s0$", vectorPassword, "$s0$60802$c2FsdHNhbHRzYWx0$xC2oT7cXDQoEGkEwHQqq2d6l8W5l4PW7cZlYUhxJCnI=",
		"$scrypt$ln=6,r=8,p=2$c2FsdHNhbHRzYWx0$xC2oT7cXDQoEGkEwHQqq2d6l8W5l4PW7cZlYUhxJCnI",
	},
	{
		"scrypt, Django", vectorPassword,
		"scrypt$64$saltsaltsalt$8$2$xC2oT7cXDQoEGkEwHQqq2d6l8W5l4PW7cZlYUhxJCnL7ndx2t7LP99Y53jnAXSg2ZJsSwmFU8aeDeDpyorkxLA==",
		"$scrypt$ln=6,r=8,p=2$c2FsdHNhbHRzYWx0$xC2oT7cXDQoEGkEwHQqq2d6l8W5l4PW7cZlYUhxJCnL7ndx2t7LP99Y53jnAXSg2ZJsSwmFU8aeDeDpyorkxLA",
	},
	{
		"scrypt $7$", "pleaseletmein", "$7$C6..../....SodiumChloride$kBGj9fHznVYFQMEn/qDCfrDevf9YDtcDdKvEqHJLV8D",
		"$scrypt$ln=14,r=8,p=1$U29kaXVtQ2hsb3JpZGU$cCO9yzr9c0hGHAbNgf046/2o+7qQT44+qbVD9lRdofI",
	},
}

func TestImport_Vectors(t *testing.T) {
	h := testHasher(t, cheapHashes)
	for _, v := range importVectors {
		t.Run(v.name, func(t *testing.T) {
			want := v.canonical
			if want == "" {
				want = v.hash
			}
			got, err := Import(" " + v.hash + "\n")
			if err != nil || got != want {
				t.Fatalf("import: got %s, %v, want %s", got, err, want)
			}
			if ok, stale, err := h.Verify(t.Context(), got, v.password); !ok || !stale || err != nil {
				t.Errorf("the password: got %v, %v, %v, want it right and stale", ok, stale, err)
			}
			for _, wrong := range []string{"", v.password + "x", v.password + "\x00", v.password + "\x00" + v.password, strings.Repeat(v.password, 20)} {
				if ok, stale, err := h.Verify(t.Context(), got, wrong); ok || stale || err != nil {
					t.Errorf("%.40q: got %v, %v, %v, want it wrong", wrong, ok, stale, err)
				}
			}
		})
	}
}

// What go-crypt makes must be taken as it is.
func TestImport_FromGoCrypt(t *testing.T) {
	h := testHasher(t, cheapHashes)
	try := func(name string, encoded string, err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		got, err := Import(encoded)
		if err != nil || got != encoded {
			t.Fatalf("%s: got %s, %v, want %s", name, got, err, encoded)
		}
		if ok, stale, err := h.Verify(t.Context(), got, vectorPassword); !ok || !stale || err != nil {
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
	s, err := scrypt.New(scrypt.WithLN(6), scrypt.WithR(4), scrypt.WithP(3))
	if err != nil {
		t.Fatal(err)
	}
	d, err = s.Hash(vectorPassword)
	try("scrypt", d.Encode(), err)
}

// A hash that asks for too much, or makes no sense, is refused on import and again when it is used, before anything is
// computed.
// refused is a hash that is not imported, and what is said of it.
type refused struct{ hash, says string }

// refusedHashes are of no known form, argon2 or bcrypt.
func refusedHashes() []refused {
	const argon = "$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc"
	return []refused{
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
		{"$argon2id$v=19$m=4294967295,t=1,p=1" + argon, "m (KiB of memory) is 4294967295: must be 8 to 262144"},
		{"$argon2id$v=19$m=262145,t=1,p=1" + argon, "m (KiB"},
		{"$argon2id$v=19$m=99999999999,t=1,p=1" + argon, "not a decimal number"},
		{"$argon2id$v=19$m=262144,t=5,p=1" + argon, "m × t"},
		{"$argon2i$v=19$m=64,t=11,p=1" + argon, "t (passes) is 11: must be 1 to 10"},
		{"$argon2i$v=19$m=64,t=0,p=1" + argon, "t (passes)"},
		{"$argon2id$v=19$m=65536,t=1,p=17" + argon, "p (lanes)"},
		{"$argon2id$v=19$m=65536,t=1,p=0" + argon, "p (lanes)"},
		{"$argon2id$v=19$m=15,t=1,p=2" + argon, "m (KiB"},
		{"$argon2id$v=19$m=64,t=01,p=2" + argon, "not a decimal number"},
		{"$argon2id$v=19$m=64,t=+1,p=2" + argon, "not a decimal number"},
		{"$argon2id$v=19$m=64,t=1,p=2,keyid=AA" + argon, "parameters must be m, t, p"},
		{"$argon2id$v=19$m=64,t=1,m=64" + argon, "each once"},
		{"$argon2id$v=16$m=64,t=1,p=1" + argon, "v=19"},
		{"$argon2id$m=64,t=1,p=1" + argon, "v=19"},
		{"$argon2id$v=19$m=64,t=1,p=1$c29tZXNhbHQ$", "the hash has 0 bytes"},
		{"$argon2id$v=19$m=64,t=1,p=1$c29tZXNhbHQ$CTFhFdXPJO", "the hash"},
		{"$argon2id$v=19$m=64,t=1,p=1$c29t$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc", "the salt has 3 bytes"},
		{"$argon2id$v=19$m=64,t=1,p=1$c29tZXNhbHR$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc", "not base64"},
		{"$argon2id$v=19$m=64,t=1,p=1" + argon + "$", "must be"},
		{"$2b$15$" + bcrypted, "cost is 15: must be 4 to 14"},
		{"$2b$03$" + bcrypted, "cost is 3"},
		{"$2b$00$" + bcrypted, "cost is 0"},
		{"$2b$31$" + bcrypted, "cost is 31"},
		{"$2b$4$" + bcrypted, "two digits"},
		{"$2b$-4$" + bcrypted, "decimal"},
		{"$2b$04$" + bcrypted[:52], "53 characters"},
		{"$2b$04$" + bcrypted + "a", "53 characters"},
		{"$2b$04$!" + bcrypted[1:], "base64"},
		{"$2x$04$" + bcrypted, "kind 2x"},
	}
}

// refusedDerivations are scrypt and pbkdf2, and Django's forms.
func refusedDerivations() []refused {
	const pbkdf2ed = "$c2FsdHNhbHRzYWx0$KQDle8SXZRa7sBUZQfkYQI6NXnZxupxhxtm.aXnClyg"
	const scrypted = "$c2FsdHNhbHRzYWx0$dMODbj5FPkKNPZLWE6NF3wLFvLrCc1xpK1f1lk21j0E"
	const longKey = "$c2FsdHNhbHRzYWx0$DdePUyRocgAl03UAD52hWr3T5PJAJ.XmaWPWayKeQfYfS/2o.F8xzxS6BET2RDqVLCKstA5cpv8TtN0w9Up80w"
	return []refused{
		{"$scrypt$ln=19,r=8,p=1" + scrypted, "KiB of memory"},
		{"$scrypt$ln=18,r=8,p=5" + scrypted, "N × r × p"},
		{"$scrypt$ln=63,r=8,p=1" + scrypted, "ln (log2"},
		{"$scrypt$ln=0,r=8,p=1" + scrypted, "ln (log2"},
		{"$scrypt$ln=4,r=65,p=1" + scrypted, "r (block"},
		{"$scrypt$ln=4,r=0,p=1" + scrypted, "r (block"},
		{"$scrypt$ln=4,r=8,p=1073741823" + scrypted, "p (lanes)"},
		{"$7$C6....", "must be $7$"},
		{"$7$Z6..../....SodiumChloride$kBGj9fHznVYFQMEn/qDCfrDevf9YDtcDdKvEqHJLV8D", "ln (log2"},
		{"$7$C6..../....SodiumChloride$kBGj9fHznVYFQMEn/qDCfrDevf9YDtcDdKvEqHJLV8z", "must be $7$"},
		{"$7$C6..../....$kBGj9fHznVYFQMEn/qDCfrDevf9YDtcDdKvEqHJLV8D", "the salt has 0 bytes"},
		{"$s0$ffffffff" + scrypted, "p (lanes)"},
		{"$s0$1ffffffff" + scrypted, "hexadecimal"},
		{"scrypt$17$saltsaltsalt$8$1$dMODbj5FPkKNPZLWE6NF3wLFvLrCc1xpK1f1lk21j0E=", "no power of two"},
		{"scrypt$4294967295$saltsaltsalt$8$1$dMODbj5FPkKNPZLWE6NF3wLFvLrCc1xpK1f1lk21j0E=", "no power of two"},
		{"$pbkdf2-sha256$5000001" + pbkdf2ed, "is 5000001: must be 1 to 5000000"},
		{"$pbkdf2-sha256$2500001" + longKey, "must be 1 to 2500000"},
		{"$pbkdf2-sha1$1250001" + longKey, "must be 1 to 1250000"},
		{"$pbkdf2-sha256$0" + pbkdf2ed, "is 0"},
		{"$pbkdf2-sha256$" + pbkdf2ed, "decimal"},
		{"$pbkdf2-sha256$i=1000,l=20" + pbkdf2ed, "l is 20"},
		{"$pbkdf2-sha384$1000" + pbkdf2ed, "no known form"},
		{"pbkdf2_sha256$5000001$saltsaltsalt$KQDle8SXZRa7sBUZQfkYQI6NXnZxupxhxtm+aXnClyg=", "rounds"},
		{"pbkdf2_sha256$1000$$KQDle8SXZRa7sBUZQfkYQI6NXnZxupxhxtm+aXnClyg=", "the salt has 0 bytes"},
		{"pbkdf2_sha256$1000$salt$", "the salt has 4 bytes"},
		{"bcrypt$$", "no known form"},
		{"argon2$", "no known form"},
	}
}

const bcrypted = "abcdefghijklmnopqrstuu7EJV7kdjBBQxyb0HjTh9KS7.Lah/6CG"

func TestImport_Refuses(t *testing.T) {
	h, done := countingHasher(t, cheapHashes)
	for _, tt := range slices.Concat(refusedHashes(), refusedDerivations()) {
		_, err := Import(tt.hash)
		if err == nil || !strings.Contains(err.Error(), tt.says) {
			t.Errorf("import of %.60q: got %v, want an error that says %q", tt.hash, err, tt.says)
		}
		ok, stale, err := h.Verify(t.Context(), tt.hash, vectorPassword)
		if ok || stale || err == nil {
			t.Errorf("verify against %.60q: got %v, %v, %v, want an error", tt.hash, ok, stale, err)
		}
		for part := range strings.SplitSeq(tt.hash, "$") {
			if len(part) > 20 && err != nil && strings.Contains(err.Error(), part) {
				t.Errorf("the error repeats the hash: %v", err)
			}
		}
	}
	if _, err := Import("hunter2!"); strings.Contains(err.Error(), "hunter2") {
		t.Errorf("the error repeats what may be a password: %v", err)
	}
	if len(*done) != 0 || h.Queued() != 0 {
		t.Errorf("computed %d hashes of those, %d are in the queue", len(*done), h.Queued())
	}
}

// Whatever the import takes is stored in one form, can be computed within the bounds, and says no to a wrong password.
func FuzzImport(f *testing.F) {
	for _, v := range importVectors {
		f.Add(v.hash)
	}
	for _, v := range goldenHashes(f) {
		f.Add(v.Hash)
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
		canonical, err := Import(s)
		if err != nil {
			if canonical != "" {
				t.Fatalf("%q: got %q, %v, want the error alone", s, canonical, err)
			}
			return
		}
		if again, err := Import(canonical); err != nil || again != canonical {
			t.Fatalf("%q became %q, and that %q, %v", s, canonical, again, err)
		}
		p, err := parse(canonical)
		if err != nil {
			t.Fatalf("%q became %q: %v", s, canonical, err)
		}
		if p.kibibytes() > maxMemory {
			t.Fatalf("%q asks for %d KiB", canonical, p.kibibytes())
		}
		if p.kibibytes()*int64(p.cost)*int64(max(p.lanes, 1)) > 1<<14 || p.algorithm == bcryptHash && p.cost > 4 {
			return // within the bounds, but too slow for a fuzzer
		}
		if ok, stale, err := h.Verify(t.Context(), canonical, "x\x00y"); err != nil || stale && !ok {
			t.Fatalf("%q: verify: %v, %v, %v", canonical, ok, stale, err)
		}
	})
}
