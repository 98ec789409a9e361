package models

import (
	"net/mail"
	"strings"
	"unicode"
	"unicode/utf8"
)

// UserProfile is what OpenID Connect tells apps of a user beside the user name, OpenID Connect Core section 5.1. None
// of it is looked at when the user signs in, and an email is no name: several users may have the same one.
type UserProfile struct {
	Name          string // empty: nothing
	Email         string
	EmailVerified bool // whoever set it has made sure that the address is the user's
}

const (
	maxPersonName = 255 // bytes
	maxEmail      = 254 // RFC 5321 section 4.5.3.1.3, less the brackets
)

// checkProfile returns [ErrInvalid] for what is no name of a person or no address.
func (u *User) checkProfile() error {
	addr, err := mail.ParseAddress(u.Email)
	switch {
	case len(u.Name) > maxPersonName || !printable(u.Name):
		return invalid("the name: must be at most %d bytes of printable text", maxPersonName)
	case u.Email == "" && u.EmailVerified:
		return invalid("there is no email that could be verified")
	case u.Email != "" && (len(u.Email) > maxEmail || !printable(u.Email) || strings.Contains(u.Email, " ") ||
		err != nil || addr.Address != u.Email): // a bare address, to the letter
		return invalid("the email %q: must be an address like alice@example.com", CleanLine(u.Email, maxEmail))
	}
	return nil
}

func printable(text string) bool {
	return utf8.ValidString(text) && !strings.ContainsFunc(text, func(r rune) bool { return !unicode.IsPrint(r) })
}

// applyProfile changes what the patch has of the profile, and says what has changed.
func (u *User) applyProfile(p UserPatch) (changed []string) {
	before := UserProfile{u.Name, u.Email, u.EmailVerified}
	if p.Name != nil {
		u.Name = strings.TrimSpace(*p.Name)
	}
	if p.Email != nil && *p.Email != u.Email {
		u.Email, u.EmailVerified = *p.Email, false
	}
	if p.EmailVerified != nil {
		u.EmailVerified = *p.EmailVerified
	}
	for _, member := range []struct {
		name string
		is   bool
	}{
		{"name", u.Name != before.Name},
		{"email", u.Email != before.Email},
		{"email_verified", u.EmailVerified != before.EmailVerified},
	} {
		if member.is {
			changed = append(changed, member.name)
		}
	}
	return changed
}
