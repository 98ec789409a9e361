package main

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"net/http"
	"net/url"
	"strings"

	"curfew/internal/harness"
)

// What a person's browser and the app in it do: they sign in on our page, get codes, and exchange them.

const (
	redirectURI   = "https://app.example/callback"
	codeVerifier  = "a-verifier-of-43-characters-or-more-it-must-be"
	wrongVerifier = "another-verifier-of-43-characters-or-more-it-is"
	sessionCookie = "__Host-curfew"
	markerCookie  = "__Host-curfew-browser"
)

// allowCodes lets a client use the authorization code grant.
func (r *rig) allowCodes(ctx context.Context, n *harness.Node, client string) error {
	a := r.adminDo(ctx, n, http.MethodPatch, "/admin/clients/"+client, map[string]any{
		"grants": []string{"password", "refresh_token", "authorization_code"}, "redirect_uris": []string{redirectURI},
		"scopes": []string{"settings", "profile", "offline_access"},
	}, nil)
	if a.status != http.StatusOK {
		return a.failure("let a client use codes")
	}
	return nil
}

// visit is a request of the world's browser; the answer's redirect is not followed.
func (w *world) visit(ctx context.Context, n *harness.Node, method, path, body, cookie string) answer {
	header := map[string]string{
		"X-Forwarded-For": w.address, "User-Agent": "curfew-torture", "Sec-Fetch-Site": "same-origin",
		"Cookie": markerCookie + "=" + w.session,
	}
	if cookie != "" {
		header["Cookie"] += "; " + sessionCookie + "=" + cookie
	}
	if body != "" {
		header["Content-Type"] = "application/x-www-form-urlencoded"
	}
	return w.h.rig.do(ctx, method, "http://"+n.Public+path, body, header)
}

// held is a cookie that the browser has been given.
type held struct {
	number int32
	value  string
}

// aCookie is most often the newest one.
func (w *world) aCookie() held {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.cookies) == 0 {
		return held{}
	}
	back := 0
	if !w.plain && w.rng.IntN(4) == 0 {
		back = w.rng.IntN(len(w.cookies))
	}
	return w.cookies[len(w.cookies)-1-back]
}

// given finds the cookie that an answer sets.
func (w *world) given(a answer) (number int32) {
	for _, c := range (&http.Response{Header: a.header}).Cookies() {
		if c.Name != sessionCookie || c.Value == "" {
			continue
		}
		w.h.rig.note(c.Value, "the cookie of a browser session")
		w.mu.Lock()
		defer w.mu.Unlock()
		for _, h := range w.cookies {
			if h.value == c.Value {
				return h.number
			}
		}
		w.cookies = append(w.cookies, held{int32(len(w.cookies) + 1), c.Value})
		return int32(len(w.cookies))
	}
	return noRefreshID
}

func (w *world) signInBrowser() step {
	number, cookie := w.password, w.aCookie()
	if !w.plain && w.rng.IntN(10) == 0 {
		number = int8(w.rng.IntN(len(w.passwords)))
	}
	return w.signInBrowserWith(number, cookie)
}

func (w *world) signInBrowserWith(number int8, cookie held) step {
	body := form("username", w.username, "password", w.passwords[number], "return", "/account", "device_name", "browser")
	return func(ctx context.Context, thread int, n *harness.Node) {
		r := record{
			In: operation{Action: actBrowser, Password: number, RefreshID: cookie.number}, Client: thread, Node: n.Number,
			Call: w.h.now(),
		}
		a := w.visit(ctx, n, http.MethodPost, "/sign-in", body.Encode(), cookie.value)
		r.Return = w.h.now()
		switch {
		case a.unknown():
			r.Out.Verdict = lost
		case a.status == http.StatusTooManyRequests:
			return
		case a.status == http.StatusSeeOther:
			r.Out = outcome{Verdict: done, RefreshID: w.given(a)}
			if r.Out.RefreshID == noRefreshID {
				w.h.breaks("%s: a sign-in on the page without a cookie", w.client)
				return
			}
		case a.status != http.StatusBadRequest:
			w.h.breaks("%s: signing in on the page: %s", w.client, a)
			return
		}
		w.did(r)
	}
}

func (w *world) look() step {
	cookie := w.aCookie()
	if cookie.number == noRefreshID {
		return nil
	}
	return func(ctx context.Context, thread int, n *harness.Node) {
		r := record{In: operation{Action: actPage, RefreshID: cookie.number}, Client: thread, Node: n.Number, Call: w.h.now()}
		a := w.visit(ctx, n, http.MethodGet, "/sign-in", "", cookie.value)
		r.Return = w.h.now()
		switch {
		case a.unknown():
			return
		case a.status == http.StatusSeeOther:
			r.Out.Verdict = done
		case a.status != http.StatusOK:
			w.h.breaks("%s: a page: %s", w.client, a)
			return
		}
		w.did(r)
	}
}

// code is an authorization code that the harness has seen.
type code struct {
	number int8
	value  string
	slot   int // where it is meant to go

	offline bool
}

func (w *world) askForCode(slot int, offline bool) step {
	cookie := w.aCookie()
	if cookie.number == noRefreshID {
		return nil
	}
	sum := sha256.Sum256([]byte(codeVerifier))
	q := form("response_type", "code", "client_id", w.client, "redirect_uri", redirectURI, "prompt", "none", "state", "s",
		"code_challenge", base64.RawURLEncoding.EncodeToString(sum[:]), "code_challenge_method", "S256",
		"scope", strings.TrimSpace("settings profile "+map[bool]string{true: "offline_access"}[offline]))
	return func(ctx context.Context, thread int, n *harness.Node) {
		r := record{
			In: operation{Action: actCode, RefreshID: cookie.number, Offline: offline}, Client: thread, Node: n.Number,
			Call: w.h.now(),
		}
		a := w.visit(ctx, n, http.MethodGet, "/oauth2/authorize?"+q.Encode(), "", cookie.value)
		r.Return = w.h.now()
		to, err := url.Parse(a.header.Get("Location"))
		answered := err == nil && a.status == http.StatusSeeOther
		switch {
		case a.unknown(), answered && to.Query().Get("error") == "temporarily_unavailable":
			return // nobody has the code, if there is one
		case answered && to.Query().Get("error") == "login_required":
		case answered && to.Query().Get("code") != "":
			if r.Out.Code = w.gotCode(to.Query().Get("code"), slot, offline); r.Out.Code == 0 {
				return
			}
			r.Out.Verdict = done
		default:
			w.h.breaks("%s: asking for a code: %s, %s", w.client, a, a.header.Get("Location"))
			return
		}
		w.did(r)
	}
}

// gotCode numbers a code; those above the model's limit are thrown away.
func (w *world) gotCode(value string, slot int, offline bool) int8 {
	w.h.rig.note(value, "an authorization code")
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.codes) == maxCodes {
		return 0
	}
	w.codes = append(w.codes, code{int8(len(w.codes) + 1), value, slot, offline})
	return int8(len(w.codes))
}

// aCode is most often the newest one.
func (w *world) aCode() *code {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.codes) == 0 {
		return nil
	}
	back := 0
	if !w.plain && w.rng.IntN(3) == 0 {
		back = w.rng.IntN(len(w.codes))
	}
	return &w.codes[len(w.codes)-1-back]
}

func (w *world) exchange(c *code) step {
	if c == nil {
		return nil
	}
	in := operation{Action: actExchange, Slot: c.slot, Code: c.number, Offline: c.offline}
	if !w.plain {
		in.Wrong, in.Stranger = w.rng.IntN(12) == 0, w.rng.IntN(12) == 0
	}
	return w.exchangeAs(c, in)
}

func (w *world) exchangeAs(c *code, in operation) step {
	client := map[bool]string{true: w.h.rig.stranger, false: w.client}[in.Stranger]
	proof := map[bool]string{true: wrongVerifier, false: codeVerifier}[in.Wrong]
	return func(ctx context.Context, thread int, n *harness.Node) {
		r := record{In: in, Client: thread, Node: n.Number, Call: w.h.now()}
		t, a := w.h.rig.token(ctx, n, w.address, "", form("grant_type", "authorization_code", "client_id", client,
			"code", c.value, "redirect_uri", redirectURI, "code_verifier", proof, "device_id", w.devices[in.Slot],
			"device_name", name(0)))
		if in.Stranger && a.status == http.StatusOK {
			w.h.breaks("%s: another client's code was exchanged", w.client)
			return
		}
		w.issuing(r, noRefreshID, t, a)
	}
}

// adopt notes that the tokens of a sign-in go with the browser session.
func (w *world) adopt(signIn int32) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, t := range w.tokens {
		t.child = t.child || t.signIn == signIn
	}
}

// endSession signs out the browser session, by an admin or by the user in an app.
func (w *world) endSession() step {
	in := operation{Action: actEndSession}
	if t := w.newest(w.rng.IntN(slots)); t != nil && !w.plain && w.rng.IntN(2) == 0 {
		return w.bySettings(t, record{In: in}, http.MethodDelete, "/settings/devices/"+w.session, "", handleSignOut)
	}
	return w.byAdmin(in, http.MethodDelete, "/admin/devices/"+w.session, nil, handleSignOut)
}

// anyInBrowser chooses what the browser does next.
func (w *world) anyInBrowser(slot int) step {
	w.mu.Lock()
	browsing, unspent := w.browsing, w.unspent
	w.mu.Unlock()
	switch n := w.rng.IntN(100); {
	case n < 20, !browsing && n < 80:
		return w.signInBrowser()
	case browsing && unspent <= 0 && n < 70:
		return w.askForCode(slot, w.rng.IntN(3) == 0)
	case n < 45:
		return w.askForCode(slot, w.rng.IntN(3) == 0)
	case n < 75:
		return w.exchange(w.aCode())
	case n < 88:
		return w.look()
	}
	return w.endSession()
}
