package verify_test

import (
	"testing"

	"curfew/models"
	"curfew/verify"
)

// An ID token of the real server, beside an access token that is taken: never an access token.
func TestVerify_IDToken(t *testing.T) {
	forEachDB(t, func(t *testing.T, i *issuer) {
		client, _, err := i.store.CreateClient(t.Context(), models.NewClient{
			ID: "rp", Public: true, Grants: []string{"password", "refresh_token"}, Scopes: []string{"openid", "orders"},
		}, models.Actor{})
		if err != nil {
			t.Fatal(err)
		}
		g, err := i.store.SignIn(t.Context(), models.SignIn{User: i.user, Client: client, Scope: "openid orders", Name: "phone"})
		if err != nil || g.IDToken == "" {
			t.Fatalf("%+v %v", g, err)
		}
		v := i.verifier()
		if _, err := v.Verify(t.Context(), g.AccessToken); err != nil {
			t.Errorf("the access token: %v", err)
		}
		if _, err := v.Verify(t.Context(), g.IDToken); verify.Code(err) != "type" {
			t.Errorf("the ID token: %v", err)
		}
	})
}
