package models

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"
)

const (
	verifier    = "a-verifier-that-is-long-enough-for-rfc-7636-indeed"
	redirectURI = "https://app.example/callback"
)

func challengeOf(verifier string) string {
	sum := sha256.Sum256([]byte(verifier))
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

// newApp is a client with the authorization code grant.
func (k *kit) newApp(id string, change ...func(*NewClient)) *Client {
	k.t.Helper()
	in := NewClient{
		ID: id, Public: true, Grants: []string{GrantAuthorizationCode, GrantRefreshToken, GrantPassword},
		Scopes: []string{"settings", "profile", "admin", "offline_access"}, RedirectURIs: []string{redirectURI},
		Resources: []string{"https://a.example", "https://b.example"},
	}
	for _, c := range change {
		c(&in)
	}
	c, _, err := k.CreateClient(k.t.Context(), in, Actor{})
	if err != nil {
		k.t.Fatal(err)
	}
	return c
}

// browser signs a user in on our page, in a browser that holds a cookie and a marker.
func (k *kit) browser(u *User, cookie string, marker uuid.UUID) (*BrowserSession, string) {
	k.t.Helper()
	b, cookie, err := k.SignInBrowser(k.t.Context(), BrowserSignIn{
		User: u, ClientID: ClientBrowser, Cookie: cookie, Marker: marker, Name: "Firefox on Linux", Origin: origin,
	})
	if err != nil {
		k.t.Fatal(err)
	}
	return b, cookie
}

func (k *kit) inBrowser(cookie string) bool {
	k.t.Helper()
	_, err := k.AuthenticateBrowser(k.t.Context(), BrowserCookie{ClientID: ClientBrowser, Value: cookie, Origin: origin})
	if err != nil && !isOurs(err) {
		k.t.Fatal(err)
	}
	return err == nil
}

// tryCode asks for a code of scope settings and profile.
func (k *kit) tryCode(b *BrowserSession, c *Client, change ...func(*CodeRequest)) (string, error) {
	in := CodeRequest{
		Session: b, Client: c, RedirectURI: redirectURI, Challenge: challengeOf(verifier), Scope: "settings profile",
		Nonce: "n", Origin: origin,
	}
	for _, f := range change {
		f(&in)
	}
	return k.IssueCode(context.Background(), in)
}

func (k *kit) code(b *BrowserSession, c *Client, change ...func(*CodeRequest)) string {
	k.t.Helper()
	code, err := k.tryCode(b, c, change...)
	if err != nil {
		k.t.Fatal(err)
	}
	return code
}

func (k *kit) exchange(c *Client, code string, change ...func(*CodeExchange)) (*Grant, error) {
	in := CodeExchange{Client: c, Code: code, RedirectURI: redirectURI, Verifier: verifier, Name: "app", Origin: origin}
	for _, f := range change {
		f(&in)
	}
	return k.ExchangeCode(context.Background(), in)
}

// child signs an app in through a browser session.
func (k *kit) child(b *BrowserSession, c *Client, scopes ...string) *Grant {
	k.t.Helper()
	g, err := k.exchange(c, k.code(b, c, func(in *CodeRequest) {
		in.Scope = strings.Join(append([]string{"settings", "profile"}, scopes...), " ")
	}))
	if err != nil {
		k.t.Fatal(err)
	}
	return g
}

func (k *kit) endedWith(id uuid.UUID) Reason {
	k.t.Helper()
	events := k.events(id.String())
	if len(events) == 0 {
		return ""
	}
	return events[len(events)-1].Reason
}

func micros(d time.Duration) string { return strconv.FormatInt(d.Microseconds(), 10) }
