package models

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// How foreign text is made fit to be stored. Names of users are in username.go, those of things in name.go.

// maxUserAgent is how many bytes of a user agent are kept.
const maxUserAgent = 512

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
