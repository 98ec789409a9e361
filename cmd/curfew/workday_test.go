package main

import (
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"curfew/internal/testdb"
)

// signOutJSON is what every sign-out prints.
type signOutJSON struct {
	Revocation *struct {
		Seq              int64   `json:"seq"`
		Level            string  `json:"level"`
		Subject          *string `json:"subject"`
		ValidFrom        string  `json:"valid_from"`
		Reason           string  `json:"reason"`
		InitiatingEntity string  `json:"initiating_entity"`
		Actor            string  `json:"actor"`
		CreatedAt        string  `json:"created_at"`
		ExpiresAt        string  `json:"expires_at"`
	} `json:"revocation"`
	Count   *int `json:"count"`
	Applied *struct {
		Subscribers  int      `json:"subscribers"`
		Acknowledged int      `json:"acknowledged"`
		SlowestMS    int64    `json:"slowest_ms"`
		Missing      []string `json:"missing"`
	} `json:"applied"`
	Told *struct {
		Receivers int `json:"receivers"`
		Answered  int `json:"answered"`
		Pending   int `json:"pending"`
		Failed    int `json:"failed"`
	} `json:"told"`
}

// listed is what the lists have in common, and what the test looks at; times are text in JSON.
type listed struct {
	ID         string   `json:"id"`
	KID        string   `json:"kid"`
	Purpose    string   `json:"purpose"`
	Name       string   `json:"name"`
	Username   string   `json:"username"`
	ClientID   string   `json:"client_id"`
	Status     string   `json:"status"`
	Admin      bool     `json:"admin"`
	Disabled   bool     `json:"disabled"`
	Public     bool     `json:"public"`
	Introspect bool     `json:"introspect"`
	Grants     []string `json:"grants"`
	RetiresAt  *string  `json:"retires_at"`
}

// signOut runs a command that signs out.
func (b *box) signOut(args ...string) (out signOutJSON) {
	b.t.Helper()
	b.json(&out, "", args...)
	if out.Revocation == nil {
		b.t.Fatalf("curfew %q: no revocation", args)
	}
	return out
}

// count is how many devices it says are out; -1 if it does not.
func (o signOutJSON) count() int {
	if o.Count == nil {
		return -1
	}
	return *o.Count
}

// list runs a command whose JSON has more fields than the test looks at.
func (b *box) list(v any, args ...string) {
	b.t.Helper()
	text := b.run("", append(args, "--json")...)
	if err := json.Unmarshal([]byte(text), v); err != nil {
		b.t.Fatalf("%v in: %s", err, text)
	}
}

// workday is an operator's, beside a running server.
type workday struct {
	*box
	server        *running
	apiSecret     string
	phone, laptop tokens
}

const (
	changedPassword = "Noch-ein-Waldgeist 18"
	givenSecret     = "a-secret-of-our-own-choice"
)

// Ensure an operator's day on the command line works beside a running server, that all JSON is what it shall be, and
// that no secret is written anywhere.
func TestCommands(t *testing.T) {
	testdb.Each(t, func(t *testing.T, url string) {
		b := newBox(t, url)
		d := &workday{box: b, apiSecret: b.furnish()}
		d.server = b.serve()
		for _, part := range []func(){d.refusals, d.devices, d.levels, d.users, d.clients, d.rest} {
			part()
		}
		d.server.stop()
		said := b.all.String()
		for what, secret := range map[string]string{
			"password": testPassword, "new password": changedPassword, "server's secret": testSecret,
			"client secret from standard input": givenSecret,
			"access token":                      d.phone.Access, "refresh token": d.phone.Refresh,
			"refresh token of the laptop": d.laptop.Refresh,
		} {
			if strings.Contains(said, secret) {
				t.Errorf("the %s was written somewhere", what)
			}
		}
		if n := strings.Count(said, d.apiSecret); n != 1 {
			t.Errorf("a new client secret was shown %d times", n)
		}
	})
}

// refusals: what is wrong is said, and changes nothing.
func (d *workday) refusals() {
	d.t.Helper()
	var user struct {
		ID       uuid.UUID `json:"id"`
		Username string    `json:"username"`
	}
	d.json(&user, testPassword, "user", "add", "Boss", "--password-stdin", "--admin")
	if user.Username != "Boss" || user.ID == uuid.Nil {
		d.t.Errorf("user add: %+v", user)
	}
	d.run("", "user", "set", "boss", "--name", "The Boss", "--email", "boss@example.com", "--email-verified")
	d.refuse(2, "", []string{"user", "set", "boss"}, "--email-verified")
	d.refuse(2, "", []string{"user", "set", "boss", "--email", "boss"}, "must be an address")
	d.refuse(1, testPassword, []string{"user", "add", "ALICE", "--password-stdin"}, `user "ALICE" already`)
	d.refuse(2, testPassword, []string{"user", "add", "carol"}, "--password-stdin")
	d.refuse(2, "", []string{"user", "add", "carol", "--password-stdin"}, "empty")
	d.refuse(1, "short\n", []string{"user", "add", "carol", "--password-stdin"}, "at least 8")
	d.refuse(1, testPassword, []string{"user", "disable", "carol"}, `no user "carol"`)
	d.refuse(2, "", []string{"client", "add", "bad", "--grants", "magic"}, "magic")
	d.refuse(1, "", []string{"client", "add", "web", "--grants", "password"}, `client "web" already`)
	d.refuse(2, "", []string{"device", "revoke", "x"}, "GUID")
	d.refuse(2, "", []string{"device", "revoke", uuid.Nil.String()}, "GUID") // not any device, and not all
	d.refuse(2, "", []string{"device", "rename", uuid.Nil.String(), "x"}, "GUID")
	d.refuse(1, "", []string{"device", "revoke", uuid.NewString()}, "no device")
}

// devices are listed, renamed and signed out: the second time one is out already, and there is no new event.
func (d *workday) devices() {
	d.t.Helper()
	d.phone, d.laptop = d.server.signIn(), d.server.signIn()
	var devices []listed
	d.list(&devices, "device", "list", "--user", "alice", "--status", "active")
	if len(devices) != 2 || devices[0].Username != "alice" || devices[0].ClientID != "web" ||
		devices[0].Status != "active" {
		d.t.Fatalf("device list: %+v", devices)
	}
	var device listed
	d.list(&device, "device", "rename", d.phone.DeviceID, "Alice's phone")
	if device.Name != "Alice's phone" || device.ID != d.phone.DeviceID {
		d.t.Errorf("device rename: %+v", device)
	}
	if table := d.run("", "device", "list"); !strings.Contains(table, "Alice's phone") || strings.Count(table, "\n") != 3 {
		d.t.Errorf("device list: %s", table)
	}

	// One device, twice: the second time it is out already, and there is no new event.
	out := d.signOut("device", "revoke", d.phone.DeviceID)
	again := d.signOut("revoke", "device", d.phone.DeviceID)
	if out.Revocation.Level != "device" || out.Revocation.Actor != "cli" || out.count() != 1 || out.Applied == nil {
		d.t.Errorf("device revoke: %+v", out)
	}
	if again.Revocation.Seq != out.Revocation.Seq || again.count() != 0 {
		d.t.Errorf("device revoke, again: %+v", again)
	}
	if status, _ := d.server.token("grant_type", "refresh_token", "client_id", "web", "refresh_token",
		d.phone.Refresh); status != http.StatusBadRequest {
		d.t.Errorf("refresh of a revoked device: %d", status)
	}
	status, laptop := d.server.token("grant_type", "refresh_token", "client_id", "web", "refresh_token", d.laptop.Refresh)
	if status != http.StatusOK {
		d.t.Errorf("refresh of the other device: %d", status)
	}
	d.laptop = laptop
}

// levels: a user, a client, everyone.
func (d *workday) levels() {
	d.t.Helper()
	if line := d.run("", "revoke", "user",
		"alice"); line != "user alice: 1 device out; no server follows the revocation feed\n" {
		d.t.Errorf("revoke user: %q", line)
	}
	if status, _ := d.server.do(http.MethodGet, d.server.public+"/settings/devices", d.laptop.Access,
		nil); status != http.StatusUnauthorized {
		d.t.Errorf("access token of a user who was signed out: %d", status)
	}
	out := d.signOut("revoke", "client", "web", "--wait", "0s")
	if out.Revocation.Level != "client" || *out.Revocation.Subject != "web" || out.Applied != nil {
		d.t.Errorf("revoke client: %+v %+v", out.Revocation, out.Applied)
	}
	d.refuse(1, "", []string{"revoke", "client", "nobody"}, `no client "nobody"`)
	d.refuse(2, "", []string{"revoke", "everyone"}, "--yes")
	out = d.signOut("revoke", "everyone", "--yes")
	if out.Revocation.Level != "everyone" || out.Revocation.Subject != nil {
		d.t.Errorf("revoke everyone: %+v", out)
	}
}

// unlock lifts what ten wrong passwords have brought.
func (d *workday) unlock() {
	d.t.Helper()
	attempt := func(password string) int {
		status, _ := d.server.token("grant_type", "password", "client_id", "web", "username", "alice", "password", password)
		return status
	}
	for range 10 {
		attempt("wrong")
	}
	if status := attempt(changedPassword); status != http.StatusTooManyRequests {
		d.t.Errorf("after ten wrong passwords: %d", status)
	}
	if line := d.run("", "user", "unlock", "alice"); line != "user alice: unlocked; of the limits 1 were reached\n" {
		d.t.Errorf("user unlock: %q", line)
	}
	status := attempt(changedPassword)
	for range 100 { // the server remembers it for a moment
		if status == http.StatusOK {
			break
		}
		time.Sleep(50 * time.Millisecond)
		status = attempt(changedPassword)
	}
	if status != http.StatusOK {
		d.t.Errorf("after user unlock: %d", status)
	}
	d.refuse(1, "", []string{"user", "unlock", "nobody"}, `no user "nobody"`)
}

// users are disabled and enabled, and get another password or the admin flag.
func (d *workday) users() {
	d.t.Helper()
	d.server.signIn()
	out := d.signOut("user", "disable", "alice")
	if out.Revocation.Reason != "user_disabled" || out.count() != 1 {
		d.t.Errorf("user disable: %s, %d devices", out.Revocation.Reason, out.count())
	}
	if status, got := d.server.token("grant_type", "password", "client_id", "web", "username", "alice", "password",
		testPassword); status != http.StatusBadRequest || got.Error != "invalid_grant" {
		d.t.Errorf("sign-in of a disabled user: %d %+v", status, got)
	}
	if line := d.run("", "user", "enable", "alice"); line != "user alice: enabled\n" {
		d.t.Errorf("user enable: %q", line)
	}
	d.server.signIn()
	if line := d.run(changedPassword+"\n", "user", "passwd", "alice", "--password-stdin"); !strings.HasPrefix(line,
		"user alice: password changed, 1 device out;") {
		d.t.Errorf("user passwd: %q", line)
	}
	if status, _ := d.server.token("grant_type", "password", "client_id", "web", "username", "alice", "password",
		changedPassword); status != http.StatusOK {
		d.t.Errorf("sign-in with the new password: %d", status)
	}
	for _, wrong := range [][]string{{}, {"--on", "--off"}} {
		d.refuse(2, "", append([]string{"user", "admin", "alice"}, wrong...), "--off")
	}
	if line := d.run("", "user", "admin", "alice", "--on"); line != "user alice: an admin\n" {
		d.t.Errorf("user admin --on: %q", line)
	}
	out = d.signOut("user", "admin", "alice", "--off")
	if out.Revocation.Reason != "admin_removed" || out.count() != 1 {
		d.t.Errorf("user admin --off: %s, %d devices", out.Revocation.Reason, out.count())
	}
	if line := d.run("", "user", "admin", "alice", "--off"); line != "user alice: no admin\n" {
		d.t.Errorf("user admin --off of somebody who is none: %q", line)
	}
	d.unlock()
	var users []listed
	d.list(&users, "user", "list")
	if len(users) != 2 || users[0].Username != "alice" || users[0].Disabled || !users[1].Admin {
		d.t.Errorf("user list: %+v", users)
	}
	d.run("", "user", "list")
}

// clients get new secrets, and are deleted like users.
func (d *workday) clients() {
	d.t.Helper()
	var api struct {
		ClientID     string `json:"client_id"`
		ClientSecret string `json:"client_secret"`
	}
	d.json(&api, "", "client", "secret", "api")
	if api.ClientSecret == d.apiSecret || len(api.ClientSecret) < 26 {
		d.t.Error("client secret: it is the old one, or short")
	}
	if line := d.run(givenSecret+"\n", "client", "secret", "api",
		"--secret-stdin"); line != "client api: has a new secret\n" {
		d.t.Errorf("client secret --secret-stdin: %q", line)
	}
	if status, _ := d.server.token("grant_type", "client_credentials", "client_id", "api", "client_secret",
		givenSecret); status != http.StatusOK {
		d.t.Errorf("the new client secret: %d", status)
	}
	for _, old := range []string{d.apiSecret, api.ClientSecret} {
		if status, _ := d.server.token("grant_type", "client_credentials", "client_id", "api", "client_secret",
			old); status != http.StatusUnauthorized {
			d.t.Errorf("an old client secret: %d", status)
		}
	}
	var clients []listed
	d.list(&clients, "client", "list")
	if len(clients) != 2 || clients[0].ClientID != "api" || !clients[0].Introspect || !clients[1].Public ||
		len(clients[1].Grants) != 2 {
		d.t.Errorf("client list: %+v", clients)
	}
	d.run("", "client", "list")
	out := d.signOut("client", "delete", "web")
	if out.Revocation.Reason != "client_deleted" {
		d.t.Errorf("client delete: %+v", out)
	}
	out = d.signOut("user", "delete", "alice")
	if out.Revocation.Reason != "user_deleted" {
		d.t.Errorf("user delete: %+v", out)
	}
}

// ofAccess are the keys of access tokens; those of identity turn with them.
func ofAccess(keys []listed) []listed {
	return slices.DeleteFunc(keys, func(k listed) bool { return k.Purpose != "access" })
}

// rest: keys, clean-up, version.
func (d *workday) rest() {
	d.t.Helper()
	var keys []listed
	var rotated listed
	d.list(&rotated, "keys", "rotate")
	d.list(&keys, "keys", "list")
	keys = ofAccess(keys)
	if len(keys) != 2 || keys[0].KID != rotated.KID || keys[0].RetiresAt != nil || keys[1].RetiresAt == nil {
		d.t.Errorf("keys list: %+v", keys)
	}
	d.run("", "keys", "list")
	d.run("", "keys", "rotate", "--now")
	var cleaned map[string]int64
	d.json(&cleaned, "", "cleanup")
	if _, ok := cleaned["devices"]; !ok {
		d.t.Errorf("cleanup: %+v", cleaned)
	}
	d.run("", "cleanup")
	var v map[string]string
	d.json(&v, "", "version")
	if v["version"] == "" {
		d.t.Error("version: none")
	}
}
