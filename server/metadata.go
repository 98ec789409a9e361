package server

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/gin-gonic/gin"

	"curfew/internal/pages"
	"curfew/models"
)

// metadata is RFC 8414 and OpenID Connect Discovery section 3, with two members of our own for the feed. Both
// well-known addresses have the same document.
func (s *Server) metadata(c *gin.Context) {
	secret := []string{"client_secret_basic", "client_secret_post"}
	public := append(secret, "none") // a client without a secret may ask too
	c.Header("Cache-Control", "public, max-age=300")
	m := serverMetadata{
		Issuer:             s.issuer,
		TokenEndpoint:      s.issuer + "/oauth2/token",
		RevocationEndpoint: s.issuer + "/oauth2/revoke",
		Introspection:      s.issuer + "/oauth2/introspect",
		JWKS:               s.issuer + "/oauth2/jwks",
		GrantTypes:         models.GrantNames(),
		ResponseTypes:      []string{},
		Scopes:             scopes,
		TokenAuth:          public,
		RevocationAuth:     public,
		IntrospectionAuth:  secret,
		Feed:               s.issuer + "/oauth2/revocations",
		Ack:                s.issuer + "/oauth2/revocations/ack",

		UserInfo: s.issuer + pathUserInfo, SubjectTypes: []string{"public"}, IDTokenAlgs: []string{"RS256"},
		Claims: claims, BackchannelLogout: true, BackchannelLogoutSession: true,
	}
	if s.pages == nil { // and so nowhere to get a code
		m.GrantTypes = slices.DeleteFunc(m.GrantTypes, func(g string) bool { return g == models.GrantAuthorizationCode })
	} else {
		m.EndSession = s.issuer + pathLogout
		m.AuthorizationEndpoint, m.IssInAnswer = s.issuer+pathAuthorize, true
		m.ResponseTypes, m.ResponseModes, m.Challenges = []string{"code"}, []string{"query"}, []string{"S256"}
		m.Prompts, m.UILocales = prompts, s.pages.Languages()
	}
	c.JSON(http.StatusOK, m)
}

// scopes are those that mean something here.
var scopes = []string{
	models.ScopeOpenID, models.ScopeProfile, models.ScopeEmail, models.ScopeOfflineAccess,
	models.ScopeSettings, models.ScopeAdmin, models.ScopeRevocations,
}

// claims are what ID tokens and the userinfo endpoint tell.
var claims = []string{
	"iss", "sub", "aud", "exp", "iat", "auth_time", "nonce", "at_hash", "sid",
	"preferred_username", "name", "email", "email_verified",
}

type serverMetadata struct {
	Issuer string `json:"issuer"`

	AuthorizationEndpoint string       `json:"authorization_endpoint,omitempty"`
	ResponseModes         []string     `json:"response_modes_supported,omitempty"`
	Challenges            []string     `json:"code_challenge_methods_supported,omitempty"`               // RFC 7636
	IssInAnswer           bool         `json:"authorization_response_iss_parameter_supported,omitempty"` // RFC 9207
	Prompts               []string     `json:"prompt_values_supported,omitempty"`
	UILocales             []pages.Lang `json:"ui_locales_supported,omitempty"`

	TokenEndpoint      string   `json:"token_endpoint"`
	RevocationEndpoint string   `json:"revocation_endpoint"`
	Introspection      string   `json:"introspection_endpoint"`
	JWKS               string   `json:"jwks_uri"`
	GrantTypes         []string `json:"grant_types_supported"`
	ResponseTypes      []string `json:"response_types_supported"`
	Scopes             []string `json:"scopes_supported"`
	TokenAuth          []string `json:"token_endpoint_auth_methods_supported"`
	RevocationAuth     []string `json:"revocation_endpoint_auth_methods_supported"`
	IntrospectionAuth  []string `json:"introspection_endpoint_auth_methods_supported"`

	UserInfo        string   `json:"userinfo_endpoint"`
	EndSession      string   `json:"end_session_endpoint,omitempty"`
	SubjectTypes    []string `json:"subject_types_supported"`
	IDTokenAlgs     []string `json:"id_token_signing_alg_values_supported"`
	Claims          []string `json:"claims_supported"`
	ClaimsParameter bool     `json:"claims_parameter_supported"`
	Request         bool     `json:"request_parameter_supported"`
	RequestURI      bool     `json:"request_uri_parameter_supported"` // true if it were not there

	// OpenID Connect Back-Channel Logout section 2.1
	BackchannelLogout        bool `json:"backchannel_logout_supported"`
	BackchannelLogoutSession bool `json:"backchannel_logout_session_supported"`

	Feed string `json:"revocation_feed_endpoint"`
	Ack  string `json:"revocation_ack_endpoint"`
}

// jwks is the key set, RFC 7517.
func (s *Server) jwks(c *gin.Context) {
	body, err := json.Marshal(struct {
		Keys []models.JWK `json:"keys"`
	}{s.store.JWKS()})
	if err != nil {
		s.fail(c, err)
		return
	}
	sum := sha256.Sum256(body)
	etag := `"` + base64.RawURLEncoding.EncodeToString(sum[:12]) + `"`
	c.Header("Cache-Control", fmt.Sprintf("public, max-age=%d", int(models.JWKSMaxAge.Seconds())))
	c.Header("ETag", etag)
	if matches(c.Request.Header, etag) {
		c.Status(http.StatusNotModified)
		return
	}
	c.Data(http.StatusOK, "application/jwk-set+json", body)
}

// matches compares weakly, RFC 9110 section 13.1.2: a proxy that compresses makes W/"…" of our tag.
func matches(h http.Header, etag string) bool {
	for _, tag := range strings.Split(strings.Join(h.Values("If-None-Match"), ","), ",") {
		if tag = strings.TrimSpace(tag); tag == "*" || strings.TrimPrefix(tag, "W/") == etag {
			return true
		}
	}
	return false
}
