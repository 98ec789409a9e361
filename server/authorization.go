package server

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"curfew/internal/pages"
	"curfew/models"
)

const (
	// maxAuthorization bounds an authorization request, which travels in our forms.
	maxAuthorization = 8 << 10
	maxNonce         = 512
	maxLoginHint     = 255
)

// authorization is an authorization request, RFC 6749 section 4.1.1. It is read anew from the query it came in whenever
// it matters: that travels in the forms of the pages, the server keeps nothing of it and believes nothing of it.
type authorization struct {
	query string // as it came

	client      *models.Client
	redirectURI string
	state       string

	scope     string
	challenge string
	resources []string
	nonce     string
	loginHint string
	subject   string // whom the ID token names that came as a hint; empty: anybody
	prompt    []string
	maxAge    time.Duration // since the password was given; negative: it does not matter
}

// Values of prompt, OpenID Connect Core section 3.1.2.1. There is no consent page: who asks for one gets the page that
// asks whether to go on.
const (
	promptNone    = "none"
	promptLogin   = "login"
	promptSelect  = "select_account"
	promptConsent = "consent"
)

var prompts = []string{promptNone, promptLogin, promptSelect, promptConsent}

func (a *authorization) has(prompt string) bool { return slices.Contains(a.prompt, prompt) }

// refusal is an error that goes back to the client, RFC 6749 section 4.1.2.1.
type refusal struct {
	to          *authorization
	code        string
	description string
}

func (e *refusal) Error() string { return e.code + ": " + e.description }

func (a *authorization) refuse(code, description string) *refusal {
	return &refusal{a, code, description}
}

// answer is where the browser goes with an answer. It says who answers, RFC 9207.
func (a *authorization) answer(issuer string, more url.Values) string {
	more.Set("iss", issuer)
	if a.state != "" {
		more.Set("state", a.state)
	}
	return withQuery(a.redirectURI, more)
}

// readAuthorization looks at an authorization request. A client or redirect URI that is wrong, unknown or doubled is a
// page of ours: there is nobody to send the browser back to. Everything else is a [refusal].
func (s *Server) readAuthorization(ctx context.Context, query string) (*authorization, error) {
	if len(query) > maxAuthorization {
		return nil, &pageError{Status: http.StatusBadRequest, Page: pages.Error{Code: "request"}}
	}
	q, malformed := url.ParseQuery(query) // what can be read of it, if it is malformed
	a, err := s.findClient(ctx, q)
	if err != nil {
		return nil, err
	}
	a.query = query
	text := true
	for name, values := range q {
		for _, v := range values {
			text = text && utf8.ValidString(name) && utf8.ValidString(v) && !strings.ContainsRune(v, 0)
		}
	}
	if len(q["state"]) == 1 && utf8.ValidString(q.Get("state")) {
		a.state = q.Get("state")
	}
	if malformed != nil || !text {
		return nil, a.refuse("invalid_request", "a parameter is not UTF-8 text without NUL")
	}
	if err := a.read(q); err != nil {
		return a, err
	}
	return a, s.readHint(a, q.Get("id_token_hint"))
}

// readHint: who is to be signed in, OpenID Connect Core section 3.1.2.1.
func (s *Server) readHint(a *authorization, hint string) error {
	if hint == "" {
		return nil
	}
	claims, err := s.store.ParseIDToken(hint)
	if err != nil || claims.Audience != a.client.ID {
		return a.refuse("invalid_request", "id_token_hint is no ID token of this client")
	}
	a.subject = claims.Subject
	return nil
}

// findClient finds whom the request is from and where it may lead.
func (s *Server) findClient(ctx context.Context, q url.Values) (*authorization, error) {
	wrong := func(code string, detail ...pages.Detail) error {
		return &pageError{Status: http.StatusBadRequest, Page: pages.Error{Code: code, Details: detail}}
	}
	id, uri := q.Get("client_id"), q.Get("redirect_uri")
	about := pages.Detail{Name: "client_id", Value: shown(id)}
	for _, name := range []string{"client_id", "redirect_uri"} {
		if len(q[name]) > 1 {
			return nil, wrong("doubled", pages.Detail{Name: name, Value: strconv.Itoa(len(q[name])) + "×"})
		}
	}
	if id == "" || len(id) > models.MaxName || !utf8.ValidString(id) || strings.ContainsRune(id, 0) {
		return nil, wrong("client", about)
	}
	client, err := s.store.GetClient(ctx, id)
	if errors.Is(err, models.ErrNotFound) || (err == nil && client.BuiltIn) {
		return nil, wrong("client", about)
	}
	if err != nil {
		return nil, err
	}
	if !mayLeadTo(client.RedirectURIs, uri) {
		err := wrong("redirect_uri", about, pages.Detail{Name: "redirect_uri", Value: shown(uri)}).(*pageError)
		err.Page.Client = client.Name
		return nil, err
	}
	return &authorization{client: client, redirectURI: uri, maxAge: -1}, nil
}

// shown is a parameter as a page shows it.
func shown(value string) string {
	const most = 200
	value = strings.ToValidUTF8(value, "\uFFFD")
	if utf8.RuneCountInString(value) > most {
		return string([]rune(value)[:most]) + "…"
	}
	return value
}

var pkceChallenge = regexp.MustCompile(`^[A-Za-z0-9_-]{43}$`) // RFC 7636 section 4.2, of SHA-256

// read reads the rest, of a request that came from its client.
func (a *authorization) read(q url.Values) (err error) {
	for name, values := range q {
		if len(values) > 1 && name != "resource" { // RFC 6749 section 3.1, RFC 8707 section 2
			return a.refuse("invalid_request", "a parameter is there more than once")
		}
	}
	// OpenID Connect Core sections 3.1.2.6 and 7.2.1.
	for _, name := range []string{"request", "request_uri", "registration"} {
		if q.Get(name) != "" {
			return a.refuse(name+"_not_supported", "the parameter is not supported")
		}
	}
	switch responseType := q.Get("response_type"); {
	case !a.client.HasGrant(models.GrantAuthorizationCode):
		return a.refuse("unauthorized_client", "the client was not registered with the authorization code grant")
	case responseType == "":
		return a.refuse("invalid_request", "response_type is missing")
	case responseType != "code":
		return a.refuse("unsupported_response_type", "response_type must be code")
	case q.Get("response_mode") != "" && q.Get("response_mode") != "query":
		return a.refuse("invalid_request", "response_mode must be query")
	case len(q.Get("nonce")) > maxNonce:
		return a.refuse("invalid_request", "nonce is too long")
	}
	a.nonce = q.Get("nonce")
	if hint := q.Get("login_hint"); len(hint) <= maxLoginHint {
		a.loginHint = hint
	}
	if err := a.readChallenge(q); err != nil {
		return err
	}
	if err := a.readAuthentication(q); err != nil {
		return err
	}
	if a.scope, err = models.GrantedScope(a.client, q.Get("scope")); err != nil {
		return a.refuse("invalid_scope", "a scope is unknown, malformed or not allowed")
	}
	for _, resource := range q["resource"] {
		if resource == "" {
			continue
		}
		if !a.client.HasResource(resource) {
			return a.refuse("invalid_target", "a resource is unknown, malformed or not allowed")
		}
		if !slices.Contains(a.resources, resource) {
			a.resources = append(a.resources, resource)
		}
	}
	return nil
}

// readChallenge: RFC 7636, S256 alone. Without a method it would be plain, which anybody who sees the request can
// answer.
func (a *authorization) readChallenge(q url.Values) error {
	challenge, method := q.Get("code_challenge"), q.Get("code_challenge_method")
	switch {
	case challenge == "" && method == "" && !a.client.Public && a.client.PKCE == models.PKCEOptional:
		return nil
	case challenge == "":
		return a.refuse("invalid_request", "code_challenge is missing")
	case method != "S256":
		return a.refuse("invalid_request", "code_challenge_method must be S256")
	case !pkceChallenge.MatchString(challenge):
		return a.refuse("invalid_request", "code_challenge must be the SHA-256 of the verifier in base64url, 43 characters")
	}
	a.challenge = challenge
	return nil
}

// readAuthentication: how the client wants its user to be asked, OpenID Connect Core section 3.1.2.1.
func (a *authorization) readAuthentication(q url.Values) error {
	a.prompt = strings.Fields(q.Get("prompt"))
	for _, p := range a.prompt {
		if !slices.Contains(prompts, p) {
			return a.refuse("invalid_request", "prompt must be one of "+strings.Join(prompts, ", "))
		}
	}
	if a.has(promptNone) && len(a.prompt) > 1 {
		return a.refuse("invalid_request", "prompt=none goes with no other")
	}
	if text := q.Get("max_age"); text != "" {
		seconds, err := strconv.ParseUint(text, 10, 32)
		if err != nil {
			return a.refuse("invalid_request", "max_age must be a number of seconds")
		}
		a.maxAge = time.Duration(seconds) * time.Second
	}
	return nil
}

// needsPassword tells whether a browser session will not do.
func (a *authorization) needsPassword(b *models.BrowserSession) bool {
	return b == nil || (a.subject != "" && a.subject != b.UserID.String()) || a.has(promptLogin) || (a.maxAge >= 0 && (a.maxAge == 0 || b.AuthAge > a.maxAge))
}

// mustAsk tells whether somebody who is signed in is asked before the browser goes on.
func (a *authorization) mustAsk() bool {
	return isLocal(a.redirectURI) || a.has(promptSelect) || a.has(promptConsent)
}

// name is what people read of the app.
func (a *authorization) name() string { return a.client.Name }
