package server

import (
	"context"

	"github.com/go-oauth2/oauth2/v4"

	"curfew/models"
)

// noRedirectURI stands in the form for a redirect_uri that is not there, for go-oauth2 refuses a code without one. With
// PKCE it says nothing that the verifier does not prove.
const noRedirectURI = "none"

// checkCode finds the device, like a sign-in. The scope is that of the authorization request, and so are the resources,
// which may be narrowed.
func checkCode(t *tokenRequest) error {
	if uri := t.form.Get("redirect_uri"); uri != noRedirectURI {
		t.redirectURI = uri
	}
	if t.redirectURI == "" {
		t.form.Set("redirect_uri", noRedirectURI)
	}
	return t.readDevice()
}

// issueForCode is the grant authorization_code, RFC 6749 section 4.1.3: a device signs in through a browser session.
func issueForCode(ctx context.Context, t *tokenRequest, r *oauth2.TokenGenerateRequest) (*models.Grant, error) {
	return t.store.ExchangeCode(ctx, models.CodeExchange{
		Client: t.client, Code: r.Code, RedirectURI: t.redirectURI, Verifier: r.CodeVerifier,
		Resources: t.resources, DeviceID: t.deviceID, Name: t.name, Origin: t.origin,
	})
}
