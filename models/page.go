package models

import (
	"context"
	"crypto/hmac"
	"database/sql"
	"encoding/base64"
	"errors"
	"strings"

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
		return "", invalid("limit %d: must be 1 to %d", p.Limit, MaxPage)
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
	return "", invalid("cursor: must be the next_cursor of this list's page before, as it was given")
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

// boundedList is a list whose filter no index knows whole. So that every page is quick it looks at scanLimit rows only:
// it may hold fewer than its limit, or none, and names the last row that it looked at for the next page to go on after.
type boundedList[T any] struct {
	name string // of the list, in its cursors
	args args   // of both statements
	// look selects the rows that an index finds, in the order of the list; it is empty if those are the whole filter.
	look    string
	stop    []any                     // where the last row that may be looked at is scanned to
	page    func(stopped bool) string // selects the rows of the page; when stopped, down to stop
	key     func(T) string            // of a row, in a cursor
	stopKey func() string             // of stop
}

func pageOfBounded[T any](ctx context.Context, s *Store, p Page, l boundedList[T]) (list []T, next string, err error) {
	stopped := false
	err = s.read(ctx, func(tx *gorm.DB) (err error) {
		list, stopped = nil, false
		if l.look != "" {
			if stopped, err = s.scanStop(tx, l.look, l.args, scanLimit, l.stop...); err != nil {
				return err
			}
		}
		statement := l.page(stopped) + ` LIMIT @limit`
		l.args["limit"] = p.limit() + 1
		return s.raw(tx, statement, l.args).Scan(&list).Error
	})
	list, next = pageOf(s, l.name, p, list, l.key)
	if next == "" && stopped && err == nil {
		next = s.cursor(l.name, l.stopKey())
	}
	return list, next, err
}

// scanStop finds the last of so many rows that may be looked at. The query gives the rows that an index finds, in the
// order of the list; without as many there is no such row: all that there are may be looked at. A page takes that row
// in and, if it is not full, names it for the next one to go on after.
func (s *Store) scanStop(tx *gorm.DB, query string, a args, size int, dest ...any) (found bool, err error) {
	a["skip"] = size - 1
	err = s.row(tx, query+` LIMIT 1 OFFSET @skip`, a, dest...)
	if errors.Is(err, sql.ErrNoRows) {
		return false, nil
	}
	return err == nil, err
}
