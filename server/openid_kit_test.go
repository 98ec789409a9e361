package server

import (
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"math/big"
	"net/url"
	"strings"
	"testing"

	"github.com/golang-jwt/jwt/v5"

	"curfew/models"
)

const (
	rpURI    = "https://rp.example/cb"
	rpOutURI = "https://rp.example/out?from=curfew"
)

// relyingParty registers rp, a stock client of OpenID Connect: confidential, without PKCE unless it sends some.
func (k *kit) relyingParty() {
	k.t.Helper()
	k.client(models.NewClient{
		ID: "rp", Name: "The Relying Party", Secret: apiSecret, PKCE: models.PKCEOptional,
		Grants:       []string{models.GrantAuthorizationCode, models.GrantRefreshToken},
		Scopes:       []string{"openid", "profile", "email", "address", "phone", "offline_access", "settings"},
		RedirectURIs: []string{rpURI}, PostLogoutRedirectURIs: []string{rpOutURI, "https://rp.example/out"},
	})
	name, email, verified := "Anna Archer", "anna@example.com", true
	if _, _, err := k.store.UpdateUser(k.t.Context(), k.userID("anna"), models.UserPatch{
		Name: &name, Email: &email, EmailVerified: &verified,
	}, models.Actor{}); err != nil {
		k.t.Fatal(err)
	}
}

// forEachRP runs fn on both databases, with the client rp.
func forEachRP(t *testing.T, fn func(t *testing.T, k *kit), change ...func(*models.Config)) {
	t.Helper()
	forEachBrowser(t, func(t *testing.T, k *kit) {
		k.relyingParty()
		fn(t, k)
	}, change...)
}

// plainURL is an authorization request as many stock clients send it: no PKCE.
func plainURL(pairs ...string) string {
	return authorizeURL("rp", append([]string{
		"code_challenge", "", "code_challenge_method", "", "scope", "openid", "nonce", "n-0S6_WzA2Mj",
	}, pairs...)...)
}

// signedIn signs anna in to rp.
func (b *browser) signedIn(pairs ...string) *answer {
	b.k.t.Helper()
	a := b.get(plainURL(pairs...))
	if a.status == 200 {
		a = b.signInAs(a, "anna")
	}
	tokens := b.k.exchange("rp", b.k.code(a), "code_verifier", "")
	if tokens.status != 200 {
		b.k.t.Fatalf("%d %s", tokens.status, tokens.body)
	}
	return tokens
}

// exchangeAs is rp's exchange of a code, with its secret in the header or in the form.
func (k *kit) exchangeAs(basic bool, code string) *answer {
	k.t.Helper()
	if !basic {
		return k.exchange("rp", code, "code_verifier", "")
	}
	form := url.Values{"grant_type": {"authorization_code"}, "code": {code}, "redirect_uri": {rpURI}}
	r := k.request("POST", "/oauth2/token", form.Encode(), "Content-Type", formType)
	r.SetBasicAuth("rp", url.QueryEscape(apiSecret))
	return k.do(r)
}

// openID signs a user in with a password and all scopes of OpenID Connect.
func (k *kit) openID(name string) *answer {
	k.t.Helper()
	k.client(models.NewClient{
		ID: "own", Public: true, Grants: []string{"password", "refresh_token"}, Scopes: []string{"openid", "profile", "email", "settings"},
	})
	return k.form("/oauth2/token", "grant_type", "password", "client_id", "own", "username", name, "password", testPassword)
}

// idToken reads an ID token as a relying party does: by the published key of its id, RS256 and nothing else.
func (k *kit) idToken(a *answer) (header map[string]any, claims jwt.MapClaims) {
	k.t.Helper()
	claims = jwt.MapClaims{}
	token, err := jwt.NewParser(jwt.WithValidMethods([]string{"RS256"})).ParseWithClaims(a.str("id_token"), claims, func(t *jwt.Token) (any, error) {
		return k.rsaKey(t.Header["kid"]), nil
	})
	if err != nil {
		k.t.Fatalf("%v: %s", err, a.body)
	}
	return token.Header, claims
}

func (k *kit) rsaKey(kid any) *rsa.PublicKey {
	k.t.Helper()
	for _, item := range k.do(k.request("GET", "/oauth2/jwks", "")).json["keys"].([]any) {
		key := item.(map[string]any)
		if key["kid"] != kid {
			continue
		}
		if key["kty"] != "RSA" || key["alg"] != "RS256" || key["use"] != "sig" {
			k.t.Fatalf("%v", key)
		}
		n, err := base64.RawURLEncoding.DecodeString(key["n"].(string))
		if err != nil {
			k.t.Fatal(err)
		}
		return &rsa.PublicKey{N: new(big.Int).SetBytes(n), E: 65537}
	}
	k.t.Fatalf("no key %v", kid)
	return nil
}

// claimsOf are a JWT's, unverified.
func claimsOf(t *testing.T, token string) (claims map[string]any) {
	t.Helper()
	text, err := base64.RawURLEncoding.DecodeString(strings.Split(token, ".")[1])
	if err != nil || json.Unmarshal(text, &claims) != nil {
		t.Fatalf("%s: %v", token, err)
	}
	return claims
}

func halfHash(token string) string {
	sum := sha256.Sum256([]byte(token))
	return base64.RawURLEncoding.EncodeToString(sum[:16])
}

func (k *kit) userInfo(token string) *answer { return k.bearer("GET", pathUserInfo, token, "") }
