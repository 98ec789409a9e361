package password

import (
	_ "embed"
	"errors"
	"fmt"
	"strings"
	"sync"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"
)

// ErrPolicy: a new password that may not be used; the message says why, for the user.
var ErrPolicy = errors.New("this password cannot be used")

const (
	// MinLength is how many characters a new password has at least.
	MinLength = 8
	// MaxSize is how many bytes a password has at most, new or presented: longer ones are refused before any hashing.
	MaxSize = 1024
)

// CheckPolicy tells whether a user may take a new password. Its errors wrap [ErrPolicy].
//
// It follows NIST SP 800-63B, section 3.1.1 of revision 4:
//   - Length is what makes a password hard to guess, so there is a least length, every Unicode code point counting as one.
//     The least is 8; NIST asks for 15 where nothing but the password protects the account, which the operator of an
//     internal app may demand of the people but few users of a public one put up with. The limits on guessing stand beside
//     it.
//   - There is no other limit that a person meets: 1024 bytes, all characters, spaces too. A NUL would end the password for
//     bcrypt.
//   - What attackers try first is refused: a list of common passwords, repetitions of a few characters, the user's own name.
//     The list is compared with the whole password, not with its parts: a long passphrase may hold a common word, or the
//     user's name. But the name must not be what makes it long: without it, the rest has to be a password too.
//   - No composition rules and no expiry: they make passwords worse.
func CheckPolicy(password, username string) error {
	switch {
	case len(password) > MaxSize:
		return tooLong(len(password))
	case !utf8.ValidString(password):
		return policyError("it is not valid UTF-8")
	case strings.Contains(password, "\x00"):
		return policyError("it contains a NUL character")
	}
	folded := fold(password)
	// Normalising may join what a keyboard sent in parts, and may split one character into many: neither makes it
	// longer.
	length := min(utf8.RuneCountInString(password), utf8.RuneCountInString(norm.NFKC.String(password)))
	if length < MinLength {
		return policyError("it has %d characters, and needs at least %d", length, MinLength)
	}
	if isCommon(folded) {
		return policyError("it is one of those that are tried first; choose a less common one")
	}
	name := fold(username)
	local, _, _ := strings.Cut(name, "@")
	for _, name := range []string{name, local} {
		if utf8.RuneCountInString(name) < 3 { // shorter ones are in too many words
			continue
		}
		rest := strings.ReplaceAll(folded, name, "")
		if rest != folded && (utf8.RuneCountInString(rest) < MinLength || isCommon(rest)) {
			return policyError("it is little more than the user name")
		}
	}
	return nil
}

func policyError(format string, args ...any) error {
	return fmt.Errorf("%w: "+format, append([]any{ErrPolicy}, args...)...)
}

func tooLong(size int) error {
	return policyError("it has %d bytes, and may have at most %d", size, MaxSize)
}

func fold(s string) string { return strings.ToLower(norm.NFKC.String(s)) }

//go:embed blocklist.txt
var blockList string

var blocked = sync.OnceValue(func() map[string]struct{} {
	set := make(map[string]struct{}, strings.Count(blockList, "\n"))
	for line := range strings.Lines(blockList) {
		set[strings.TrimSuffix(line, "\n")] = struct{}{}
	}
	return set
})

// isCommon takes a folded password: is it listed, or one to four characters over and over?
func isCommon(folded string) bool {
	if _, ok := blocked()[folded]; ok {
		return true
	}
	runes := []rune(folded)
	for period := 1; period <= 4 && 2*period <= len(runes); period++ {
		i := period
		for i < len(runes) && runes[i] == runes[i-period] {
			i++
		}
		if i == len(runes) {
			return true
		}
	}
	return false
}
