package password

import (
	"errors"
	"slices"
	"strings"
	"testing"
)

func TestCheckPolicy(t *testing.T) {
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
			err := CheckPolicy(tt.password, tt.username)
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

func TestBlockList(t *testing.T) {
	lines := strings.Split(strings.TrimSuffix(blockList, "\n"), "\n")
	if len(lines) < 1000 {
		t.Errorf("the list has %d lines", len(lines))
	}
	if !slices.IsSorted(lines) || len(slices.Compact(slices.Clone(lines))) != len(lines) {
		t.Error("the list is not sorted, or a line is there twice")
	}
	for _, line := range lines {
		if line != fold(line) || len(line) < MinLength || strings.TrimSpace(line) != line {
			t.Errorf("%q is not folded, too short to matter, or padded: it can never be met", line)
		}
		if !errors.Is(CheckPolicy(strings.ToUpper(line), "somebody"), ErrPolicy) {
			t.Errorf("%q is listed and taken", line)
		}
	}
}
