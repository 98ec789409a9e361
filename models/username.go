package models

import (
	"context"
	"errors"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/cases"
	"golang.org/x/text/language"
	"golang.org/x/text/secure/bidirule"
	"golang.org/x/text/secure/precis"
	"golang.org/x/text/unicode/norm"
	"golang.org/x/text/width"
	"gorm.io/gorm"
)

// MaxUsername is how many bytes a user name has at most.
const MaxUsername = 255

// trimUsername leaves out the spaces that a phone's keyboard puts after a word.
func trimUsername(name string) string { return strings.TrimSpace(name) }

// mapUsername is the profile UsernameCaseMapped of RFC 8265 section 3.3, for each part between spaces (section 3.1):
// width, case and normal form make no other name. The final sigma is a sigma, which its lower case does not know:
// ΝΊΚΟΣ is Νίκος. It returns an error for a name that the profile does not allow.
func mapUsername(name string) (string, error) {
	parts := strings.Split(strings.Map(spaceSeparator, trimUsername(name)), " ")
	for i, part := range parts {
		mapped, err := precis.UsernameCaseMapped.String(part)
		if err != nil {
			return "", err
		}
		parts[i] = mapped
	}
	return finalSigma.Replace(strings.Join(parts, " ")), nil
}

var finalSigma = strings.NewReplacer("ς", "σ")

// usernameKey is what two spellings of one name have in common. A name of before that is not allowed any more has the
// key that it had: its user goes on to sign in.
func usernameKey(name string) string {
	if key, err := mapUsername(name); err == nil {
		return key
	}
	return formerUsernameKey(name)
}

// UsernameKey is what all spellings of one user name have in common.
func UsernameKey(name string) string { return usernameKey(name) }

// formerUsernameKey is what the key was before RFC 8265. See [Store.renewUsernameKeys] for whom it still finds.
func formerUsernameKey(name string) string { return strings.ToLower(trimUsername(name)) }

// foldUsername maps a part of a name as [mapUsername] does the whole. A part need not be allowed by itself.
func foldUsername(part string) string {
	narrow := width.Fold.String(strings.Map(spaceSeparator, part))
	lower := cases.Lower(language.Und, cases.HandleFinalSigma(false)).String(narrow)
	return finalSigma.Replace(norm.NFC.String(lower))
}

// CheckUsername tells whether a user may be called so; its errors wrap [ErrInvalid]. Spaces at the ends do not count.
func CheckUsername(name string) error {
	if name = trimUsername(name); !mayBeUsername(name) {
		return invalid("the user name has %d bytes: must be 1 to %d, in UTF-8, without control characters", len(name),
			MaxUsername)
	}
	switch _, err := mapUsername(name); {
	case errors.Is(err, bidirule.ErrInvalid):
		return invalid("the user name mixes right-to-left with other characters so that it cannot be read (RFC 5893)")
	case err != nil:
		return invalid("the user name must be letters, digits and punctuation: no symbols, no emoji, nothing that cannot " +
			"be seen (RFC 8265)")
	}
	return nil
}

// mayBeUsername tells what is worth looking up: also the names of before RFC 8265.
func mayBeUsername(name string) bool {
	name = trimUsername(name)
	return name != "" && len(name) <= MaxUsername && utf8.ValidString(name) &&
		!strings.ContainsFunc(name, unicode.IsControl)
}

// storedKey is the key under which a user of this name is found, if there is one: that of the name, or, for exactly the
// spelling of a user who could not be given it, the one of before.
func (s *Store) storedKey(ctx context.Context, name string) (string, error) {
	key, former := usernameKey(name), formerUsernameKey(name)
	if key == former {
		return key, nil
	}
	found, err := s.getUser(ctx, "username_key = ?", former)
	switch {
	case errors.Is(err, ErrNotFound):
		return key, nil
	case err != nil:
		return "", err
	case usernameKey(found.Username) == former: // another name, which has this key by right
		return key, nil
	}
	return former, nil
}

// checkFree returns [ErrConflict] for the name of a user who could not be given the key of it, and still signs in with
// exactly this spelling. Whether the key itself is free, its index says.
func (s *Store) checkFree(tx *gorm.DB, u *User) error {
	former := formerUsernameKey(u.Username)
	if former == u.UsernameKey {
		return nil
	}
	var other User
	err := tx.Where("username_key = ? AND id <> ?", former, u.ID).Take(&other).Error
	if err == nil && usernameKey(other.Username) != former {
		return ErrConflict
	}
	return whenNotFound(err, nil)
}

// renewUsernameKeys gives every user the key that the name has by today's rules. Of two whose names have become one,
// the one that has the key keeps it, or else the older one gets it; the other is named in the log, keeps its former
// key, and signs in with exactly the spelling that it was created with, until one of them is renamed or deleted: each
// call tries again. So nobody is lost, and it may be called at any time.
func (s *Store) renewUsernameKeys(ctx context.Context) error {
	for {
		renewed := 0
		var left []User
		err := s.eachUser(ctx, func(u User) error {
			key := usernameKey(u.Username)
			if key == u.UsernameKey {
				return nil
			}
			var n int64
			err := s.autocommit(ctx, func(tx *gorm.DB) (err error) {
				n, err = s.exec(tx, `UPDATE users SET username_key = @new WHERE id = @id AND username_key = @old
					AND NOT EXISTS (SELECT 1 FROM users o WHERE o.username_key = @new)`,
					args{"id": u.ID, "old": u.UsernameKey, "new": key})
				return err
			})
			if renewed += int(n); n == 0 {
				left = append(left, u)
			}
			return err
		})
		if err != nil {
			return err
		}
		if renewed > 0 { // a key may have become free
			continue
		}
		for _, u := range left {
			s.log.Error("a user has the same name as another one by now, and signs in with exactly this spelling; rename one",
				"username", u.Username, "user_id", u.ID, "other_key", usernameKey(u.Username))
		}
		return nil
	}
}

// eachUser calls fn for every user, with what names it.
func (s *Store) eachUser(ctx context.Context, fn func(User) error) error {
	const atATime = 1000
	for after := (User{}); ; {
		var list []User
		if err := s.read(ctx, func(tx *gorm.DB) error {
			return s.raw(tx, `SELECT id, username, username_key FROM users WHERE id > @after ORDER BY id LIMIT @most`,
				args{"after": after.ID, "most": atATime}).Scan(&list).Error
		}); err != nil {
			return err
		}
		for _, u := range list {
			if err := fn(u); err != nil {
				return err
			}
		}
		if len(list) < atATime {
			return nil
		}
		after = list[len(list)-1]
	}
}
