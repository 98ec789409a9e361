package models

import (
	"crypto/hmac"
	"database/sql"
	"encoding/base64"
	"errors"
	"strings"
	"unicode"
	"unicode/utf8"

	"gorm.io/gorm"
)

// Page asks for one page of a list. Lists are keyset pages: a cursor names the last row of the page before, so a page
// costs the same wherever it lies, and rows that come or go shift nothing.
type Page struct {
	Limit  int    // 1 to 200; 0 means 50
	Cursor string // the next_cursor of the page before; empty for the first
}

// MaxPage is how many rows a page has at most.
const MaxPage = 200

func (p Page) limit() int {
	if p.Limit == 0 {
		return 50
	}
	return p.Limit
}

const cursorMAC = 9

// cursor seals the key of a list's last row, so that an edited one, or one of another list, is recognised.
func (s *Store) cursor(list, key string) string {
	sum := mac(s.secret.current().cursor, []byte(list), []byte{0}, []byte(key))
	return base64.RawURLEncoding.EncodeToString(append(sum[:cursorMAC:cursorMAC], key...))
}

// cursorAfter gives back the key in a page's cursor; the empty string for the first page.
func (s *Store) cursorAfter(list string, p Page) (string, error) {
	if p.Limit < 0 || p.Limit > MaxPage {
		return "", invalid("limit %d: it takes 1 to %d", p.Limit, MaxPage)
	}
	if p.Cursor == "" {
		return "", nil
	}
	b, err := strictBase64.DecodeString(p.Cursor)
	if err == nil && len(b) > cursorMAC && len(b) < 512 && !strings.ContainsAny(p.Cursor, "\r\n") {
		for _, sub := range s.secret.subkeys {
			sum := mac(sub.cursor, []byte(list), []byte{0}, b[cursorMAC:])
			if hmac.Equal(b[:cursorMAC], sum[:cursorMAC]) {
				return string(b[cursorMAC:]), nil
			}
		}
	}
	return "", invalid("cursor: it takes the next_cursor of this list's page before, as it was given")
}

// pageOf cuts the one row too many that the query asked for, and names the next page if it was there.
func pageOf[T any](s *Store, list string, p Page, rows []T, key func(T) string) ([]T, string) {
	if len(rows) <= p.limit() {
		return rows, ""
	}
	rows = rows[:p.limit()]
	return rows, s.cursor(list, key(rows[len(rows)-1]))
}

// scanLimit is how many rows one page looks at when no index finds those of its filter.
const scanLimit = 2500

// scanStop finds the last of so many rows that may be looked at. The query gives the rows that an index finds, in the order
// of the list; without as many there is no such row: all that there are may be looked at. A page takes that row in and, if
// it is not full, names it for the next one to go on after.
func (s *Store) scanStop(tx *gorm.DB, query string, a args, size int, dest ...any) (found bool, err error) {
	a["skip"] = size - 1
	err = s.row(tx, query+` LIMIT 1 OFFSET @skip`, a, dest...)
	if errors.Is(err, sql.ErrNoRows) {
		return false, nil
	}
	return err == nil, err
}

// MaxName is how many characters the name of a device or a client has at most.
const MaxName = 100

// joiners are ZERO WIDTH NON-JOINER and ZERO WIDTH JOINER.
const joiners = "\u200c\u200d"

// CleanName accepts what a person would call a thing: 1 to MaxName characters of valid UTF-8 that can be seen, and the two
// joiners, without which Persian and some emoji cannot be written. Any space becomes a plain one. Its errors wrap [ErrInvalid].
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
		return "", invalid("the name has %d characters: it takes 1 to %d", utf8.RuneCountInString(name), MaxName)
	}
	if i := strings.IndexFunc(name, func(r rune) bool { return !unicode.IsPrint(r) && !strings.ContainsRune(joiners, r) }); i >= 0 {
		return "", invalid("the name has a character that cannot be printed, at byte %d", i)
	}
	return name, nil
}

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
