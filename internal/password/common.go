package password

import (
	"bytes"
	"compress/gzip"
	_ "embed"
	"io"
	"strings"
	"sync"
	"unicode"
	"unicode/utf8"
)

// The common passwords are embedded as a sorted, compressed text; README.md says where they are from. The first
// question unpacks them, in about ten milliseconds, into one string of 1.4 MB that is searched as it is, in about a
// microsecond: a map of them would take ten times the memory. A process that sets no password pays nothing.

//go:embed common.txt.gz
var commonPacked []byte

// common is the list: folded passwords, each with a line end, in the order of their bytes.
var common = sync.OnceValue(func() string {
	r, err := gzip.NewReader(bytes.NewReader(commonPacked))
	if err != nil {
		panic("the embedded list of passwords is damaged: " + err.Error())
	}
	var b strings.Builder
	b.Grow(1_500_000)
	if _, err := io.Copy(&b, r); err != nil {
		panic("the embedded list of passwords is damaged: " + err.Error())
	}
	return b.String()
})

// isListed looks a folded password up.
func isListed(folded string) bool {
	list := common()
	low, high := 0, len(list) // the line is in between, both at the beginning of one
	for low < high {
		start := strings.LastIndexByte(list[:(low+high)/2], '\n') + 1 // not before low: a line begins there
		end := start + strings.IndexByte(list[start:], '\n')
		switch line := list[start:end]; {
		case line == folded:
			return true
		case line < folded:
			low = end + 1
		default:
			high = start
		}
	}
	return false
}

// isCommon takes a folded password: is it listed, or one to four characters over and over?
func isCommon(folded string) bool {
	if isListed(folded) {
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

// minWord is the length of the shortest word of the context that is looked for: shorter ones are in too many others.
const minWord = 4

// disguises are what people write for letters.
var disguises = strings.NewReplacer("0", "o", "1", "i", "3", "e", "4", "a", "5", "s", "7", "t", "@", "a", "$", "s",
	"!", "i")

// isLittleMoreThan takes a folded password: does it hold some of the words, and without them nothing that would be a
// password? A year or a date makes none.
func isLittleMoreThan(folded string, words []string) bool {
	plain := disguises.Replace(folded)
	for _, written := range []string{folded, plain} {
		rest := written
		for _, word := range words {
			rest = strings.ReplaceAll(rest, word, "")
		}
		if rest == written {
			continue
		}
		rest = strings.TrimFunc(rest, func(r rune) bool { return !unicode.IsLetter(r) && !unicode.IsDigit(r) })
		digits := strings.Trim(rest, "0123456789") == ""
		if n := utf8.RuneCountInString(rest); n < MinLength || n == MinLength && digits || isCommon(rest) {
			return true
		}
	}
	return false
}
