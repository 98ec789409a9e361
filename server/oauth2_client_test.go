package server

import (
	"context"
	"testing"
	"time"

	"golang.org/x/oauth2"
	"golang.org/x/oauth2/clientcredentials"

	"curfew/models"
)

// golang.org/x/oauth2, unmodified: password, automatic refresh, client credentials.
func TestStockClient_XOAuth2(t *testing.T) {
	forEachDB(t, func(t *testing.T, k *kit) {
		ctx := context.WithValue(t.Context(), oauth2.HTTPClient, k.http.Client())
		for id, secret := range map[string]string{"web": "", "my.app": apiSecret} {
			// It finds out how to authenticate by trying, and repeats a refresh that failed.
			cfg := &oauth2.Config{
				ClientID: id, ClientSecret: secret, Endpoint: oauth2.Endpoint{TokenURL: k.url + "/oauth2/token"},
			}
			first, err := cfg.PasswordCredentialsToken(ctx, "anna", testPassword)
			if err != nil {
				t.Fatalf("%s: %v", id, err)
			}
			if first.Extra("device_id") == nil || first.RefreshToken == "" || first.TokenType != "Bearer" {
				t.Fatalf("%s: %+v", id, first)
			}
			expired := &oauth2.Token{
				AccessToken: first.AccessToken, RefreshToken: first.RefreshToken, Expiry: time.Now().Add(-time.Hour),
			}
			second, err := cfg.TokenSource(ctx, expired).Token()
			if err != nil || second.RefreshToken == first.RefreshToken {
				t.Fatalf("%s: %+v, %v", id, second, err)
			}
			res, err := cfg.Client(ctx, second).Get(k.url + "/settings/devices")
			if err != nil || res.StatusCode != 200 {
				t.Fatalf("%s: %v", id, err)
			}
			res.Body.Close()
		}
		api := clientcredentials.Config{
			ClientID: "api", ClientSecret: apiSecret, TokenURL: k.url + "/oauth2/token", Scopes: []string{"revocations"},
		}
		own, err := api.Token(ctx)
		if err != nil || own.RefreshToken != "" {
			t.Fatalf("%+v, %v", own, err)
		}
	}, func(c *models.Config) { c.AccessTTL = time.Hour })
}
