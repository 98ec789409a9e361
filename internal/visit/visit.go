// Package visit is a browser without a screen, for the programs and tests that sign in by code: it keeps the cookies of
// the server, follows what stays there, and fills the forms of its pages in.
package visit

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"strings"
	"time"

	"golang.org/x/net/html"
)

// Browser visits one server. Unlike net/http/cookiejar it sends cookies that are Secure over http to a loopback
// address, as browsers do. It is not safe for concurrent use.
type Browser struct {
	Client  *http.Client // it must not follow redirects by itself
	Header  http.Header  // more headers, for each request
	cookies map[string]string
}

// New is a browser without cookies.
func New() *Browser {
	return &Browser{
		Client: &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error {
			return http.ErrUseLastResponse
		}},
		cookies: map[string]string{},
	}
}

// Page is an answer: a page of the server's with its form, if there is one, or a way out of it.
type Page struct {
	Status int
	Header http.Header
	URL    *url.URL // of the page
	Out    *url.URL // where a redirect leads that leaves the server; then there is no page
	Body   string
	Form   *Form
}

// Form is what a form of a page would post.
type Form struct {
	Action *url.URL
	Fields url.Values // with the values that they have in the page
}

// Has says that the form has a field, or a button, of that name.
func (f *Form) Has(name string) bool { return f != nil && f.Fields.Has(name) }

const (
	maxHops = 10
	maxPage = 1 << 20
)

// errLost: the server leads round and round.
var errLost = errors.New("too many redirects or pages")

// Cookie is the value of a cookie that the server has set.
func (b *Browser) Cookie(name string) string { return b.cookies[name] }

// Get asks for an address.
func (b *Browser) Get(ctx context.Context, address string) (*Page, error) {
	return b.do(ctx, http.MethodGet, address, nil)
}

// Submit posts a form with some of its fields changed.
func (b *Browser) Submit(ctx context.Context, f *Form, change url.Values) (*Page, error) {
	fields := maps.Clone(f.Fields)
	maps.Copy(fields, change)
	return b.do(ctx, http.MethodPost, f.Action.String(), fields)
}

// SignIn goes to an authorization request's address, does what a person would, and returns where the server leads back
// to: the redirect URI with the answer.
func (b *Browser) SignIn(ctx context.Context, address, username, password string) (*url.URL, error) {
	page, err := b.Get(ctx, address)
	for range maxHops {
		switch {
		case err != nil:
			return nil, err
		case page.Out != nil:
			return page.Out, nil
		case page.Form.Has("password") && page.Status == http.StatusOK:
			page, err = b.Submit(ctx, page.Form, url.Values{"username": {username}, "password": {password}})
		case page.Form.Has("choice") && page.Status == http.StatusOK:
			page, err = b.Submit(ctx, page.Form, url.Values{"choice": {"continue"}})
		default:
			return nil, fmt.Errorf("%s answers %d: %s", page.URL.Path, page.Status, page.Body)
		}
	}
	return nil, errLost
}

// Enter goes to a page of the server's own that wants a sign-in, and signs in.
func (b *Browser) Enter(ctx context.Context, address, username, password string) (*Page, error) {
	wanted, err := url.Parse(address)
	if err != nil {
		return nil, err
	}
	page, err := b.Get(ctx, address)
	if err == nil && page.URL.Path != wanted.Path && page.Form.Has("password") {
		page, err = b.Submit(ctx, page.Form, url.Values{"username": {username}, "password": {password}})
	}
	if err == nil && (page.Status != http.StatusOK || page.URL.Path != wanted.Path) {
		err = fmt.Errorf("%s leads to %s, which answers %d: %s", wanted.Path, page.URL.Path, page.Status, page.Body)
	}
	return page, err
}

// do sends a request and follows redirects that stay on the server.
func (b *Browser) do(ctx context.Context, method, address string, fields url.Values) (*Page, error) {
	for range maxHops {
		page, next, err := b.ask(ctx, method, address, fields)
		if err != nil || next == nil {
			return page, err
		}
		if next.Scheme != page.URL.Scheme || next.Host != page.URL.Host {
			page.Out = next
			return page, nil
		}
		method, address, fields = http.MethodGet, next.String(), nil
	}
	return nil, errLost
}

// ask sends one request; next is where a redirect leads.
func (b *Browser) ask(ctx context.Context, method, address string, fields url.Values) (p *Page, next *url.URL,
	err error,
) {
	r, err := http.NewRequestWithContext(ctx, method, address, strings.NewReader(fields.Encode()))
	if err != nil {
		return nil, nil, err
	}
	maps.Copy(r.Header, b.Header)
	if method == http.MethodPost {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	for name, value := range b.cookies {
		r.AddCookie(&http.Cookie{Name: name, Value: value})
	}
	res, err := b.Client.Do(r)
	if err != nil {
		return nil, nil, err
	}
	defer res.Body.Close()
	for _, c := range res.Cookies() {
		gone := c.MaxAge < 0 || !c.Expires.IsZero() && c.Expires.Before(time.Now())
		if b.cookies[c.Name] = c.Value; gone {
			delete(b.cookies, c.Name)
		}
	}
	body, err := io.ReadAll(io.LimitReader(res.Body, maxPage))
	if err != nil {
		return nil, nil, err
	}
	p = &Page{Status: res.StatusCode, Header: res.Header, URL: r.URL, Body: string(body)}
	if location := res.Header.Get("Location"); location != "" && res.StatusCode/100 == 3 {
		next, err = r.URL.Parse(location)
		return p, next, err
	}
	p.Form, err = firstForm(r.URL, p.Body)
	return p, nil, err
}

// firstForm is the first form of a page; nil without one.
func firstForm(at *url.URL, page string) (*Form, error) {
	root, err := html.Parse(strings.NewReader(page))
	if err != nil {
		return nil, err
	}
	for n := range root.Descendants() {
		if n.Type != html.ElementNode || n.Data != "form" {
			continue
		}
		f := &Form{Fields: url.Values{}}
		if f.Action, err = at.Parse(attribute(n, "action")); err != nil {
			return nil, err
		}
		for field := range n.Descendants() {
			name, kind := attribute(field, "name"), attribute(field, "type")
			switch {
			case field.Type != html.ElementNode || name == "":
			case field.Data == "button":
				f.Fields[name] = nil // which one is pressed is for the caller to say
			case field.Data == "input" && kind != "checkbox" && kind != "radio":
				f.Fields.Add(name, attribute(field, "value"))
			}
		}
		return f, nil
	}
	return nil, nil
}

func attribute(n *html.Node, name string) string {
	for _, a := range n.Attr {
		if a.Key == name {
			return a.Val
		}
	}
	return ""
}
