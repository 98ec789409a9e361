package server

import (
	"html"
	"net/url"
	"regexp"
	"strings"
	"testing"

	"curfew/models"
)

// enter signs a user in in the browser and answers the page of the devices.
func (b *browser) enter(name string) *answer {
	b.k.t.Helper()
	if a := b.signInAs(b.get("/sign-in"), name); a.status != 303 {
		b.k.t.Fatalf("sign in: %d %s", a.status, a.body)
	}
	return b.get("/account")
}

// send posts a form of the account as the page that the browser shows does.
func (b *browser) send(path string, pairs ...string) *answer {
	b.k.t.Helper()
	_, fields := pageForm(b.get("/account"))
	form := url.Values{"session": {fields.Get("session")}}
	for i := 0; i+1 < len(pairs); i += 2 {
		form.Set(pairs[i], pairs[i+1])
	}
	return b.post(path, form)
}

// follow is what the browser shows after an answer that leads on.
func (b *browser) follow(a *answer) *answer {
	b.k.t.Helper()
	if a.status != 303 {
		b.k.t.Fatalf("%d %s", a.status, a.body)
	}
	return b.do("GET", a.header.Get("Location"), "", "Sec-Fetch-Site", "same-origin")
}

var (
	inline = regexp.MustCompile(`</?(strong|code|time)[^>]*>`)
	tag    = regexp.MustCompile(`<[^>]*>`)
)

// text is what a person reads of a page.
func text(a *answer) string {
	_, main, _ := strings.Cut(string(a.body), "<main")
	main = tag.ReplaceAllString(inline.ReplaceAllString(main, ""), " ")
	return strings.Join(strings.Fields(html.UnescapeString(main)), " ")
}

func (k *kit) wantText(what string, a *answer, parts ...string) {
	k.t.Helper()
	for _, part := range parts {
		if !strings.Contains(text(a), part) {
			k.t.Errorf("%s: %d %s; want %q", what, a.status, text(a), part)
		}
	}
}

// This browser comes first, what was signed in through a browser stands below it, and each device is ended, named and
// told of.
func TestAccount_Devices(t *testing.T) {
	forEachBrowser(t, func(t *testing.T, k *kit) {
		b, far := k.browser(), k.browser()
		b.enter("anna")
		child := k.exchange("app", b.newCode("app"))
		other := k.exchange("app", far.newCode("app"))
		phone := k.signIn("anna", "device_name", "Phone")
		page := b.get("/account")
		body := string(page.body)
		for _, order := range [][2]string{{"This browser", child.str("device_id")}, {child.str("device_id"), "Other devices"}, {"Other devices", other.str("device_id")}} {
			if i, j := strings.Index(body, order[0]), strings.Index(body, order[1]); i < 0 || j < i {
				t.Errorf("%q does not stand before %q: %s", order[0], order[1], text(page))
			}
		}
		k.wantText("devices", page, "Sign out all 4 others", "Signed in through this browser, and out with it", "Phone", "The App · ")
		a := b.follow(b.send("/account/rename", "device", phone.str("device_id"), "name", "Anna’s phone"))
		k.wantText("renamed", a, "The new name is saved.", "Anna’s phone")
		a = b.follow(b.send("/account/end", "device", phone.str("device_id")))
		k.wantText("ended", a, "Out. There is no service to wait for.", "Recently ended", "You signed it out.")
		if k.active(phone.str("access_token")) || !k.active(child.str("access_token")) {
			t.Error("not that device, and only that one, is out")
		}
		a = b.follow(b.send("/account/end", "device", phone.str("device_id")))
		k.wantText("again", a, "Out.")
		a = b.follow(b.send("/account/end-others"))
		k.wantText("others", a, "3 devices are out.", "Nothing else is signed in.")
		if k.active(child.str("access_token")) || k.active(other.str("access_token")) || far.signedInAs() != "" || b.signedInAs() != "anna" {
			t.Error("all others are out, and this browser is not")
		}
		for what, id := range map[string]string{"own": page.deviceHere(), "none": "", "garbage": "x"} {
			if a := b.send("/account/end", "device", id); what == "own" && a.header.Get("Location") != "/sign-out" || what != "own" && a.status != 404 {
				t.Errorf("%s: %d %v", what, a.status, a.header)
			}
		}
		k.wantPage("no name", b.send("/account/rename", "device", page.deviceHere(), "name", " "), 400, "A name takes 1 to 100 characters")
	})
}

// deviceHere is the browser session of a page of the account.
func (a *answer) deviceHere() string {
	_, fields := pageForm(a)
	return fields.Get("session")
}

// Everywhere takes the password, and ends this browser too.
func TestAccount_EndEverywhere(t *testing.T) {
	forEachBrowser(t, func(t *testing.T, k *kit) {
		b := k.browser()
		b.enter("anna")
		phone := k.signIn("anna")
		page := b.get("/account/end-everywhere")
		k.wantPage("asks", page, 200, "All your 2 devices are signed out")
		for _, wrong := range []string{"wrong", ""} {
			k.wantPage("wrong", b.submit(page, "password", wrong), 400, "That is not your current password.")
		}
		if !k.active(phone.str("access_token")) || b.signedInAs() != "anna" {
			t.Error("without the password")
		}
		if _, _, err := k.store.CreateWebhook(t.Context(), "https://hook.example", nil, models.Actor{}); err != nil {
			t.Fatal(err)
		}
		k.wantText("out", b.submit(page, "password", testPassword), "2 devices are out.", "0 of 1 app told so far")
		if c := b.cookie(sessionCookie); c.MaxAge >= 0 || k.active(phone.str("access_token")) || b.signedInAs() != "" {
			t.Error("not everything is out")
		}
		if a := b.submit(page, "password", testPassword); a.status != 303 || !strings.HasPrefix(a.header.Get("Location"), "/sign-in") {
			t.Errorf("out already: %d %v", a.status, a.header)
		}
	})
}

// The page of what happened says it in sentences, the newest first, of oneself alone, and with a way to end it.
func TestAccount_Security(t *testing.T) {
	forEachBrowser(t, func(t *testing.T, k *kit) {
		k.user("ben")
		b := k.browser()
		b.enter("anna")
		k.signIn("ben", "device_name", "Ben’s")
		phone := k.signIn("anna", "device_name", "Phone")
		for range 2 {
			k.form("/oauth2/token", "grant_type", "password", "client_id", "web", "username", "anna", "password", "wrong")
		}
		stolen := k.signIn("anna", "device_name", "Stolen")
		k.refresh(k.refresh(stolen.str("refresh_token")).str("refresh_token"))
		k.refresh(stolen.str("refresh_token"))
		page := b.get(pathSecurity)
		k.wantText("events", page,
			"A used key of Stolen came back from 127.0.0.1", "A new device, Stolen, signed in to web from 127.0.0.1",
			"Somebody tried 2 wrong passwords for your account from 127.0.0.1.",
			"A new device, Firefox on Linux, signed in to Curfew", "Your account was made.", "At least 8 characters")
		if strings.Contains(text(page), "Ben") || strings.Count(text(page), "This wasn’t me") != 1 {
			t.Errorf("%s", text(page))
		}
		a := b.send("/account/not-me", "device", phone.str("device_id"))
		k.wantText("not me", b.follow(a), "That device is signed out. If somebody knows your password, change it now.", "You signed out Phone.")
		if !strings.HasPrefix(a.header.Get("Location"), pathSecurity) || k.active(phone.str("access_token")) {
			t.Errorf("%v", a.header)
		}
		k.wantPage("not there", b.send("/account/not-me", "device", k.signIn("ben").str("device_id")), 404, "That does not exist any more.")
		if a := b.send("/account/not-me", "device", b.get("/account").deviceHere()); a.header.Get("Location") != "/sign-out" {
			t.Errorf("%d %v", a.status, a.header)
		}
		k.wantPage("cursor", b.get(pathSecurity+"?cursor=x"), 400, "We cannot use this link")
	})
}

// A changed password ends all else, and gives this browser a new cookie; the one before is worth nothing.
func TestAccount_Password(t *testing.T) {
	forEachBrowser(t, func(t *testing.T, k *kit) {
		b := k.browser()
		b.enter("anna")
		phone, old := k.signIn("anna"), b.clone()
		change := func(current, next string) *answer {
			return b.send("/account/password", "current_password", current, "new_password", next)
		}
		k.wantPage("wrong", change("wrong", "a better one it is"), 400, "That is not your current password.")
		k.wantPage("easy", change(testPassword, "password"), 400, "That new password is too easy to guess")
		if !k.active(phone.str("access_token")) || b.signedInAs() != "anna" {
			t.Error("nothing has changed")
		}
		a := change(testPassword, "a better one it is")
		if c := b.cookie(sessionCookie); c.MaxAge <= 0 || c.Value == old.cookies[sessionCookie] {
			t.Errorf("the cookie is not new: %v", c)
		}
		k.wantText("changed", b.follow(a), "Your password is changed, and your other devices are signed out.", "You changed your password from 127.0.0.1")
		if k.active(phone.str("access_token")) || b.signedInAs() != "anna" || old.signedInAs() != "" {
			t.Error("everything else is out, and this browser is not")
		}
		shared := k.browser()
		shared.submit(shared.get("/sign-in"), "username", "anna", "password", "a better one it is", "shared", "1")
		b = shared
		change("a better one it is", testPassword)
		if c := b.cookie(sessionCookie); c.Value == "" || c.MaxAge != 0 {
			t.Errorf("a shared computer keeps its cookie: %v", c)
		}
	})
}

// Receipts fill in: the page asks for them, and only for those of its own user.
func TestAccount_Receipt(t *testing.T) {
	forEachBrowser(t, func(t *testing.T, k *kit) {
		k.user("ben")
		b, ben := k.browser(), k.browser()
		b.enter("anna")
		ben.enter("ben")
		ack := func(seq string) {
			if a := k.bearer("POST", "/oauth2/revocations/ack", k.apiToken(), `{"subscriber":"slow","seq":`+seq+`}`); a.status != 204 {
				t.Fatalf("%d %s", a.status, a.body)
			}
		}
		ack("0")
		phone := k.signIn("anna")
		a := b.send("/account/end", "device", phone.str("device_id"))
		page, location := b.follow(a), a.header.Get("Location")
		seq := strings.TrimPrefix(location, "/account?receipt=")
		k.wantText("one is missing", page, "0 of 1 service confirmed so far.", "Waiting for 1 service; what it still accepts ends by", "Look again")
		if strings.Contains(string(page.body), "slow") || !strings.Contains(string(page.body), `data-receipt-url="/account/receipts/`+seq+`"`) {
			t.Errorf("%s", page.body)
		}
		state := b.get("/account/receipts/" + seq)
		if state.json["done"] != false || state.str("text") == "" {
			t.Errorf("%s", state.body)
		}
		ack(seq)
		if state = b.get("/account/receipts/" + seq); state.json["done"] != true || !strings.HasPrefix(state.str("text"), "Out. 1 of 1 service confirmed") {
			t.Errorf("%s", state.body)
		}
		for what, a := range map[string]*answer{
			"another's": ben.get("/account/receipts/" + seq), "nobody's": k.browser().get("/account/receipts/" + seq),
			"no number": b.get("/account/receipts/x"), "none": b.get("/account/receipts/999999"),
		} {
			k.wantPage(what, a, 404, "There is nothing here")
		}
		k.wantText("another's in the page", ben.follow(a), "It was signed out already.")
		for _, site := range []string{"cross-site", "none", "same-site"} {
			a := b.do("GET", location+"&notice=password_changed", "", "Sec-Fetch-Site", site)
			if strings.Contains(text(a), "Out.") || strings.Contains(text(a), "Your password is changed") {
				t.Errorf("%s makes us say: %s", site, text(a))
			}
		}
	})
}
