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

// metadata is RFC 8414, with two members of our own for the feed.
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
		Scopes:             []string{models.ScopeSettings, models.ScopeAdmin, models.ScopeRevocations},
		TokenAuth:          public,
		RevocationAuth:     public,
		IntrospectionAuth:  secret,
		Feed:               s.issuer + "/oauth2/revocations",
		Ack:                s.issuer + "/oauth2/revocations/ack",
	}
	if s.pages == nil { // and so nowhere to get a code
		m.GrantTypes = slices.DeleteFunc(m.GrantTypes, func(g string) bool { return g == models.GrantAuthorizationCode })
	} else {
		m.AuthorizationEndpoint, m.IssInAnswer = s.issuer+pathAuthorize, true
		m.ResponseTypes, m.ResponseModes, m.Challenges = []string{"code"}, []string{"query"}, []string{"S256"}
		m.Prompts, m.UILocales = prompts, s.pages.Languages()
	}
	c.JSON(http.StatusOK, m)
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
	Feed               string   `json:"revocation_feed_endpoint"`
	Ack                string   `json:"revocation_ack_endpoint"`
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
