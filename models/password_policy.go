package models

import (
	_ "embed"
	"errors"
	"fmt"
	"strings"
	"sync"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"
)

// ErrPasswordPolicy: a new password that may not be used; the message says why, for the user.
var ErrPasswordPolicy = errors.New("this password cannot be used")

const (
	// MinPasswordLength is how many characters a new password has at least.
	MinPasswordLength = 8
	// MaxPasswordSize is how many bytes a password has at most, new or presented: longer ones are refused before any hashing.
	MaxPasswordSize = 1024
)

// CheckPasswordPolicy tells whether a user may take a new password. Its errors wrap [ErrPasswordPolicy].
//
// It follows NIST SP 800-63B, section 3.1.1 of revision 4:
//   - Length is what makes a password hard to guess, so there is a least length, every Unicode code point counting as one. The least
//     is 8; NIST asks for 15 where nothing but the password protects the account, which the operator of an internal app may
//     demand of the people but few users of a public one put up with. The limits on guessing stand beside it.
//   - There is no other limit that a person meets: 1024 bytes, all characters, spaces too. A NUL would end the password for bcrypt.
//   - What attackers try first is refused: a list of common passwords, repetitions of a few characters, the user's own name. The list is
//     compared with the whole password, not with its parts: a long passphrase may hold a common word, or the user's name.
//     But the name must not be what makes it long: without it, the rest has to be a password too.
//   - No composition rules and no expiry: they make passwords worse.
func CheckPasswordPolicy(password, username string) error {
	switch {
	case len(password) > MaxPasswordSize:
		return passwordTooLong(len(password))
	case !utf8.ValidString(password):
		return policyError("it is not valid UTF-8")
	case strings.Contains(password, "\x00"):
		return policyError("it contains a NUL character")
	}
	folded := foldPassword(password)
	// Normalising may join what a keyboard sent in parts, and may split one character into many: neither makes a password longer.
	length := min(utf8.RuneCountInString(password), utf8.RuneCountInString(norm.NFKC.String(password)))
	if length < MinPasswordLength {
		return policyError("it has %d characters, and needs at least %d", length, MinPasswordLength)
	}
	if passwordIsCommon(folded) {
		return policyError("it is one of those that are tried first; choose a less common one")
	}
	name := foldPassword(username)
	local, _, _ := strings.Cut(name, "@")
	for _, name := range []string{name, local} {
		if utf8.RuneCountInString(name) < 3 { // shorter ones are in too many words
			continue
		}
		rest := strings.ReplaceAll(folded, name, "")
		if rest != folded && (utf8.RuneCountInString(rest) < MinPasswordLength || passwordIsCommon(rest)) {
			return policyError("it is little more than the user name")
		}
	}
	return nil
}

func policyError(format string, args ...any) error {
	return fmt.Errorf("%w: "+format, append([]any{ErrPasswordPolicy}, args...)...)
}

func passwordTooLong(size int) error {
	return policyError("it has %d bytes, and may have at most %d", size, MaxPasswordSize)
}

func foldPassword(s string) string { return strings.ToLower(norm.NFKC.String(s)) }

//go:embed blocklist.txt
var passwordBlockList string

var blockedPasswords = sync.OnceValue(func() map[string]struct{} {
	set := make(map[string]struct{}, strings.Count(passwordBlockList, "\n"))
	for line := range strings.Lines(passwordBlockList) {
		set[strings.TrimSuffix(line, "\n")] = struct{}{}
	}
	return set
})

// passwordIsCommon takes a folded password: is it listed, or one to four characters over and over?
func passwordIsCommon(folded string) bool {
	if _, ok := blockedPasswords()[folded]; ok {
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
