package server

import (
	"context"
	"testing"
	"time"

	"golang.org/x/oauth2"

	"curfew/internal/visit"
	"curfew/models"
)

// golang.org/x/oauth2, unmodified: the authorization code grant with PKCE, over the sign-in page's form; a public and a
// confidential client, the same device again, a code that comes twice.
func TestStockClient_XOAuth2Code(t *testing.T) {
	forEachDB(t, func(t *testing.T, k *kit) {
		ctx := context.WithValue(t.Context(), oauth2.HTTPClient, k.http.Client())
		for id, secret := range map[string]string{"shop": "", "site.v2": apiSecret} {
			cfg := &oauth2.Config{
				ClientID: id, ClientSecret: secret, RedirectURL: "https://shop.example.com/callback", Scopes: []string{"settings"},
				Endpoint: oauth2.Endpoint{AuthURL: k.url + "/oauth2/authorize", TokenURL: k.url + "/oauth2/token"},
			}
			k.client(models.NewClient{
				ID: id, Public: secret == "", Secret: secret, Grants: []string{"authorization_code", "refresh_token"},
				Scopes: []string{"settings"}, RedirectURIs: []string{cfg.RedirectURL},
			})
			browser := visit.New()
			var device any
			for round := range 2 {
				verifier := oauth2.GenerateVerifier()
				page := cfg.AuthCodeURL("the state", oauth2.S256ChallengeOption(verifier))
				answer, err := browser.SignIn(ctx, page, "anna", testPassword)
				if err != nil {
					t.Fatal(err)
				}
				q := answer.Query()
				if q.Get("state") != "the state" || q.Get("iss") != k.url {
					t.Fatalf("%s: %s", id, answer)
				}
				options := []oauth2.AuthCodeOption{oauth2.VerifierOption(verifier)}
				if round == 1 {
					options = append(options, oauth2.SetAuthURLParam("device_id", device.(string)))
				}
				first, err := cfg.Exchange(ctx, q.Get("code"), options...)
				if err != nil || first.RefreshToken == "" {
					t.Fatalf("%s: %+v, %v", id, first, err)
				}
				if device == nil {
					device = first.Extra("device_id")
				} else if first.Extra("device_id") != device {
					t.Errorf("%s: another device: %v, was %v", id, first.Extra("device_id"), device)
				}
				expired := &oauth2.Token{RefreshToken: first.RefreshToken, Expiry: time.Now().Add(-time.Hour)}
				second, err := cfg.TokenSource(ctx, expired).Token()
				if err != nil || second.RefreshToken == first.RefreshToken {
					t.Fatalf("%s: %+v, %v", id, second, err)
				}
				res, err := cfg.Client(ctx, second).Get(k.url + "/settings/devices")
				if err != nil || res.StatusCode != 200 {
					t.Fatalf("%s: %v", id, err)
				}
				res.Body.Close()
				if _, err := cfg.Exchange(ctx, q.Get("code"), options...); err == nil {
					t.Errorf("%s: a code worked twice", id)
				}
			}
		}
	}, func(c *models.Config) { c.AccessTTL = time.Hour })
}
