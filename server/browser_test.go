package server

import (
	"crypto/sha256"
	"encoding/base64"
	"html"
	"maps"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"testing"

	"github.com/google/uuid"

	"curfew/models"
)

const (
	testVerifier = "a-verifier-of-43-characters-or-more-it-must-be"
	testAgent    = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"
	appURI       = "https://app.example/callback"
	shopURI      = "https://shop.example/cb?keep=1"
	cliURI       = "http://127.0.0.1/callback"
)

func challengeOf(verifier string) string {
	sum := sha256.Sum256([]byte(verifier))
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

// apps registers the clients that these tests know: app (public, on the web), cli (public, on the user's computer) and
// shop (confidential, may do without PKCE).
func (k *kit) apps() {
	k.t.Helper()
	grants := []string{models.GrantAuthorizationCode, models.GrantRefreshToken}
	scopes := []string{"settings", "profile", "admin", "offline_access"}
	k.client(models.NewClient{
		ID: "app", Name: "The App", Public: true, Grants: grants, Scopes: scopes, RedirectURIs: []string{appURI},
		Resources: []string{"https://orders.example", "https://stock.example"},
	})
	k.client(models.NewClient{
		ID: "cli", Public: true, Grants: grants, Scopes: scopes, RedirectURIs: []string{
			cliURI, "http://[::1]:7777/cb?x=1", "http://localhost", "com.example.app:/cb", "https://cli.example",
		},
	})
	k.client(models.NewClient{
		ID: "shop", Secret: apiSecret, Grants: grants, Scopes: scopes, RedirectURIs: []string{shopURI},
		PKCE: models.PKCEOptional,
	})
}

// set changes a client in the database.
func (k *kit) set(client, column, value string) {
	k.t.Helper()
	k.sql("UPDATE clients SET " + column + " = '" + value + "', version = version + 1 WHERE id = '" + client + "'")
}

func (k *kit) sql(statement string) {
	k.t.Helper()
	if _, err := k.store.DB().ExecContext(k.t.Context(), statement); err != nil {
		k.t.Fatal(err)
	}
}

// count answers a count.
func (k *kit) count(statement string) (n int) {
	k.t.Helper()
	if err := k.store.DB().QueryRowContext(k.t.Context(), statement).Scan(&n); err != nil {
		k.t.Fatal(err)
	}
	return n
}

// browser keeps cookies, says where its posts come from, follows no redirect by itself, and fills forms in.
type browser struct {
	k       *kit
	cookies map[string]string
	off     bool // cookies are
	headers []string
	set     []*http.Cookie // by the last answer
}

func (k *kit) browser() *browser { return &browser{k: k, cookies: map[string]string{}} }

// clone is another tab, or what a thief has copied.
func (b *browser) clone() *browser { return &browser{k: b.k, cookies: maps.Clone(b.cookies)} }

func (b *browser) do(method, path, body string, headers ...string) *answer {
	b.k.t.Helper()
	r := b.k.request(method, path, body, append(append(headers, b.headers...), "User-Agent", testAgent)...)
	for name, value := range b.cookies {
		r.AddCookie(&http.Cookie{Name: name, Value: value})
	}
	client := *b.k.http.Client()
	client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	a := b.k.doWith(&client, r)
	b.set = (&http.Response{Header: a.header}).Cookies()
	for _, c := range b.set {
		if !strings.HasPrefix(c.Name, "__Host-") || !c.Secure || !c.HttpOnly || c.Path != "/" || c.Domain != "" ||
			c.SameSite != http.SameSiteLaxMode {
			b.k.t.Errorf("a cookie that a browser does not keep, or a script may read: %s", c.Raw)
		}
		switch {
		case b.off:
		case c.MaxAge < 0:
			delete(b.cookies, c.Name)
		default:
			b.cookies[c.Name] = c.Value
		}
	}
	return a
}

func (b *browser) get(path string) *answer { return b.do("GET", path, "") }

// post posts pairs as a page of this server does.
func (b *browser) post(path string, form url.Values) *answer {
	b.k.t.Helper()
	return b.do("POST", path, form.Encode(), "Content-Type", formType, "Sec-Fetch-Site", "same-origin", "Origin", b.k.url)
}

var (
	formAction  = regexp.MustCompile(`<form method="post" action="([^"]*)"`)
	hiddenField = regexp.MustCompile(`<input type="hidden" name="([^"]*)" value="([^"]*)">`)
)

// pageForm finds a page's form and its hidden fields.
func pageForm(page *answer) (action string, fields url.Values) {
	fields = url.Values{}
	if m := formAction.FindSubmatch(page.body); m != nil {
		action = html.UnescapeString(string(m[1]))
	}
	for _, m := range hiddenField.FindAllSubmatch(page.body, -1) {
		fields.Add(html.UnescapeString(string(m[1])), html.UnescapeString(string(m[2])))
	}
	return action, fields
}

// submit fills in a page's form and sends it.
func (b *browser) submit(page *answer, pairs ...string) *answer {
	b.k.t.Helper()
	action, fields := pageForm(page)
	if action == "" {
		b.k.t.Fatalf("%d: no form in %s", page.status, page.body)
	}
	for i := 0; i+1 < len(pairs); i += 2 {
		fields.Set(pairs[i], pairs[i+1])
	}
	return b.post(action, fields)
}

func (b *browser) signInAs(page *answer, name string, more ...string) *answer {
	b.k.t.Helper()
	return b.submit(page, append([]string{"username", name, "password", testPassword}, more...)...)
}

// authorizeURL is the address that an app leads to. Pairs change its parameters; an empty value takes one away.
func authorizeURL(client string, pairs ...string) string {
	uri := map[string]string{"app": appURI, "cli": cliURI, "shop": shopURI, "rp": rpURI}[client]
	q := url.Values{
		"response_type": {"code"}, "client_id": {client}, "redirect_uri": {uri}, "state": {"the state"},
		"code_challenge": {challengeOf(testVerifier)}, "code_challenge_method": {"S256"},
	}
	for i := 0; i+1 < len(pairs); i += 2 {
		if q.Set(pairs[i], pairs[i+1]); pairs[i+1] == "" {
			q.Del(pairs[i])
		}
	}
	return pathAuthorize + "?" + q.Encode()
}

// code is the code that an answer leads back with.
func (k *kit) code(a *answer) string {
	k.t.Helper()
	u, err := url.Parse(a.header.Get("Location"))
	if err != nil || a.status != http.StatusSeeOther || u.Query().Get("code") == "" {
		k.t.Fatalf("no code: %d %s %s", a.status, a.header.Get("Location"), a.body)
	}
	return u.Query().Get("code")
}

// newCode signs anna in, unless she is, and gets the app a code.
func (b *browser) newCode(client string, pairs ...string) string {
	b.k.t.Helper()
	a := b.get(authorizeURL(client, pairs...))
	for a.status == http.StatusOK {
		if strings.Contains(string(a.body), `name="choice"`) {
			a = b.submit(a, "choice", "continue")
		} else {
			a = b.signInAs(a, "anna")
		}
	}
	return b.k.code(a)
}

func (k *kit) exchange(client, code string, pairs ...string) *answer {
	k.t.Helper()
	form := map[string]string{
		"grant_type": "authorization_code", "client_id": client, "code": code, "code_verifier": testVerifier,
		"redirect_uri": map[string]string{"app": appURI, "cli": cliURI, "shop": shopURI, "rp": rpURI}[client],
	}
	if client == "shop" || client == "rp" {
		form["client_secret"] = apiSecret
	}
	for i := 0; i+1 < len(pairs); i += 2 {
		form[pairs[i]] = pairs[i+1]
	}
	var list []string
	for name, value := range form {
		if value != "" {
			list = append(list, name, value)
		}
	}
	return k.form("/oauth2/token", list...)
}

// wantPage checks a page.
func (k *kit) wantPage(what string, a *answer, status int, text string) {
	k.t.Helper()
	if a.status != status || !strings.HasPrefix(a.header.Get("Content-Type"), "text/html") ||
		!strings.Contains(html.UnescapeString(string(a.body)), text) || a.header.Get("Location") != "" {
		k.t.Errorf("%s: %d %v %s, want %d and %q", what, a.status, a.header, a.body, status, text)
	}
}

// wantBack checks an error that went back to the client.
func (k *kit) wantBack(what string, a *answer, uri, code string) {
	k.t.Helper()
	location := a.header.Get("Location")
	u, err := url.Parse(location)
	if err != nil || a.status != http.StatusSeeOther || !strings.HasPrefix(location, uri) {
		k.t.Errorf("%s: %d %s %s, want %s at %s", what, a.status, location, a.body, code, uri)
		return
	}
	if q := u.Query(); q.Get("error") != code || q.Get("iss") != k.url || q.Get("state") != "the state" || q.Has("code") {
		k.t.Errorf("%s: %s, want the error %s", what, location, code)
	}
}

func forEachBrowser(t *testing.T, fn func(t *testing.T, k *kit), change ...func(*models.Config)) {
	t.Helper()
	forEachDB(t, func(t *testing.T, k *kit) {
		k.apps()
		fn(t, k)
	}, change...)
}

func (k *kit) userID(name string) uuid.UUID {
	k.t.Helper()
	u, err := k.store.FindUser(k.t.Context(), name)
	if err != nil {
		k.t.Fatal(err)
	}
	return u.ID
}

func (k *kit) wantProblem(what string, a *answer, status int) {
	k.t.Helper()
	if a.status != status || a.str("code") == "" {
		k.t.Errorf("%s: %d %s, want a problem with %d", what, a.status, a.body, status)
	}
}
