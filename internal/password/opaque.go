package password

import (
	"strings"
	"unicode"

	"golang.org/x/text/secure/precis"
	"golang.org/x/text/unicode/norm"
)

// opaque is the password in the form of the profile OpaqueString, RFC 8265 section 4.2: any space is a plain one, and
// the normal form is NFC. What the profile's class of characters leaves out is mapped by the same rules: an emoji that
// is newer than our tables, or has a variation selector, comes from a phone like any other. [Policy.Check] refuses
// control characters.
func opaque(password string) string {
	if s, err := precis.OpaqueString.String(password); err == nil {
		return s
	}
	return norm.NFC.String(strings.Map(func(r rune) rune {
		if unicode.Is(unicode.Zs, r) {
			return ' '
		}
		return r
	}, password))
}
