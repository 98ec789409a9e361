package models

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// What people and programs may call things, and how foreign text is made fit to be stored.

// MaxUsername is how many bytes a user name has at most.
const MaxUsername = 255

func usernameKey(name string) string { return strings.ToLower(name) }

// CheckUsername tells whether a user may be called so; its errors wrap [ErrInvalid].
func CheckUsername(name string) error {
	switch {
	case name == "" || len(name) > MaxUsername || !utf8.ValidString(name):
		return invalid("the user name has %d bytes: must be 1 to %d, in UTF-8", len(name), MaxUsername)
	case strings.TrimSpace(name) != name, strings.ContainsFunc(name, func(r rune) bool { return !unicode.IsPrint(r) }):
		return invalid("the user name must be printable characters, without a space at its ends")
	}
	return nil
}

// maxUserAgent is how many bytes of a user agent are kept.
const maxUserAgent = 512

// MaxName is how many characters the name of a device or a client has at most.
const MaxName = 100

// joiners are ZERO WIDTH NON-JOINER and ZERO WIDTH JOINER.
const joiners = "\u200c\u200d"

// CleanName accepts what a person would call a thing: 1 to MaxName characters of valid UTF-8 that can be seen, and the
// two joiners, without which Persian and some emoji cannot be written. Any space becomes a plain one. Its errors wrap
// [ErrInvalid].
func CleanName(name string) (string, error) {
	if !utf8.ValidString(name) {
		return "", invalid("the name is not UTF-8")
	}
	name = strings.TrimSpace(strings.Map(func(r rune) rune {
		if unicode.Is(unicode.Zs, r) {
			return ' '
		}
		return r
	}, name))
	if strings.Trim(name, joiners) == "" || len(name) > 4*MaxName || utf8.RuneCountInString(name) > MaxName {
		return "", invalid("the name has %d characters: must be 1 to %d", utf8.RuneCountInString(name), MaxName)
	}
	if i := strings.IndexFunc(name, func(r rune) bool {
		return !unicode.IsPrint(r) && !strings.ContainsRune(joiners, r)
	}); i >= 0 {
		return "", invalid("the name has a character that cannot be printed, at byte %d", i)
	}
	return name, nil
}

// CleanLine makes foreign text fit for a line of a log: printable, at most max bytes.
func CleanLine(text string, max int) string { return cleanText(text, max) }

// cleanText makes foreign text fit for the log and the database: valid UTF-8, printable, at most max bytes.
func cleanText(text string, max int) string {
	if len(text) > max {
		text = text[:max]
	}
	return strings.Map(func(r rune) rune {
		if r == utf8.RuneError || !unicode.IsPrint(r) {
			return -1
		}
		return r
	}, text)
}
