// Package ginverify is package verify for Gin.
package ginverify

import (
	"github.com/gin-gonic/gin"

	"curfew/verify"
)

// Middleware lets only requests through whose access token is alive and carries every one of scopes, and answers the
// others (RFC 6750 section 3). The claims are in the request's context: see [Claims].
func Middleware(v *verify.Verifier, scopes ...string) gin.HandlerFunc {
	return func(c *gin.Context) {
		claims, err := v.Authorize(c.Request, scopes...)
		if err != nil {
			verify.Refuse(c.Writer, err, scopes...)
			c.Abort()
			return
		}
		c.Request = c.Request.WithContext(verify.WithClaims(c.Request.Context(), claims))
	}
}

// Claims are the claims of the token that [Middleware] let through; nil without it.
func Claims(c *gin.Context) *verify.Claims { return verify.ClaimsFrom(c.Request.Context()) }
