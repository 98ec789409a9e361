package main

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/http"
	"net/url"
	"slices"
	"strconv"

	"github.com/google/uuid"

	"curfew/internal/harness"
	"curfew/internal/visit"
)

// codeVerifier is everybody's: what it costs to make one is the app's matter.
const codeVerifier = "a-code-verifier-of-43-characters-or-more-0123456789"

// code: sign-ins by authorization code, from the post of the sign-in page's form to the tokens, beside the password
// grant. Each comes from a browser of its own, so it makes two devices: the browser session and the app's.
func (b *bench) code(ctx context.Context) error {
	w, err := b.mainWorld(ctx)
	if err != nil {
		return err
	}
	node, err := b.rig.servePages(ctx, w.url)
	if err != nil {
		return err
	}
	form, cookie, err := signInForm(ctx, "http://"+node.Public)
	if err != nil {
		return err
	}
	loads := []struct {
		name string
		worker
	}{
		{"code grant, form to token", &codeSigner{w: w, host: node.Public, fields: form, cookie: cookie}},
		{"password grant beside it", signer{w}},
	}
	type round struct {
		code, password figures
		rates          [2]float64 // of what was answered right
	}
	var all []round
	for range b.opt.Repeat {
		var two [2]figures
		var rates [2]float64
		for i, l := range loads {
			one := load{duration: b.opt.Duration, workers: same(b.opt.Concurrency, func(int) worker { return l.worker })}
			if two[i], err = b.rig.measure(ctx, l.name, one, node); err != nil {
				return err
			}
			f := b.keep(two[i])
			rates[i] = f.PerSecond * float64(f.Requests-f.Failed) / float64(max(1, f.Requests))
		}
		all = append(all, round{two[0], two[1], rates})
	}
	ratioOf := func(r round) float64 { return r.rates[0] / r.rates[1] }
	slices.SortFunc(all, func(a, b round) int { return cmp.Compare(ratioOf(a), ratioOf(b)) })
	m := all[len(all)/2]
	ratio := ratioOf(m)
	b.report.add("code grant, form to token, of the password grant's rate", "", true, ratio,
		"%.2f: %.1f/s of %.1f/s; p50 %.0f ms, %.0f ms; CPU of server and database %.0f µs, %.0f µs", ratio,
		m.rates[0], m.rates[1], m.code.P50, m.password.P50, m.code.ServerCPU+m.code.DBCPU,
		m.password.ServerCPU+m.password.DBCPU)
	return nil
}

// servePages starts a node whose issuer is its own address: there are pages on loopback and under https only.
func (r *rig) servePages(ctx context.Context, url string) (*harness.Node, error) {
	addresses, err := harness.FreeAddresses(2)
	if err != nil {
		return nil, err
	}
	p := r.product(url).With(map[string]string{"ISSUER": "http://" + addresses[0]})
	if err := p.Run(ctx, "", nil, "client", "add", "shop", "--public", "--grants", "authorization_code,refresh_token",
		"--scopes", "settings profile", "--redirect-uris", redirectURI); err != nil {
		return nil, err
	}
	return r.start(ctx, p, addresses[0], addresses[1])
}

const redirectURI = "https://shop.example.com/callback"

// signInForm is what the sign-in page's form would post, and the name of the cookie that names a browser.
func signInForm(ctx context.Context, issuer string) (form url.Values, cookie string, err error) {
	challenge := sha256.Sum256([]byte(codeVerifier))
	page, err := visit.New().Get(ctx, issuer+"/oauth2/authorize?"+url.Values{
		"response_type": {"code"}, "client_id": {"shop"}, "redirect_uri": {redirectURI}, "state": {"benchmark"},
		"code_challenge": {base64.RawURLEncoding.EncodeToString(challenge[:])}, "code_challenge_method": {"S256"},
	}.Encode())
	if err != nil {
		return nil, "", err
	}
	for _, c := range (&http.Response{Header: page.Header}).Cookies() {
		if _, err := uuid.Parse(c.Value); err == nil && page.Form.Has("password") {
			return page.Form.Fields, c.Name, nil
		}
	}
	return nil, "", fmt.Errorf("the sign-in page has no form, or names no browser: %d, %.200q", page.Status, page.Body)
}

// codeSigner signs users in on the sign-in page, a random one each time, and exchanges the code.
type codeSigner struct {
	w      *world
	host   string     // pages are served on loopback and under https only
	fields url.Values // of the form; not changed
	cookie string
}

func (s *codeSigner) next(buf []byte) []byte {
	form := maps.Clone(s.fields)
	form.Set("username", "user"+strconv.Itoa(rand.IntN(s.w.users)))
	form.Set("password", password)
	return appendRequest(buf, "POST /sign-in HTTP/1.1\r\n"+s.head()+"Cookie: "+s.cookie+"="+uuid.NewString()+"\r\n",
		[]byte(form.Encode()))
}

func (s *codeSigner) second(buf []byte, status int, location string) []byte {
	answer, err := url.Parse(location)
	if status != http.StatusSeeOther || err != nil || !answer.Query().Has("code") {
		return nil
	}
	form := url.Values{
		"grant_type": {"authorization_code"}, "client_id": {"shop"}, "code": {answer.Query().Get("code")},
		"redirect_uri": {redirectURI}, "code_verifier": {codeVerifier},
	}
	return appendRequest(buf, "POST /oauth2/token HTTP/1.1\r\n"+s.head(), []byte(form.Encode()))
}

func (s *codeSigner) head() string {
	return "Host: " + s.host + "\r\nContent-Type: application/x-www-form-urlencoded\r\nConnection: keep-alive\r\n" +
		"User-Agent: " + userAgents[0] + "\r\nX-Forwarded-For: " + address(rand.IntN(1<<24)) + "\r\n"
}

func (s *codeSigner) answer(status int, body []byte) error {
	if status != http.StatusOK || len(field(body, "refresh_token")) == 0 {
		return unexpected(status, body)
	}
	return nil
}
