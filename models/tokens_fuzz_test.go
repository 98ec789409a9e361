package models

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"curfew/internal/testdb"
)

// FuzzRefreshToken: what is accepted is exactly what the keyring makes, one string for one token, and nothing panics.
func FuzzRefreshToken(f *testing.F) {
	k, err := newKeyring([][]byte{bytes.Repeat([]byte{7}, 32), bytes.Repeat([]byte{8}, 32)})
	if err != nil {
		f.Fatal(err)
	}
	older := &keyring{subkeys: k.subkeys[1:]}
	t := refreshToken{DeviceID: uuid.MustParse("0190f5fe-7c00-7a00-8000-000000000001"), RefreshID: uuid.MustParse("6ba7b810-9dad-41d1-80b4-00c04fd430c8")}
	good := k.refreshToken(t)
	for _, s := range []string{
		good, older.refreshToken(t), "", refreshTokenPrefix, good + "=", good + "\n", good[:len(good)-1], strings.ToUpper(good),
		good[:20] + "\n" + good[21:], strings.Replace(good, "_", "-", 3), good + good,
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		tok, ok := k.parseRefreshToken(s)
		if !ok {
			if tok != (refreshToken{}) {
				t.Fatal("a refused token has a content")
			}
			return
		}
		if s != k.refreshToken(tok) && s != older.refreshToken(tok) {
			t.Fatalf("%q is accepted, and is not what is made for %+v", s, tok)
		}
	})
}

// FuzzRefreshToken_Body gives the bytes inside, so that the fuzzer gets past the encoding: without the key no MAC is
// right.
func FuzzRefreshToken_Body(f *testing.F) {
	k, err := newKeyring([][]byte{bytes.Repeat([]byte{7}, 32)})
	if err != nil {
		f.Fatal(err)
	}
	good := k.refreshToken(refreshToken{DeviceID: uuid.New(), RefreshID: uuid.New()})
	body, err := base64.RawURLEncoding.DecodeString(strings.TrimPrefix(good, refreshTokenPrefix))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(body)
	f.Add(body[:refreshTokenBody])
	f.Add(append([]byte{2}, body[1:]...))
	f.Fuzz(func(t *testing.T, b []byte) {
		tok, ok := k.parseRefreshToken(refreshTokenPrefix + base64.RawURLEncoding.EncodeToString(b))
		if ok && k.refreshToken(tok) != refreshTokenPrefix+base64.RawURLEncoding.EncodeToString(b) {
			t.Fatal("a forgery is accepted")
		}
	})
}

// fuzzStore is a store with a signed-in device.
func fuzzStore(f *testing.F) (*Store, *Grant) {
	f.Helper()
	cfg := testConfig(testdb.SQLite(f))
	if _, err := Migrate(context.Background(), cfg); err != nil {
		f.Fatal(err)
	}
	s, err := Open(context.Background(), cfg)
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() { s.Close() })
	c, _, err := s.CreateClient(context.Background(), NewClient{ID: "web", Public: true, Grants: []string{GrantPassword, GrantRefreshToken}, Scopes: []string{"settings"}}, Actor{})
	if err != nil {
		f.Fatal(err)
	}
	u, err := s.CreateUser(context.Background(), NewUser{Username: "anna", Password: testPassword}, Actor{})
	if err != nil {
		f.Fatal(err)
	}
	g, err := s.SignIn(context.Background(), SignIn{User: u, Client: c, Scope: "settings", Name: "phone", Origin: origin})
	if err != nil {
		f.Fatal(err)
	}
	return s, g
}

// FuzzAccessToken: the strict check accepts the one string that was issued and answers everything else with
// ErrAccessToken.
func FuzzAccessToken(f *testing.F) {
	s, g := fuzzStore(f)
	parts := strings.Split(g.AccessToken, ".")
	enc := base64.RawURLEncoding.EncodeToString
	for _, raw := range []string{
		g.AccessToken, "", ".", "..", "...", g.AccessToken + ".", g.AccessToken + "=", g.AccessToken + "\n", parts[0] + "." + parts[1] + ".",
		parts[0] + "." + parts[1] + "\n." + parts[2], enc([]byte(`{"alg":"none","typ":"at+jwt"}`)) + "." + parts[1] + ".",
		enc([]byte(`{"alg":"HS256","typ":"at+jwt"}`)) + "." + parts[1] + "." + parts[2], parts[0] + "." + enc([]byte(`{}`)) + "." + parts[2],
		parts[0] + "." + enc([]byte(`{"exp":1e400}`)) + "." + parts[2], strings.Repeat("a", maxTokenSize+1), g.RefreshToken,
	} {
		f.Add(raw)
	}
	f.Fuzz(func(t *testing.T, raw string) {
		tok, err := s.CheckAccessToken(t.Context(), raw)
		switch {
		case err == nil && raw != g.AccessToken:
			t.Fatalf("accepted: %q as %+v", raw, tok)
		case err != nil && raw == g.AccessToken:
			t.Fatal(err)
		case err != nil && !errors.Is(err, ErrAccessToken):
			t.Fatalf("%q: %v, want ErrAccessToken", raw, err)
		}
	})
}

// FuzzAccessToken_Claims signs any claims with the right key: also then there is a verdict and no panic, and nothing
// but our own device is found alive.
func FuzzAccessToken_Claims(f *testing.F) {
	s, g := fuzzStore(f)
	key := s.keys.Load().signer(Micros(time.Now().UnixMicro()))
	parts := strings.Split(g.AccessToken, ".")
	good, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil {
		f.Fatal(err)
	}
	for _, c := range []string{
		string(good), `{}`, `null`, `[]`, `{"iss":1}`, strings.Replace(string(good), `"iat_us":`, `"iat_us":-`, 1), strings.Replace(string(good), `"exp":`, `"exp":1e308`, 1),
		strings.Replace(string(good), `"device_id":"`, `"device_id":"{`, 1), strings.Replace(string(good), `"rid":"`, `"rid":"urn:uuid:`, 1),
		strings.Replace(string(good), `"sub":"`, `"sub":"\u0000`, 1), strings.Replace(string(good), `"aud"`, `"aud":[],"aud"`, 1),
	} {
		f.Add(c)
	}
	f.Fuzz(func(t *testing.T, claims string) {
		text := parts[0] + "." + base64.RawURLEncoding.EncodeToString([]byte(claims))
		sig, err := signingMethod(key.Alg).Sign(text, key.private)
		if err != nil {
			t.Fatal(err)
		}
		tok, err := s.CheckAccessToken(t.Context(), text+"."+base64.RawURLEncoding.EncodeToString(sig))
		if err != nil && !errors.Is(err, ErrAccessToken) {
			t.Fatalf("%s: %v, want ErrAccessToken", claims, err)
		}
		if err == nil && tok.DeviceID != uuid.Nil && tok.DeviceID != g.DeviceID {
			t.Fatalf("%s: alive as %+v", claims, tok)
		}
	})
}

// FuzzCursor: a cursor that was not given by this list is refused, and one that was gives back its key.
func FuzzCursor(f *testing.F) {
	k, err := newKeyring([][]byte{bytes.Repeat([]byte{7}, 32)})
	if err != nil {
		f.Fatal(err)
	}
	s := &Store{secret: k}
	for _, key := range []string{"anna", "42", "0190f5fe-7c00-7a00-8000-000000000001", "\x00", strings.Repeat("x", 400)} {
		f.Add(s.cursor("devices", key), key)
		f.Add(s.cursor("users", key), key)
		f.Add(s.cursor("devices", key)+"=", key)
	}
	f.Fuzz(func(t *testing.T, cursor, key string) {
		got, err := s.cursorAfter("devices", Page{Cursor: cursor})
		switch {
		case err != nil && !errors.Is(err, ErrInvalid):
			t.Fatalf("%q: %v, want ErrInvalid", cursor, err)
		case err == nil && cursor != "" && s.cursor("devices", got) != cursor:
			t.Fatalf("%q is accepted as %q, whose cursor is another one", cursor, got)
		}
		if len(key) > 0 && len(key) < 400 {
			if back, err := s.cursorAfter("devices", Page{Cursor: s.cursor("devices", key)}); err != nil || back != key {
				t.Fatalf("%q came back as %q: %v", key, back, err)
			}
			if _, err := s.cursorAfter("users", Page{Cursor: s.cursor("devices", key)}); err == nil {
				t.Fatal("another list's cursor is accepted")
			}
		}
	})
}
