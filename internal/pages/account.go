package pages

import (
	"fmt"
	"html/template"
	"slices"
	"time"
)

// Device is a device of the reader.
type Device struct {
	ID        string
	Name      string
	App       string // the client's name; of a browser session it is not shown
	Platform  string // what a person would call it: "Firefox on Linux"
	Address   string
	FirstSeen time.Time
	LastSeen  time.Time
	Expires   time.Time // when it ends by itself unless it is used; zero: never
	Current   bool      // the browser that shows the page
	Browser   bool      // a browser session; Children were signed in through it
	Bound     bool      // bound to a key
	Stays     bool      // it has the scope offline_access: it stays when the browser session goes that it is a child of
	Children  []Device
}

// Ended is a device that is out.
type Ended struct {
	Name     string
	App      string
	Platform string
	At       time.Time
	Address  string // from where it was ended, or the replay came
	// Reason is the revocation's, or expired. Texts: ended.* in texts/en.json. One without a text reads "It was signed
	// out."
	Reason string
}

// Account is /account, "Your devices". The first device is the browser that shows it. Its forms:
//
//	POST /account/rename      session, device, name
//	POST /account/end         session, device
//	POST /account/end-others  session
//	GET  /account/end-everywhere    the page [EndEverywhere]
type Account struct {
	Username string
	Session  string // names the browser session that the page shows; all forms of the account carry it
	Devices  []Device
	Ended    []Ended
	More     bool // there are more ended ones than these
	Receipt  *Receipt
	Notice   Notice
	Problem  *Problem
}

func (p Account) frame() frame {
	return frame{name: "account", shell: "account", section: "devices", user: p.Username}
}

// Others is how many devices "all others" would sign out: all but this browser.
func (p Account) Others() (n int) {
	for _, d := range p.Devices {
		if !d.Current {
			n++
		}
		n += len(d.Children)
	}
	return n
}

// Elsewhere tells whether there are devices beside this browser and what was signed in through it.
func (p Account) Elsewhere() bool {
	return slices.ContainsFunc(p.Devices, func(d Device) bool { return !d.Current })
}

// EndEverywhere asks for the password before everything is signed out. Its form:
//
//	POST /account/end-everywhere    session, password
type EndEverywhere struct {
	Username string
	Session  string
	Devices  int // how many go
	Problem  *Problem
}

func (p EndEverywhere) frame() frame {
	return frame{name: "end-everywhere", shell: "account", section: "devices", user: p.Username}
}

// Event is something that happened to the reader's account.
type Event struct {
	// Type is the audit event's; see event.* in texts/en.json: signed_in (a device for the first time),
	// signed_in_again, revoked, refresh_token_reuse, refresh_token_retried, wrong_password, limit_reached,
	// password_changed, device_renamed. One without a text is shown as it is.
	Type     string
	Level    string // of revoked: device or user
	Reason   string // likewise
	At       time.Time
	Device   string // its name
	DeviceID string // set while it is signed in: then "this wasn't me" can end it
	App      string
	Platform string
	Address  string
	Before   string // the other address: of a replay or a retry, the one that had the token before
	By       string // user, admin, policy, system
	Count    int    // of merged events: 3 wrong passwords
}

// Security is /account/security: what happened lately, and the password. Its forms:
//
//	POST /account/password    session, current_password, new_password
//	POST /account/not-me      session, device
type Security struct {
	Username    string
	Session     string
	Events      []Event
	Next        string // the cursor of the next page: ?cursor=
	MinPassword int    // how many characters a password needs
	Receipt     *Receipt
	Notice      Notice
	Problem     *Problem // about the password
}

func (p Security) frame() frame {
	return frame{name: "security", shell: "account", section: "security", user: p.Username}
}

// endedSentence is how a device ended, in a full sentence.
func (p *Pages) endedSentence(l *language, e Ended) (template.HTML, error) {
	key := "ended." + e.Reason
	if !l.has(key) {
		key = "ended.other"
	}
	if e.Address == "" && l.has(key+".unknown") {
		key += ".unknown"
	}
	return l.text(key, "address", wrap("code")(e.Address))
}

// eventSentence is what happened, in a full sentence.
func (p *Pages) eventSentence(l *language, e Event) (template.HTML, error) {
	key := "event." + e.Type
	if e.Level == "user" { // a sign-out of all that there was
		key += "_all"
	}
	base := key
	for _, part := range []string{e.By, e.Reason} {
		if longer := base + "." + part; l.has(longer) {
			key = longer
		}
	}
	if !l.has(key) {
		return wrap("code")(e.Type), nil
	}
	app := e.App
	if app == "" {
		app = p.name
	}
	device := wrap("strong")(e.Device)
	if e.Device == "" {
		device = template.HTML(template.HTMLEscapeString(l.plain("device.forgotten")))
	}
	return l.text(key, "device", device, "app", app, "platform", e.Platform,
		"address", l.address(e.Address), "before", l.address(e.Before), "n", max(e.Count, 1))
}

// address is one, or that it is not known.
func (l *language) address(a string) template.HTML {
	if a == "" {
		return template.HTML(template.HTMLEscapeString(l.plain("address.unknown")))
	}
	return template.HTML(fmt.Sprintf("<code>%s</code>", template.HTMLEscapeString(a)))
}

// Tone is how an event is marked: warn for what a reader should look at.
func (e Event) Tone() string {
	switch e.Type {
	case "refresh_token_reuse", "refresh_token_retried", "wrong_password", "limit_reached", "code_reuse":
		return "warn"
	case "signed_in":
		return "new"
	}
	return ""
}
