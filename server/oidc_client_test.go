package server

import (
	"context"
	"errors"
	"net/url"
	"testing"

	"github.com/coreos/go-oidc/v3/oidc"
	"golang.org/x/oauth2"

	"curfew/internal/visit"
)

// coreos/go-oidc, unmodified: discovery, the ID token with its nonce and at_hash, userinfo, the ID token of a refresh, and
// a log-out by it. An access token is no ID token to it.
func TestStockClient_GoOIDC(t *testing.T) {
	forEachRP(t, func(t *testing.T, k *kit) {
		ctx := oidc.ClientContext(t.Context(), k.http.Client())
		provider, err := oidc.NewProvider(ctx, k.url)
		if err != nil {
			t.Fatal(err)
		}
		cfg := &oauth2.Config{
			ClientID: "rp", ClientSecret: apiSecret, RedirectURL: rpURI, Endpoint: provider.Endpoint(),
			Scopes: []string{oidc.ScopeOpenID, "profile", "email"},
		}
		page := cfg.AuthCodeURL("the state", oidc.Nonce("the nonce"))
		browser := visit.New()
		answer, err := browser.SignIn(ctx, page, "anna", testPassword)
		if err != nil {
			t.Fatal(err)
		}
		tokens, err := cfg.Exchange(ctx, answer.Query().Get("code"))
		if err != nil {
			t.Fatal(err)
		}
		verify := func(tokens *oauth2.Token) *oidc.IDToken {
			raw, _ := tokens.Extra("id_token").(string)
			id, err := provider.Verifier(&oidc.Config{ClientID: "rp"}).Verify(ctx, raw)
			if err != nil {
				t.Fatalf("%s: %v", raw, err)
			}
			if err := id.VerifyAccessToken(tokens.AccessToken); err != nil {
				t.Error(err)
			}
			return id
		}
		id := verify(tokens)
		var claims struct {
			SID string `json:"sid"`
		}
		if err := id.Claims(&claims); err != nil || id.Nonce != "the nonce" || claims.SID != tokens.Extra("device_id") {
			t.Errorf("%+v %+v %v", id, claims, err)
		}
		info, err := provider.UserInfo(ctx, oauth2.StaticTokenSource(tokens))
		if err != nil || info.Subject != id.Subject || info.Email != "anna@example.com" || !info.EmailVerified {
			t.Errorf("%+v %v", info, err)
		}
		again, err := cfg.TokenSource(context.WithoutCancel(ctx), &oauth2.Token{RefreshToken: tokens.RefreshToken}).Token()
		if err != nil {
			t.Fatal(err)
		}
		if next := verify(again); next.Subject != id.Subject || next.Nonce != "" {
			t.Errorf("%+v", next)
		}
		if _, err := provider.Verifier(&oidc.Config{ClientID: "rp", SkipClientIDCheck: true}).Verify(ctx, again.AccessToken); err == nil {
			t.Error("an access token was taken for an ID token")
		}
		var metadata struct {
			EndSession string `json:"end_session_endpoint"`
		}
		if err := provider.Claims(&metadata); err != nil {
			t.Fatal(err)
		}
		hint, _ := again.Extra("id_token").(string)
		out, err := browser.Get(ctx, metadata.EndSession+"?"+url.Values{
			"id_token_hint": {hint}, "post_logout_redirect_uri": {rpOutURI}, "state": {"bye"},
		}.Encode())
		if err != nil || out.Out == nil || out.Out.String() != rpOutURI+"&state=bye" {
			t.Fatalf("the log-out: %+v, %v", out, err)
		}
		late := &oauth2.Token{RefreshToken: again.RefreshToken}
		_, err = cfg.TokenSource(context.WithoutCancel(ctx), late).Token()
		if refused, ok := errors.AsType[*oauth2.RetrieveError](err); !ok || refused.ErrorCode != "invalid_grant" {
			t.Errorf("a refresh after the log-out: %v", err)
		}
	})
}
