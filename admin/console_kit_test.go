package admin

import (
	"encoding/base64"
	"html"
	"io"
	"maps"
	"net/http"
	"net/url"
	"regexp"
	"strings"

	"github.com/google/uuid"

	"curfew/models"
)

// browser is an admin's: it keeps cookies, says where its posts come from, and follows no redirect by itself.
type browser struct {
	k       *kit
	cookies map[string]string
	headers map[string]string // of posts
}

func (k *kit) browser() *browser {
	return &browser{
		k: k, cookies: map[string]string{}, headers: map[string]string{"Sec-Fetch-Site": "same-origin", "Origin": k.http.URL},
	}
}

// clone is another tab, or what a thief has copied.
func (b *browser) clone() *browser { return &browser{b.k, maps.Clone(b.cookies), b.headers} }

func (b *browser) do(method, path string, form url.Values) *reply {
	b.k.t.Helper()
	r, err := http.NewRequestWithContext(b.k.t.Context(), method, b.k.http.URL+path, strings.NewReader(form.Encode()))
	must(b.k.t, err)
	if method == http.MethodPost {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		for name, value := range b.headers {
			r.Header.Set(name, value)
		}
	}
	r.Header.Set("User-Agent", "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0")
	for name, value := range b.cookies {
		r.AddCookie(&http.Cookie{Name: name, Value: value})
	}
	client := *b.k.http.Client()
	client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	res, err := client.Do(r)
	must(b.k.t, err)
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	must(b.k.t, err)
	for _, c := range res.Cookies() {
		if !strings.HasPrefix(c.Name, "__Host-curfew-console") || !c.Secure || !c.HttpOnly || c.Path != "/" ||
			c.Domain != "" ||
			c.SameSite != http.SameSiteLaxMode {
			b.k.t.Errorf("a cookie that a browser does not keep, or a script may read: %s", c.Raw)
		}
		if c.MaxAge < 0 {
			delete(b.cookies, c.Name)
		} else {
			b.cookies[c.Name] = c.Value
		}
	}
	return &reply{status: res.StatusCode, header: res.Header, body: string(body)}
}

func (b *browser) get(path string) *reply {
	b.k.t.Helper()
	return b.do("GET", path, nil)
}

// post posts pairs of names and values as a page of the console does.
func (b *browser) post(path string, pairs ...string) *reply {
	b.k.t.Helper()
	form := url.Values{}
	for i := 0; i+1 < len(pairs); i += 2 {
		form.Add(pairs[i], pairs[i+1])
	}
	if !form.Has("session") {
		form.Set("session", b.session())
	}
	return b.do("POST", path, form)
}

// session is the id of the browser's session, as the forms of its pages say it. The cookie has it too: after the
// version and the id of the secret.
func (b *browser) session() string {
	text, ok := strings.CutPrefix(b.cookies[consoleCookie], "curfew_bs_")
	if !ok {
		return ""
	}
	raw, err := base64.RawURLEncoding.DecodeString(text)
	must(b.k.t, err)
	return uuid.UUID(raw[5:21]).String()
}

func (b *browser) signIn(name, password string) *reply {
	b.k.t.Helper()
	b.get("/console/sign-in")
	return b.post(
		"/console/sign-in",
		"username",
		name,
		"password",
		password,
		"device_name",
		"",
		"return",
		"/console/devices",
	)
}

// page asks for a page and fails if it is not one, or lacks one of the texts.
func (b *browser) page(path string, texts ...string) *reply {
	b.k.t.Helper()
	return b.want(b.get(path), 200, path, texts...)
}

func (b *browser) want(a *reply, status int, what string, texts ...string) *reply {
	b.k.t.Helper()
	if a.status != status {
		b.k.t.Fatalf("%s: %d to %q, want %d: %s", what, a.status, a.header.Get("Location"), status, a.body)
	}
	for _, text := range texts {
		if !strings.Contains(a.body, text) {
			b.k.t.Fatalf("%s: without %q: %s", what, text, a.body)
		}
	}
	return a
}

// leads asks that an answer leads to a page of the console, goes there, and returns the page.
func (b *browser) leads(a *reply, to string, texts ...string) *reply {
	b.k.t.Helper()
	location := a.header.Get("Location")
	if a.status != http.StatusSeeOther || !strings.HasPrefix(location, to) {
		b.k.t.Fatalf("%d to %q, want %s: %s", a.status, location, to, a.body)
	}
	return b.page(location, texts...)
}

var hiddenInput = regexp.MustCompile(`<input type="hidden" name="([^"]*)" value="([^"]*)">`)

// hidden are the hidden fields of a page, as pairs.
func hidden(a *reply) (pairs []string) {
	for _, m := range hiddenInput.FindAllStringSubmatch(a.body, -1) {
		pairs = append(pairs, html.UnescapeString(m[1]), html.UnescapeString(m[2]))
	}
	return pairs
}

// admin makes an admin, and a browser that is signed in as one.
func (k *kit) admin(name string) (*models.User, *browser) {
	k.t.Helper()
	u, err := k.store.CreateUser(
		k.t.Context(),
		models.NewUser{Username: name, Password: testPassword, Admin: true},
		setup,
	)
	must(k.t, err)
	b := k.browser()
	if a := b.signIn(name, testPassword); a.status != 303 || a.header.Get("Location") != "/console/devices" {
		k.t.Fatalf("%d %s", a.status, a.body)
	}
	return u, b
}

// state is what a request that is refused must leave as it is.
func (k *kit) state() string {
	k.t.Helper()
	var text string
	must(k.t, k.store.DB().QueryRowContext(k.t.Context(), `SELECT CAST((SELECT count(*) FROM devices) AS TEXT) || ' ' ||
		CAST((SELECT count(*) FROM users) AS TEXT) || ' ' || CAST((SELECT sum(updated_at) FROM users) AS TEXT) || ' ' ||
		CAST((SELECT sum(version) FROM clients) AS TEXT) || ' ' || CAST((SELECT last_seq FROM realm) AS TEXT) || ' ' ||
		CAST((SELECT count(*) FROM subscribers) AS TEXT) || ' ' ||
		CAST((SELECT count(*) FROM receivers) AS TEXT)`).Scan(&text))
	return text
}

func (k *kit) exec(statement string) {
	k.t.Helper()
	_, err := k.store.DB().ExecContext(k.t.Context(), statement)
	must(k.t, err)
}

// age makes it look as if all passwords were given long ago.
func (k *kit) age() { k.exec(`UPDATE devices SET auth_at = auth_at - 3600000000`) }

// there fills the parameters of the console's routes with what is there: a user, a device, and a webhook that it makes.
func (k *kit) there(u *models.User, g *models.Grant) *strings.Replacer {
	k.t.Helper()
	hook, _, err := k.store.CreateWebhook(k.t.Context(), "https://everyone/", nil, setup)
	must(k.t, err)
	return strings.NewReplacer("users/:id", "users/"+u.ID.String(), "clients/:id", "clients/web",
		"receivers/:id", "receivers/"+hook.ID.String(), ":id", g.DeviceID.String(), ":seq", "1")
}
