package password

import (
	_ "embed"
	"encoding/json"
	"strings"
	"testing"
)

// golden.json is what the libraries themselves made; see golden.py beside it.
//
//go:embed testdata/golden.json
var golden []byte

func goldenHashes(t testing.TB) (list []struct{ Name, Password, Hash string }) {
	t.Helper()
	if err := json.Unmarshal(golden, &list); err != nil {
		t.Fatal(err)
	}
	return list
}

// What other systems wrote is taken, stored in one form, and fits the right password alone.
func TestImport_Golden(t *testing.T) {
	h := testHasher(t, cheapHashes)
	for _, v := range goldenHashes(t) {
		t.Run(v.Name, func(t *testing.T) {
			stored, err := Import(v.Hash)
			if err != nil {
				t.Fatal(err)
			}
			if again, err := Import(stored); err != nil || again != stored {
				t.Errorf("%s became %s, %v", stored, again, err)
			}
			p, err := parse(stored)
			if err != nil {
				t.Fatal(err)
			}
			ok, stale, err := h.Verify(t.Context(), stored, v.Password)
			if !ok || err != nil || stale == p.truncates(v.Password) {
				t.Errorf("the password: right %v, stale %v, %v", ok, stale, err)
			}
			for _, wrong := range []string{"", v.Password[1:], v.Password[:9], "x" + v.Password, v.Password + "\x00"} {
				if ok, stale, err := h.Verify(t.Context(), stored, wrong); ok || stale || err != nil {
					t.Errorf("%q: right %v, stale %v, %v", wrong, ok, stale, err)
				}
			}
		})
	}
}

// bcrypt looks at 72 bytes. The systems that wrote the hash cut the rest off, so the whole password signs in, and
// so does each that begins with the same 72 bytes, there as here; it is not made anew of what may be mistyped. One byte
// less is another password. A hash that was made of SHA-256 knows the whole.
func TestImport_BcryptBeyond72Bytes(t *testing.T) {
	h := testHasher(t, cheapHashes)
	for _, v := range goldenHashes(t) {
		if !strings.Contains(v.Name, "more than 72 bytes") {
			continue
		}
		stored, err := Import(v.Hash)
		if err != nil {
			t.Fatal(err)
		}
		plain := !strings.Contains(v.Name, "sha256")
		for password, right := range map[string]bool{
			v.Password: true, v.Password[:72]: plain, v.Password + "?": plain, v.Password[:71]: false,
			v.Password[:71] + "?" + v.Password[72:]: false, v.Password[:72] + "\x00": false,
		} {
			ok, stale, err := h.Verify(t.Context(), stored, password)
			if ok != right || err != nil {
				t.Errorf("%s: %q: right %v, %v", v.Name, password, ok, err)
			}
			if plain && len(password) > 72 && stale {
				t.Errorf("%s: %q would be stored as it was typed", v.Name, password)
			}
		}
	}
}

func TestImport_ParametersInAnyOrder(t *testing.T) {
	for _, tt := range [][2]string{
		{
			"$argon2id$v=19$t=2,p=1,m=256$c29tZXNhbHQ$nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4",
			"$argon2id$v=19$m=256,t=2,p=1$c29tZXNhbHQ$nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4",
		},
		{
			"$scrypt$p=1,r=8,ln=10$c2FsdHNhbHRzYWx0$dMODbj5FPkKNPZLWE6NF3wLFvLrCc1xpK1f1lk21j0E",
			"$scrypt$ln=10,r=8,p=1$c2FsdHNhbHRzYWx0$dMODbj5FPkKNPZLWE6NF3wLFvLrCc1xpK1f1lk21j0E",
		},
		{
			"$scrypt$r=8,ln=16384,p=1$c2FsdHNhbHRzYWx0$dMODbj5FPkKNPZLWE6NF3wLFvLrCc1xpK1f1lk21j0E", // Kratos: N
			"$scrypt$ln=14,r=8,p=1$c2FsdHNhbHRzYWx0$dMODbj5FPkKNPZLWE6NF3wLFvLrCc1xpK1f1lk21j0E",
		},
		{
			"$pbkdf2-sha256$l=32,i=1000$c2FsdHNhbHRzYWx0$KQDle8SXZRa7sBUZQfkYQI6NXnZxupxhxtm+aXnClyg",
			"$pbkdf2-sha256$1000$c2FsdHNhbHRzYWx0$KQDle8SXZRa7sBUZQfkYQI6NXnZxupxhxtm.aXnClyg",
		},
	} {
		if got, err := Import(tt[0]); err != nil || got != tt[1] {
			t.Errorf("%s: got %s, %v, want %s", tt[0], got, err, tt[1])
		}
	}
}

// A hash that costs next to nothing protects nothing. What was stored before there was a least cost is still checked.
func TestImport_Worthless(t *testing.T) {
	h := testHasher(t, cheapHashes)
	for hash, password := range map[string]string{
		"$pbkdf2-sha1$1$c2FsdHNhbHQ$" + strings.Repeat("A", 26) + "A":                                      "",
		"$pbkdf2-sha256$999$c2FsdHNhbHRzYWx0$KQDle8SXZRa7sBUZQfkYQI6NXnZxupxhxtm.aXnClyg":                  "",
		"pbkdf2:sha256:150$saltsalt$" + strings.Repeat("ab", 32):                                           "",
		"$scrypt$ln=4,r=8,p=2$c2FsdHNhbHRzYWx0$dMODbj5FPkKNPZLWE6NF3wLFvLrCc1xpK1f1lk21j0E":                vectorPassword,
		"$argon2id$v=19$m=8,t=1,p=1$c29tZXNhbHQ$nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4":               "",
		"$firescrypt$ln=4,r=8,p=1$42xEC+ixf3L2lw==$AAAAAAAAAAAAAAAAAAAAAA==$Bw==$AAAAAAAAAAAAAAAAAAAAAA==": "",
	} {
		if got, err := Import(hash); err == nil || !strings.Contains(err.Error(), "worthless") {
			t.Errorf("%s: got %s, %v", hash, got, err)
		}
		ok, _, err := h.Verify(t.Context(), hash, password)
		if err != nil || ok != (password != "") {
			t.Errorf("%s: checked: %v, %v", hash, ok, err)
		}
	}
}

func TestImport_RefusesForeign(t *testing.T) {
	const bcrypted = "abcdefghijklmnopqrstuu7EJV7kdjBBQxyb0HjTh9KS7.Lah/6CG"
	salt, key := bcrypted[:22], bcrypted[22:]
	for hash, says := range map[string]string{
		"bcrypt_sha256$$2b$15$" + bcrypted:                                                                               "cost is 15",
		"bcrypt_sha256$$2x$04$" + bcrypted:                                                                               "must be bcrypt_sha256$$2b$",
		"bcrypt_sha256$" + bcrypted:                                                                                      "must be bcrypt_sha256$$2b$",
		"$bcrypt-sha256$v=3,t=2b,r=4$" + salt + "$" + key:                                                                "must be $bcrypt-sha256$v=2",
		"$bcrypt-sha256$v=2,t=2y,r=4$" + salt + "$" + key:                                                                "must be $bcrypt-sha256$v=2",
		"$bcrypt-sha256$v=2,t=2b,r=31$" + salt + "$" + key:                                                               "cost is 31",
		"$bcrypt-sha256$v=2,t=2b,r=4294967295$" + salt + "$" + key:                                                       "cost is 99",
		"$bcrypt-sha256$v=2,r=4$" + salt + "$" + key:                                                                     "must be $bcrypt-sha256$v=2",
		"$bcrypt-sha256$v=2,t=2b,r=4,r=4$" + salt + "$" + key:                                                            "each once",
		"$bcrypt-sha256$v=2,t=2b,r=4$" + salt[:21] + "v$" + key:                                                          "base64",
		"scrypt:32768:8$saltsaltsalt$00":                                                                                 "must be scrypt:N:r:p",
		"scrypt:32767:8:1$saltsaltsalt$" + strings.Repeat("ab", 64):                                                      "no power of two",
		"scrypt:32768:8:1$saltsaltsalt$" + strings.Repeat("xy", 64):                                                      "not hexadecimal",
		"pbkdf2:md5:1000$saltsaltsalt$" + strings.Repeat("ab", 16):                                                       "the digest must be",
		"pbkdf2:sha256$saltsaltsalt$" + strings.Repeat("ab", 32):                                                         "must be scrypt:N:r:p",
		"$firescrypt$ln=14,r=8,p=1$42xEC+ixf3L2lw==$AAAA$Bw==":                                                           "must be $firescrypt$",
		"$firescrypt$ln=14,r=8,p=1$42xEC+ixf3L2lw==$AAAA$Bw==$AAA=":                                                      "signer key",
		"$firescrypt$ln=22,r=8,p=1$42xEC+ixf3L2lw==$" + strings.Repeat("AAAA", 8) + "$Bw==$" + strings.Repeat("AAAA", 8): "KiB of memory",
		"$scrypt$ln=65,r=8,p=1$c2FsdHNhbHRzYWx0$dMODbj5FPkKNPZLWE6NF3wLFvLrCc1xpK1f1lk21j0E":                             "no power of two",
	} {
		if got, err := Import(hash); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%s: got %s, %v, want an error that says %q", hash, got, err, says)
		}
	}
}
