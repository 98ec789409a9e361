package models

import (
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/rivo/uniseg"
)

// MaxName is how many characters the name of a device or a client has at most.
const MaxName = 100

// CleanName accepts what a person calls a thing: 1 to MaxName characters of valid UTF-8 that can be seen, with what
// belongs to scripts and emoji. Any space becomes a plain one. It refuses what [DeviceName] would leave out; its
// errors wrap [ErrInvalid].
func CleanName(name string) (string, error) {
	if !utf8.ValidString(name) {
		return "", invalid("the name is not UTF-8")
	}
	name = strings.TrimSpace(strings.Map(spaceSeparator, name))
	clean := cleanName(name)
	if !isVisible(clean) || len(name) > 4*MaxName || utf8.RuneCountInString(name) > MaxName {
		return "", invalid("the name has %d characters: must be 1 to %d that can be seen", utf8.RuneCountInString(name),
			MaxName)
	}
	if clean != name {
		at := 0
		for at < len(clean) && clean[at] == name[at] {
			at++
		}
		return "", invalid("the name has a character that cannot be shown, or one for the direction of text without its "+
			"partner, at byte %d", at)
	}
	return name, nil
}

// DeviceName makes a name of what a phone says that it is called: what cannot be seen or would disturb a page is left
// out, and what is too long is cut between two characters as a reader counts them. It refuses nothing; what remains
// may be empty.
func DeviceName(text string) string {
	text = cleanName(strings.ToValidUTF8(text[:min(len(text), 64*MaxName)], ""))
	if short := shorten(text, MaxName); short != text {
		text = cleanName(short) // the end of an isolate may have gone
	}
	if !isVisible(text) {
		return ""
	}
	return text
}

// shorten cuts text to so many code points, between two grapheme clusters.
func shorten(text string, most int) string {
	if utf8.RuneCountInString(text) <= most {
		return text
	}
	end, runes := 0, 0
	for rest, state := text, -1; rest != ""; {
		var cluster string
		cluster, rest, _, state = uniseg.FirstGraphemeClusterInString(rest, state)
		if runes += utf8.RuneCountInString(cluster); runes > most {
			break
		}
		end += len(cluster)
	}
	if end == 0 { // one character with a hundred accents
		return string([]rune(text)[:most])
	}
	return text[:end]
}

// The characters that decide about the direction of text, Unicode Standard Annex 9.
const (
	firstIsolate, lastIsolate, popIsolate = '\u2066', '\u2068', '\u2069' // LRI, RLI, FSI; PDI
	firstEmbedding, lastOverride          = '\u202a', '\u202e'           // LRE, RLE, PDF, LRO, RLO
)

const (
	blackFlag, firstTag, lastTag = '\U0001f3f4', '\U000e0020', '\U000e007f' // flags of regions: a flag and tags
	joiners                      = "\u200c\u200d"                           // Persian and emoji cannot be written without
	marks                        = "\u200e\u200f\u061c"                     // LEFT-TO-RIGHT MARK and its siblings
)

// cleanName leaves out what cannot be seen and does nothing for what can: control characters, embeddings and overrides
// of the direction, isolates without a partner, tags outside a flag. Characters that our tables do not know are newer
// than they are, and stay.
func cleanName(text string) string {
	var kept []rune
	var open []int // where the isolates begin that have no end yet
	flag := false
	for _, r := range strings.Map(plainSpace, text) {
		tag := r >= firstTag && r <= lastTag
		switch {
		case r >= firstIsolate && r <= lastIsolate:
			open = append(open, len(kept))
		case r == popIsolate:
			if len(open) == 0 {
				continue
			}
			open = open[:len(open)-1]
		case tag && flag, strings.ContainsRune(joiners+marks, r):
		case tag, r >= firstEmbedding && r <= lastOverride, !isText(r):
			continue
		}
		kept = append(kept, r)
		flag = r == blackFlag || tag && flag && r != lastTag
	}
	for _, at := range open {
		kept[at] = -1
	}
	var b strings.Builder
	for _, r := range kept {
		if r >= 0 {
			b.WriteRune(r)
		}
	}
	return strings.TrimSpace(b.String())
}

// plainSpace makes a plain space of all that separates words or lines.
func plainSpace(r rune) rune {
	if unicode.IsSpace(r) {
		return ' '
	}
	return r
}

// spaceSeparator makes one of the other spaces only.
func spaceSeparator(r rune) rune {
	if unicode.Is(unicode.Zs, r) {
		return ' '
	}
	return r
}

// isText tells what is written, from control and format characters and from what is no character.
func isText(r rune) bool {
	switch {
	case unicode.Is(unicode.Prepended_Concatenation_Mark, r): // the signs that Arabic puts around a number
		return true
	case unicode.In(r, unicode.Cc, unicode.Cf, unicode.Cs, unicode.Noncharacter_Code_Point):
		return false
	}
	return true
}

// isVisible tells whether there is anything to be seen.
func isVisible(text string) bool {
	return strings.ContainsFunc(text, func(r rune) bool {
		return isText(r) && !unicode.In(r, unicode.Z, unicode.M, unicode.Other_Default_Ignorable_Code_Point)
	})
}
