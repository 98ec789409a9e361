package server

import (
	"errors"
	"net/url"

	"github.com/gin-gonic/gin"

	"curfew/internal/pages"
	"curfew/internal/web"
)

// The pages: what they share. A page's handler fills a struct of the package pages, or leaves its error to
// [Server.page].

// pageRoutes are the routes for browsers. Nothing is kept in the server between two requests: what a form is about
// travels in its hidden fields, and is looked at again when it comes.
func (s *Server) pageRoutes() {
	s.site.Assets(s.engine)

	// Apps lead browsers here, also by a form of their own, so that one is not held to be from elsewhere.
	apps := s.engine.Group("/oauth2/authorize", web.Pages.Middleware, s.page(s.site.CheckHost))
	apps.GET("", s.page(s.authorize))
	apps.POST("", s.page(s.postAuthorize))
	out := s.engine.Group(pathLogout, web.Pages.Middleware, s.page(s.site.CheckHost))
	out.GET("", s.page(s.logout))
	out.POST("", s.page(s.postLogout))

	// What a cookie opens, and what makes one.
	own := s.engine.Group("", web.Pages.Middleware, s.page(s.site.CheckHost), s.page(s.site.CheckSite))
	own.Match(web.GetAndHead, "/sign-in", s.page(s.showSignIn))
	own.POST("/sign-in", s.page(s.postSignIn))
	own.Match(web.GetAndHead, "/sign-out", s.page(s.showSignOut))
	own.POST("/sign-out", s.page(s.postSignOut))
	s.accountRoutes(own)
}

// pageError is an error that is a page.
type pageError = web.PageError

// page makes a gin handler of a page's. Its error becomes a page, or goes back to the client.
func (s *Server) page(fn web.HandlerFunc) gin.HandlerFunc {
	return func(c *gin.Context) {
		err := fn(c)
		if r, ok := errors.AsType[*refusal](err); ok {
			c.Abort()
			_ = seeOther(c, r.to.answer(s.issuer, url.Values{"error": {r.code}, "error_description": {r.description}}))
			return
		}
		if err != nil {
			s.site.Fail(c, err)
		}
	}
}

// show renders a page in the reader's language.
func (s *Server) show(c *gin.Context, status int, page pages.Page) error {
	return s.site.Show(c, status, page)
}

// readPageForm reads what a page's form posts, strictly: none of ours sends a field twice.
func readPageForm(c *gin.Context) (url.Values, error) { return web.ReadPageForm(c) }
