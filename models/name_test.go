package models

import (
	"errors"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/uuid"
	"github.com/rivo/uniseg"
	"pgregory.net/rapid"
)

const (
	scotland  = "\U0001f3f4\U000e0067\U000e0062\U000e0073\U000e0063\U000e0074\U000e007f"
	household = "👩‍👩‍👧‍👦"
)

func TestDeviceName(t *testing.T) {
	for _, tt := range []struct{ name, said, want string }{
		{"plain", "Anna's iPhone", "Anna's iPhone"},
		{"a right-to-left mark", "iPhone של דוד\u200f", "iPhone של דוד\u200f"},
		{"Arabic in isolates", "iPhone \u2068أحمد\u2069", "iPhone \u2068أحمد\u2069"},
		{"an isolate without its end", "\u2067iPhone \u2068a\u2069", "iPhone \u2068a\u2069"},
		{"an end without its isolate", "iPhone\u2069 \u2068a\u2069", "iPhone \u2068a\u2069"},
		{"an override", "gpj\u202eexe.", "gpjexe."},
		{"embeddings", "\u202aa\u202c\u202bb\u202c\u202dc\u202c", "abc"},
		{"newer than our tables", "phone \U0001fae9\U0001f6d8\U0001facd", "phone \U0001fae9\U0001f6d8\U0001facd"},
		{"Scotland's flag", scotland + " phone", scotland + " phone"},
		{"tags that are no flag", "a\U000e0067\U000e007fb", "ab"},
		{"tags after a flag's end", scotland + "\U000e0067 x", scotland + " x"},
		{"a family", household, household},
		{"a heart with its selector", "❤️", "❤️"},
		{"Persian", "گوشی می\u200cخواهم", "گوشی می\u200cخواهم"},
		{"an Arabic number sign", "\u0600١٢", "\u0600١٢"},
		{"Apple's own character", "\uf8ff phone", "\uf8ff phone"},
		{"spaces", "\t a\u00a0b\u3000c\r\nd\u2028e ", "a b c  d e"},
		{"control characters", "a\x00\x07\x1b[31mb\u009b", "a[31mb"},
		{"nothing to be seen between", "a\u200b\u2060\ufeff\u00adb", "ab"},
		{"no characters", "a\ufdd0\uffff\U0001fffeb", "ab"},
		{"not UTF-8", "a\xff\xc0b", "ab"},
		{"only marks", "\u200f\u200d\u2068\u2069 \ufe0f\u3164", ""},
		{"only spaces", " \t\u3000", ""},
		{"an unpaired one alone", "\u2066", ""},
		{"101 letters", strings.Repeat("ä", 101), strings.Repeat("ä", 100)},
		{"a household at the end", strings.Repeat("x", 97) + household, strings.Repeat("x", 97)},
		{"a household that fits", strings.Repeat("x", 93) + household + "y", strings.Repeat("x", 93) + household},
		{"a flag at the end", strings.Repeat("x", 98) + scotland, strings.Repeat("x", 98)},
		{"two letters of a flag", strings.Repeat("x", 99) + "🇩🇪", strings.Repeat("x", 99)},
		{"an accent at the end", strings.Repeat("x", 99) + "e\u0301", strings.Repeat("x", 99)},
		{"a space at the end", strings.Repeat("x", 99) + " y", strings.Repeat("x", 99)},
		{"an isolate whose end is cut", strings.Repeat("x", 98) + "\u2068ab\u2069", strings.Repeat("x", 98) + "a"},
		{"a hundred accents", "a" + strings.Repeat("\u0301", 300), "a" + strings.Repeat("\u0301", 99)},
		{"very long", strings.Repeat("ab ", 100_000), strings.Repeat("ab ", 33) + "a"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got := DeviceName(tt.said)
			if got != tt.want {
				t.Errorf("got %+q, want %+q", got, tt.want)
			}
			if clean, err := CleanName(got); got != "" && (err != nil || clean != got) {
				t.Errorf("a person may not call it so: %+q, %v", clean, err)
			}
		})
	}
}

// Whatever a phone sends, what is stored is short, valid, stays so, and leaves the direction of the page as it was.
func TestDeviceName_Property(t *testing.T) {
	special := rapid.SampledFrom([]string{
		"\u2066", "\u2067", "\u2068", "\u2069", "\u202e", "\u202c", "\u200f", "\u200d", scotland, household, "🇩🇪", "e\u0301", "\x00", "\xff", " ",
	})
	rapid.Check(t, func(t *rapid.T) {
		said := strings.Join(rapid.SliceOf(rapid.OneOf(special, rapid.String())).Draw(t, "parts"), "")
		got := DeviceName(said)
		if !utf8.ValidString(got) || utf8.RuneCountInString(got) > MaxName || DeviceName(got) != got {
			t.Fatalf("%+q became %+q, and that %+q", said, got, DeviceName(got))
		}
		open := 0
		for _, r := range got {
			switch {
			case r >= firstIsolate && r <= lastIsolate:
				open++
			case r == popIsolate:
				open--
			case r >= firstEmbedding && r <= lastOverride, r == 0:
				t.Fatalf("%+q became %+q", said, got)
			}
			if open < 0 {
				t.Fatalf("%+q became %+q: an end without its isolate", said, got)
			}
		}
		if open != 0 {
			t.Fatalf("%+q became %+q: an isolate without its end", said, got)
		}
	})
}

// Each character that a reader counts is there as a whole or not at all.
func TestDeviceName_CutsBetweenCharacters(t *testing.T) {
	for at := range 120 {
		said := strings.Repeat("x", at) + strings.Repeat(household+scotland+"🇩🇪e\u0301", 30)
		got := DeviceName(said)
		if !strings.HasPrefix(said, got) {
			t.Fatalf("%+q is not its beginning", got)
		}
		rest := said[len(got):]
		if uniseg.GraphemeClusterCount(got)+uniseg.GraphemeClusterCount(rest) != uniseg.GraphemeClusterCount(said) {
			t.Errorf("cut within a character: %+q", got)
		}
	}
}

func TestCleanName(t *testing.T) {
	for _, good := range []string{"iPhone של דוד\u200f", "\u2068أحمد\u2069", scotland, household, "phone \U0001fae9", "a b"} {
		if got, err := CleanName(" " + good + "\u00a0"); err != nil || got != good {
			t.Errorf("%+q: %+q, %v", good, got, err)
		}
	}
	for bad, says := range map[string]string{
		"": "0 characters", " ": "0 characters", "\u200f": "can be seen", strings.Repeat("a", 101): "101 characters",
		"a\u202eb": "at byte 1", "ab\u2068c": "at byte 2", "a\nb": "at byte 1", "a\x00": "at byte 1", "\xff": "UTF-8",
		"a\u200bb": "cannot be shown", "a\U000e0067b": "cannot be shown",
	} {
		if got, err := CleanName(bad); !errors.Is(err, ErrInvalid) || !strings.Contains(err.Error(), says) {
			t.Errorf("%+q: %+q, %v, want an error that says %q", bad, got, err, says)
		}
	}
}

func TestSignIn_TakesAnyDeviceName(t *testing.T) {
	forEachDB(t, func(t *testing.T, k *kit) {
		u := k.newUser("anna")
		for said, want := range map[string]string{
			"iPhone של דוד\u200f": "iPhone של דוד\u200f", strings.Repeat("n", 300): strings.Repeat("n", 100), "\u2067": "Unknown device",
			scotland: scotland, "a\u202eb\u2066": "ab", "\x00\xff": "Unknown device", "\U0001fae9": "\U0001fae9",
		} {
			g, err := k.SignIn(t.Context(), SignIn{User: u, Client: k.client, Scope: "settings", Name: said, Origin: origin})
			if err != nil {
				t.Errorf("%+q: %v", said, err)
				continue
			}
			d, err := k.GetDevice(t.Context(), DeviceFilter{ID: g.DeviceID})
			if err != nil || d.Name != want {
				t.Errorf("%+q: stored as %+q, %v, want %+q", said, d.Name, err, want)
			}
			_, err = k.RenameDevice(t.Context(), DeviceFilter{ID: g.DeviceID}, "x\u202ey", Actor{})
			if !errors.Is(err, ErrInvalid) {
				t.Errorf("a person's own name with an override: %v", err)
			}
		}
	})
}

// A client's own token has the client's id as its sub, so it must not be one that a user may have.
func TestCreateClient_NoUserID(t *testing.T) {
	forEachDB(t, func(t *testing.T, k *kit) {
		u := k.newUser("anna")
		for _, id := range []string{u.ID.String(), uuid.NewString(), strings.ToUpper(uuid.NewString()), uuid.Nil.String()} {
			_, _, err := k.CreateClient(t.Context(), NewClient{ID: id, Grants: []string{GrantClientCredentials}}, Actor{})
			if !errors.Is(err, ErrInvalid) || !strings.Contains(err.Error(), "UUID") {
				t.Errorf("%s: %v", id, err)
			}
		}
		for _, id := range []string{"0123456789abcdef0123456789abcdef", uuid.NewString()[:35], "x" + uuid.NewString()} {
			if _, _, err := k.CreateClient(t.Context(), NewClient{ID: id, Grants: []string{GrantClientCredentials}}, Actor{}); err != nil {
				t.Errorf("%s: %v", id, err)
			}
		}
	})
}
