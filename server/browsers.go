package server

import (
	"errors"
	"net/http"
	"net/url"
	"strings"

	"github.com/gin-gonic/gin"

	"curfew/internal/web"
	"curfew/models"
)

// What pages of other origins may ask: CORS (the Fetch standard, section 3.2), and the rule that a request from an
// origin which may not ask is refused before anything is looked at or made. A browser that blocks the answer has sent
// the request all the same.

// scriptRoutes are the routes that pages of other origins may ask, and with which methods. Documents are for
// everybody by their group's policy; the rest is for nobody.
var scriptRoutes = []struct {
	path    string // the whole path, or what it begins with if it ends with a slash
	methods string
	bearer  bool // the client is that of the access token; else that of the form, which the handler reads
}{
	{path: "/oauth2/token", methods: "POST"},
	{path: "/oauth2/revoke", methods: "POST"},
	{path: "/oauth2/userinfo", methods: "GET, POST", bearer: true},
	{path: "/settings/", methods: "GET, POST, PUT, PATCH, DELETE", bearer: true},
}

const (
	scriptHeaders  = "Authorization, Content-Type"
	exposedHeaders = "Retry-After, WWW-Authenticate, X-Request-Id"
	// preflightAge is how long a browser may remember a preflight, in seconds: as long as any does. What was remembered
	// lets no request through: each is judged by itself.
	preflightAge = "7200"
)

// script is whose script made a request, as the browser says.
type script struct {
	origin  string // Origin; empty without one, and where there is more than one
	there   bool   // there is an Origin: a browser has sent this, and not for a page that just reads its own site
	own     bool   // it is this server's
	trusted bool   // Sec-Fetch-Site: same-origin, which no script can set
}

func (s *Server) scriptOf(r *http.Request) script {
	values := r.Header.Values("Origin")
	p := script{there: len(values) > 0, trusted: r.Header.Get("Sec-Fetch-Site") == "same-origin"}
	if len(values) == 1 {
		p.origin = values[0]
	}
	p.own = p.origin != "" && p.origin == s.origin
	return p
}

// isOf tells whether the page is the client's, or this server's: one of those that may use its cookie.
func (p script) isOf(client *models.Client) bool { return p.own || client.HasOrigin(p.origin) }

// mayAsk tells whether a request for the client may go on. No Origin: whoever sent it is no page.
func (p script) mayAsk(client *models.Client) bool { return !p.there || p.trusted || p.isOf(client) }

// browsers answers preflights, and holds requests with an access token to the rule. Those with a form are held
// to it by [Server.clientOfRequest], which has to read the form first.
func (s *Server) browsers(c *gin.Context) {
	path := c.Request.URL.Path
	for _, route := range scriptRoutes {
		if path != route.path && (!strings.HasSuffix(route.path, "/") || !strings.HasPrefix(path, route.path)) {
			continue
		}
		c.Writer.Header().Add("Vary", "Origin")
		p := s.scriptOf(c.Request)
		var err error
		switch {
		case !p.there:
		case c.Request.Method == http.MethodOptions && c.GetHeader("Access-Control-Request-Method") != "":
			err = s.preflight(c, p, route.methods)
		case route.bearer:
			err = s.allowBearer(c, p)
		}
		if err != nil {
			web.WriteProblem(c, err)
		}
		return
	}
}

// preflight is answered for an origin of any client: it names none.
func (s *Server) preflight(c *gin.Context, p script, methods string) error {
	may, err := s.store.WebOrigin(c.Request.Context(), p.origin)
	switch {
	case err != nil:
		return err
	case !may.Allowed && !p.own:
		return originProblem(p, "")
	}
	s.allowScript(c, p, may.Cookies)
	h := c.Writer.Header()
	h.Del("Access-Control-Expose-Headers")
	h.Set("Access-Control-Allow-Methods", methods)
	h.Set("Access-Control-Allow-Headers", scriptHeaders)
	h.Set("Access-Control-Max-Age", preflightAge)
	c.AbortWithStatus(http.StatusNoContent)
	return nil
}

// allowScript lets the page read the answer, whatever it will be.
func (s *Server) allowScript(c *gin.Context, p script, cookies bool) {
	h := c.Writer.Header()
	h.Set("Access-Control-Allow-Origin", p.origin)
	h.Set("Access-Control-Expose-Headers", exposedHeaders)
	if cookies {
		h.Set("Access-Control-Allow-Credentials", "true")
	}
}

// forbidScript takes that back.
func forbidScript(c *gin.Context) {
	for _, name := range []string{"Origin", "Credentials"} {
		c.Writer.Header().Del("Access-Control-Allow-" + name)
	}
	c.Writer.Header().Del("Access-Control-Expose-Headers")
}

// allowBearer holds a request to the origins of its token's client; one whose token cannot be read, and which will be
// told so, to those of any.
func (s *Server) allowBearer(c *gin.Context, p script) error {
	clientID := ""
	if raw, err := web.BearerToken(c.Request); err == nil {
		clientID, err = s.store.ClientOfToken(c.Request.Context(), raw)
		if err != nil && !errors.Is(err, models.ErrAccessToken) {
			return err
		}
	}
	ok, err := s.allow(c, p, clientID)
	if err == nil && !ok {
		err = originProblem(p, clientID)
	}
	return err
}

// clientOfRequest is [clientCredentials] for an endpoint that pages may ask, and holds the request to the
// origins of the client that it names, which is not authenticated yet and may not exist.
func (s *Server) clientOfRequest(c *gin.Context) (models.ClientCredentials, error) {
	in, wrong := clientCredentials(c)
	if p := s.scriptOf(c.Request); p.there {
		switch ok, err := s.allow(c, p, in.ID); {
		case err != nil:
			return in, err
		case !ok:
			return in, originRefused(p, in.ID)
		}
	}
	return in, wrong
}

// holdToOrigin is the rule once more, with the client as it is now: another node may have changed it a moment ago.
func (s *Server) holdToOrigin(c *gin.Context, client *models.Client) error {
	if p := s.scriptOf(c.Request); !p.mayAsk(client) {
		forbidScript(c)
		return originRefused(p, client.ID)
	}
	return nil
}

// allow tells whether the page may ask for the client, or for any if none could be named, and lets it read the
// answer.
func (s *Server) allow(c *gin.Context, p script, clientID string) (bool, error) {
	if p.own {
		return true, nil
	}
	ctx := c.Request.Context()
	may, err := models.WebOrigin{}, error(nil)
	if clientID == "" {
		may, err = s.store.WebOrigin(ctx, p.origin)
	} else {
		may, err = s.store.ClientWebOrigin(ctx, clientID, p.origin)
	}
	if err != nil {
		return false, err
	}
	if may.Allowed {
		s.allowScript(c, p, may.Cookies)
	}
	return may.Allowed || p.trusted, nil
}

const codeOrigin = "origin_not_allowed"

func originProblem(p script, clientID string) *web.Problem {
	return &web.Problem{Status: http.StatusForbidden, Code: codeOrigin, Detail: howToAllow(p, clientID)}
}

func originRefused(p script, clientID string) *oauthError {
	return &oauthError{
		status: http.StatusForbidden, code: codeOrigin, description: howToAllow(p, clientID), reason: "origin",
	}
}

// howToAllow names the command. It repeats nothing that has not the form of an origin or of a client's id: both come
// from whoever asks, and the text goes into a shell.
func howToAllow(p script, clientID string) string {
	if !models.IsClientID(clientID) {
		clientID = "ID"
	}
	origin := p.origin
	if models.CheckWebOrigin(origin) != nil {
		return "the request comes from a page whose Origin cannot be allowed (null, more than one, or none as " +
			"browsers write it); one like https://app.example can: curfew client set " + clientID +
			" --origins https://app.example"
	}
	return "pages of " + origin + " may not ask for this client; to allow it beside those that it has: " +
		"curfew client set " + clientID + " --origins " + origin
}

// originOf is the origin of the issuer, as browsers write it.
func originOf(issuer string) string {
	u, err := url.Parse(issuer)
	if err != nil {
		return ""
	}
	return models.WebOriginOf(u)
}
