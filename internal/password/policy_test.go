package password

import (
	"errors"
	"log/slog"
	"slices"
	"strings"
	"testing"
)

func testPolicy(t testing.TB, cfg PolicyConfig) *Policy {
	t.Helper()
	p, err := NewPolicy(cfg, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestPolicy(t *testing.T) {
	policy := testPolicy(t, PolicyConfig{Words: []string{"curfew", "login.example.org", "example", "Tür"}})
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
		{"an emoji as phones send it", "seven ❤️ 👩‍🚀 frogs", "alice", ""},
		{"a word of the context in a passphrase", "curfew for seven green frogs", "alice", ""},
		{"a short word of the context in a word", "türkisblau-wolke", "alice", ""},

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
		{"a tab", "wqzjk\tvhx", "alice", "control"},
		{"the end of a line", "wqzjkvhx\n", "alice", "control"},
		{"the product", "curfewcurfew", "alice", "this service"},
		{"the product and the year", "Curfew2026!", "alice", "this service"},
		{"the product and a date", "curfew-20261127", "alice", "this service"},
		{"the product in disguise", "Curf3w!2026", "alice", "this service"},
		{"the host", "login.example.org", "alice", "this service"},
		{"a name of the host", "Ex4mple#2026", "alice", "this service"},
		{"the product and a listed one", "curfewpassword1", "alice", "this service"},
		{"the product and the user name", "curfew-alice-2026", "alice", "this service"},
		{"the address's local part", "alice2026!", "alice@example.org", "user name"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			err := policy.Check(tt.password, tt.username)
			switch {
			case tt.says == "" && err != nil:
				t.Errorf("got %v, want it taken", err)
			case tt.says != "" && (!errors.Is(err, ErrPolicy) || !strings.Contains(err.Error(), tt.says)):
				t.Errorf("got %v, want ErrPolicy that says %q", err, tt.says)
			case err != nil && len(tt.password) >= MinLength && tt.password != "password" && strings.Contains(err.Error(), tt.password):
				t.Errorf("the error repeats the password: %v", err)
			}
		})
	}
}

func TestPolicy_MinLength(t *testing.T) {
	p := testPolicy(t, PolicyConfig{MinLength: 15})
	if err := p.Check("wqzjkvhx-kx7vq", ""); err == nil || !strings.Contains(err.Error(), "at least 15") {
		t.Errorf("14 characters: %v", err)
	}
	if err := p.Check("wqzjkvhx-kx7vqm", ""); err != nil {
		t.Errorf("15 characters: %v", err)
	}
	for _, bad := range []int{-1, 7, 129} {
		if _, err := NewPolicy(PolicyConfig{MinLength: bad}, nil); err == nil {
			t.Errorf("a least length of %d is taken", bad)
		}
	}
}

func TestCommon(t *testing.T) {
	lines := strings.Split(strings.TrimSuffix(common(), "\n"), "\n")
	if len(lines) < 100_000 {
		t.Errorf("the list has %d lines", len(lines))
	}
	if !slices.IsSorted(lines) || len(slices.Compact(slices.Clone(lines))) != len(lines) {
		t.Error("the list is not sorted, or a line is there twice")
	}
	policy := testPolicy(t, PolicyConfig{})
	for i, line := range lines {
		if line != fold(line) || len(line) < MinLength || strings.TrimSpace(line) != line {
			t.Errorf("%q is not folded, too short to matter, or padded: it can never be met", line)
		}
		if !isListed(line) {
			t.Errorf("%q is not found", line)
		}
		if isListed(line+"\x7f") || isListed(line[:len(line)-1]+"\n") {
			t.Errorf("something beside %q is found", line)
		}
		if i%100 == 0 && !errors.Is(policy.Check(strings.ToUpper(line), "somebody"), ErrPolicy) {
			t.Errorf("%q is listed and taken", line)
		}
	}
	for _, other := range []string{"", "\n", "!", "~~~~~~~~~~~", "zzzzzzzz" + lines[0], lines[0] + "\n" + lines[1]} {
		if isListed(other) {
			t.Errorf("%q is found", other)
		}
	}
}

// What everybody tries first is on the list.
func TestCommon_Famous(t *testing.T) {
	for _, p := range []string{
		"password", "12345678", "123456789", "1234567890", "password1", "qwertyuiop", "iloveyou", "sunshine", "princess",
		"football", "baseball", "superman", "trustno1", "jennifer", "whatever", "starwars", "passw0rd", "qwerty123", "1q2w3e4r",
		"liverpool", "chocolate", "butterfly", "computer", "michelle", "corvette", "mercedes", "midnight", "samantha",
	} {
		if !isListed(p) {
			t.Errorf("%q is not listed", p)
		}
	}
}

func BenchmarkCommon(b *testing.B) {
	common()
	for b.Loop() {
		isListed("correct horse")
	}
}
