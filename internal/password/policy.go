package password

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync/atomic"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"
)

// ErrPolicy: a new password that may not be used; the message says why, for the user.
var ErrPolicy = errors.New("this password cannot be used")

const (
	// MinLength is how many characters a new password has at least, unless the configuration asks for more.
	MinLength = 8
	// MaxMinLength is how many the configuration may ask for.
	MaxMinLength = 128
	// MaxSize is how many bytes a password has at most, new or presented: longer ones are refused before any hashing.
	MaxSize = 1024
)

// PolicyConfig says what a new password must be. A zero field takes its default.
type PolicyConfig struct {
	MinLength int      // characters; default [MinLength]
	Words     []string // that somebody who guesses knows: the names of the product, the company, the host
	BreachURL string   // where ranges of breached passwords are looked up, see [Policy.CheckBreaches]; default nowhere
}

// Policy says which passwords may be set. It is asked where one is set, and never at a sign-in.
type Policy struct {
	least    int
	words    []string
	breaches *breaches // nil: they are not looked up
	log      *slog.Logger

	Unanswered atomic.Int64 // look-ups of breaches that failed, so that the password was taken without
}

// NewPolicy returns a policy. Its error says what is wrong with the configuration.
func NewPolicy(cfg PolicyConfig, log *slog.Logger) (*Policy, error) {
	p := &Policy{least: MinLength, log: log}
	if cfg.MinLength != 0 {
		p.least = cfg.MinLength
	}
	if p.least < MinLength || p.least > MaxMinLength {
		return nil, fmt.Errorf("the least length of a password: must be %d to %d", MinLength, MaxMinLength)
	}
	for _, word := range cfg.Words {
		if word = fold(strings.TrimSpace(word)); utf8.RuneCountInString(word) >= minWord {
			p.words = append(p.words, word)
		}
	}
	if cfg.BreachURL != "" {
		var err error
		if p.breaches, err = newBreaches(cfg.BreachURL); err != nil {
			return nil, err
		}
	}
	return p, nil
}

// Check tells whether a user may take a new password, as far as that can be told here; see [Policy.CheckBreaches] for
// the rest. Its errors wrap [ErrPolicy].
//
// It follows NIST SP 800-63B, section 3.1.1 of revision 4:
//   - Length is what makes a password hard to guess, so there is a least length; every Unicode code point counts as
//     one. It is 8 unless the operator asks for more; NIST asks for 15 where nothing but the password protects the account,
//     which few users of a public app put up with. The limits on guessing stand beside it.
//   - There is no other limit that a person meets: 1024 bytes, all characters but control characters, which cannot be
//     typed everywhere (RFC 8265 section 4.2), spaces too.
//   - What attackers try first is refused: a list of common passwords, repetitions of a few characters, the user's own
//     name, the words of the context. The list is compared with the whole password, not with its parts: a long passphrase
//     may hold a common word, or the user's name. But these must not be what makes it long: without them, the rest has to
//     be a password too.
//   - No composition rules and no expiry: they make passwords worse.
func (p *Policy) Check(password, username string) error {
	switch {
	case len(password) > MaxSize:
		return tooLong(len(password))
	case !utf8.ValidString(password):
		return policyError("it is not valid UTF-8")
	case strings.Contains(password, "\x00"):
		return policyError("it contains a NUL character")
	case strings.ContainsFunc(password, unicode.IsControl):
		return policyError("it contains a control character, like a tab or the end of a line")
	}
	folded := fold(password)
	// Normalising may join what a keyboard sent in parts, and may split one character into many: neither makes it
	// longer.
	length := min(utf8.RuneCountInString(password), utf8.RuneCountInString(norm.NFKC.String(password)))
	if length < p.least {
		return policyError("it has %d characters, and needs at least %d", length, p.least)
	}
	if isCommon(folded) {
		return policyError("it is one of those that are tried first; choose a less common one")
	}
	name := fold(username)
	local, _, _ := strings.Cut(name, "@")
	var names []string
	for _, name := range []string{name, local} {
		if utf8.RuneCountInString(name) >= 3 { // shorter ones are in too many words
			names = append(names, name)
		}
	}
	if isLittleMoreThan(folded, names) {
		return policyError("it is little more than the user name")
	}
	if isLittleMoreThan(folded, append(names, p.words...)) {
		return policyError("it is little more than the name of this service")
	}
	return nil
}

// CheckBreaches asks the configured service whether the password is known from a breach; [ErrPolicy] if so. The service
// learns the first twenty bits of the password's SHA-1 and not the password. When it does not answer, the password is
// taken: an outage elsewhere must not keep people from changing a password that somebody else has.
func (p *Policy) CheckBreaches(ctx context.Context, password string) error {
	if p.breaches == nil {
		return nil
	}
	found, err := p.breaches.has(ctx, password)
	if err != nil {
		p.Unanswered.Add(1)
		p.log.Warn("the look-up of breached passwords failed: a new password was taken without it", "error", err)
		return nil
	}
	if found {
		return policyError("it is known from a breach of some service, and is tried first; choose another one")
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
