package pages

import (
	"html/template"
	"net/url"
	"strings"
	"time"
)

// Console is what every page of the console has. Its pages live below /console/ on the admin listener.
type Console struct {
	Admin   string // who is signed in
	Session string // the browser session: each form says for whom it was shown
	API     string // the admin listener's address for the curl lines: http://127.0.0.1:8081
	Receipt *Receipt
	Notice  Notice
	Problem *Problem
}

func (c Console) page(name, section string) frame {
	return frame{name: name, shell: "console", section: section, user: c.Admin}
}

// StepUp asks for the password again before something that makes credentials or ends many. Its form posts the hidden
// fields and
//
//	POST /console/step-up    password
type StepUp struct {
	Console
	Fields []Field // what to go on with
}

func (p StepUp) frame() frame { return p.page("console-step-up", "") }

// DeviceFilter is the filter of the devices, with the names of the admin API.
type DeviceFilter struct {
	Q, Username, UserID, ClientID, Status, IP string
}

func (f DeviceFilter) values() url.Values {
	return nonEmpty("q", f.Q, "username", f.Username, "user_id", f.UserID, "client_id", f.ClientID,
		"status", f.Status, "ip", f.IP)
}

// Any tells whether the filter selects.
func (f DeviceFilter) Any() bool { return f != DeviceFilter{} }

// Fields are the filter as hidden fields.
func (f DeviceFilter) Fields() []Field {
	return []Field{
		{"q", f.Q},
		{"username", f.Username},
		{"user_id", f.UserID},
		{"client_id", f.ClientID},
		{"status", f.Status},
		{"ip", f.IP},
	}
}

// nonEmpty takes names and values in turn.
func nonEmpty(pairs ...string) url.Values {
	v := url.Values{}
	for i := 0; i+1 < len(pairs); i += 2 {
		if pairs[i+1] != "" {
			v.Set(pairs[i], pairs[i+1])
		}
	}
	return v
}

// address is a path of this server with a query.
func address(path string, v url.Values) template.URL {
	if len(v) == 0 {
		return template.URL(path)
	}
	return template.URL(path + "?" + v.Encode())
}

func withCursor(v url.Values, cursor string) url.Values {
	v.Set("cursor", cursor)
	return v
}

// DeviceRow is a device as an admin sees it.
type DeviceRow struct {
	ID, Name         string
	UserID, Username string
	ClientID, Client string
	Platform         string
	UserAgent        string
	Address          string
	Scope            string
	Status           string // active, revoked, expired
	ParentID         string
	FirstSeen        time.Time
	SignedIn         time.Time
	LastSeen         time.Time
	Expires          time.Time
}

// ConsoleDevices is /console/devices: the filter is its query. Its forms:
//
//	GET  /console/devices                  the filter, cursor
//	GET  /console/devices/end              the filter: the page [ConsoleEnd]
//	POST /console/devices/ID/end           back (the address to return to)
type ConsoleDevices struct {
	Console
	Filter  DeviceFilter
	Devices []DeviceRow
	Next    string // cursor
}

func (p ConsoleDevices) frame() frame { return p.page("console-devices", "devices") }

// Here, EndURL and NextURL are the addresses of this list, of signing out what it shows, and of its next page.
func (p ConsoleDevices) Here() template.URL { return address("/console/devices", p.Filter.values()) }

// EndURL is where to sign out what the list selects.
func (p ConsoleDevices) EndURL() template.URL {
	return address("/console/devices/end", p.Filter.values())
}

// NextURL is the next page.
func (p ConsoleDevices) NextURL() template.URL {
	return address("/console/devices", withCursor(p.Filter.values(), p.Next))
}

// ConsoleDevice is /console/devices/ID. Its forms:
//
//	POST /console/devices/ID/rename    name
//	POST /console/devices/ID/end
type ConsoleDevice struct {
	Console
	Device      DeviceRow
	Children    []DeviceRow // signed in through it
	Events      []AuditRow
	Revocations []RevocationRow
}

func (p ConsoleDevice) frame() frame { return p.page("console-device", "devices") }

// ConsoleEnd asks before what a filter selects is signed out: the number has to be typed. Its form:
//
//	POST /console/devices/end    the filter, expected (the number shown), count (the number typed)
type ConsoleEnd struct {
	Console
	Filter DeviceFilter
	Count  int         // from a dry run
	Sample []DeviceRow // some of them
}

func (p ConsoleEnd) frame() frame { return p.page("console-end", "devices") }

// Terms are the filter's parts that select.
func (p ConsoleEnd) Terms() (list []Field) {
	for _, f := range p.Filter.Fields() {
		if f.Value != "" {
			list = append(list, f)
		}
	}
	return list
}

// ListURL is the list that it came from.
func (p ConsoleEnd) ListURL() template.URL { return address("/console/devices", p.Filter.values()) }

// ConsoleEveryone is /console/everyone. Its form:
//
//	POST /console/everyone    confirm (the word everyone)
type ConsoleEveryone struct {
	Console
}

func (p ConsoleEveryone) frame() frame { return p.page("console-everyone", "devices") }

// UserRow is a user as an admin sees it.
type UserRow struct {
	ID, Username  string
	Name, Email   string
	EmailVerified bool
	Admin         bool
	Disabled      time.Time // zero: not disabled
	Created       time.Time
	Locked        []Lock
}

// Lock is an address from which no more passwords are taken for a user.
type Lock struct {
	Address string // empty: from every address that the user is not known at
	Until   time.Time
}

// ConsoleUsers is /console/users?prefix=. Its form:
//
//	GET /console/users    prefix, cursor
type ConsoleUsers struct {
	Console
	Prefix string
	Users  []UserRow
	Next   string
}

func (p ConsoleUsers) frame() frame { return p.page("console-users", "users") }

// NextURL is the next page.
func (p ConsoleUsers) NextURL() template.URL {
	return address("/console/users", withCursor(nonEmpty("prefix", p.Prefix), p.Next))
}

// ConsoleUserNew is /console/users/new. Its form:
//
//	POST /console/users    username, password, name, email, admin (1)
type ConsoleUserNew struct {
	Console
	User UserRow // as typed
}

func (p ConsoleUserNew) frame() frame { return p.page("console-user-new", "users") }

// ConsoleUser is /console/users/ID. Its forms, below /console/users/ID:
//
//	POST /profile     username, name, email, email_verified (1)
//	POST /password    password
//	POST /admin       admin (1 or 0)
//	POST /disable     POST /enable    POST /unlock    POST /end
//	POST /delete      confirm (the user name)
type ConsoleUser struct {
	Console
	User    UserRow
	Devices []DeviceRow
	More    bool // there are more devices
	Events  []AuditRow
}

func (p ConsoleUser) frame() frame { return p.page("console-user", "users") }

// FollowerRow is a subscriber of the revocation feed.
type FollowerRow struct {
	ClientID, Name string
	Live           bool
	Acknowledged   int64 // the sequence number
	At             time.Time
	Behind         int64 // events that it has not applied
	Slowest        time.Duration
}

// ConsoleFollowers is /console/followers. Its form:
//
//	POST /console/followers/forget    client_id, name
type ConsoleFollowers struct {
	Console
	Last      int64 // the newest sequence number
	Followers []FollowerRow
	Next      string // the cursor of the next page; empty on the last
}

func (p ConsoleFollowers) frame() frame { return p.page("console-followers", "followers") }

// RevocationRow is an event of the revocation log.
type RevocationRow struct {
	Seq         int64
	Level       string // device, user, client, everyone
	Subject     string // the id
	SubjectName string // what it is called, if it is known
	Reason      string
	Entity      string // user, admin, policy, system
	Actor       string
	At          time.Time
	ValidFrom   time.Time
}

// SubjectURL is the page of what was signed out, if there is one.
func (r RevocationRow) SubjectURL() string {
	if r.Subject == "" || !strings.Contains(" device user client ", " "+r.Level+" ") {
		return ""
	}
	return "/console/" + r.Level + "s/" + url.PathEscape(r.Subject)
}

// RevocationFilter has the names of the admin API.
type RevocationFilter struct {
	Level, Subject, Reason string
}

func (f RevocationFilter) values() url.Values {
	return nonEmpty("level", f.Level, "subject", f.Subject, "reason", f.Reason)
}

// Any tells whether the filter selects.
func (f RevocationFilter) Any() bool { return f != RevocationFilter{} }

// ConsoleRevocations is /console/revocations: the filter is its query.
type ConsoleRevocations struct {
	Console
	Filter      RevocationFilter
	Revocations []RevocationRow
	Next        string
}

func (p ConsoleRevocations) frame() frame { return p.page("console-revocations", "revocations") }

// NextURL is the next page.
func (p ConsoleRevocations) NextURL() template.URL {
	return address("/console/revocations", withCursor(p.Filter.values(), p.Next))
}

// Confirmation is what is known of an event at one follower.
type Confirmation struct {
	ClientID, Name string
	Live           bool
	Acknowledged   bool
	At             time.Time     // zero: long ago
	After          time.Duration // the event's commit; only with At
}

// ConsoleRevocation is /console/revocations/SEQ. The receipt is that of [Console], its URL
// /console/revocations/SEQ/receipt.
type ConsoleRevocation struct {
	Console
	Revocation    RevocationRow
	Confirmations []Confirmation
}

// Told is who had to be told of it; nil for nobody.
func (p ConsoleRevocation) Told() *Told {
	if p.Receipt == nil {
		return nil
	}
	return p.Receipt.Told
}

func (p ConsoleRevocation) frame() frame { return p.page("console-revocation", "revocations") }

// AuditRow is an event of the audit log.
type AuditRow struct {
	ID               int64
	At               time.Time
	Type             string // texts: audit.* in texts/en.json; one without a text is shown as it is
	Entity           string // who did it: user, admin, policy, system
	Actor            string
	UserID, Username string // whom it is about
	ClientID, Client string
	DeviceID, Device string
	Address, Agent   string
	Reason, Level    string
	Seq              int64

	// Of a replay or a retry from elsewhere: where the device itself was. The two are shown side by side.
	BeforeAddress, BeforeAgent string
	BeforeAt                   time.Time
	Details                    []Detail // the rest, as it is
}

// AuditFilter has the names of the admin API; From and To as they were typed.
type AuditFilter struct {
	Type, UserID, ClientID, DeviceID, Actor, IP, From, To string
}

func (f AuditFilter) values() url.Values {
	return nonEmpty("type", f.Type, "user_id", f.UserID, "client_id", f.ClientID, "device_id", f.DeviceID,
		"actor", f.Actor, "ip", f.IP, "from", f.From, "to", f.To)
}

// Any tells whether the filter selects.
func (f AuditFilter) Any() bool { return f != AuditFilter{} }

// ConsoleEvents is /console/events, the audit log: the filter is its query.
type ConsoleEvents struct {
	Console
	Filter AuditFilter
	Types  []string // that may be chosen
	Events []AuditRow
	Next   string
}

func (p ConsoleEvents) frame() frame { return p.page("console-events", "events") }

// NextURL is the next page.
func (p ConsoleEvents) NextURL() template.URL {
	return address("/console/events", withCursor(p.Filter.values(), p.Next))
}

// auditSentence is what happened, in a full sentence, for an admin.
func (l *language) auditSentence(e AuditRow) (template.HTML, error) {
	key := "audit." + e.Type
	if !l.has(key) {
		return wrap("code")(e.Type), nil
	}
	if level := key + "." + e.Level; l.has(level) {
		key = level
	}
	if self := key + ".self"; e.Actor != "" && e.Actor == e.Username && l.has(self) {
		key = self
	}
	name := func(s, id string) template.HTML {
		if s == "" {
			s = id
		}
		if s == "" {
			return template.HTML(template.HTMLEscapeString(l.plain("audit.nobody")))
		}
		return wrap("strong")(s)
	}
	return l.text(key, "user", name(e.Username, e.UserID), "device", name(e.Device, e.DeviceID),
		"client", name(e.Client, e.ClientID), "actor", name(e.Actor, e.Entity))
}
