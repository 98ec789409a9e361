package main

import (
	"bufio"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"curfew/internal/need"
	"curfew/internal/visit"
	"curfew/models"
)

// block is a marked piece of code in a page: `run: NAME`, or `file: PATH`, whose content it is.
var block = regexp.MustCompile("(?ms)^<!-- (run|file): (\\S+) -->\n```\\w+\n(.*?)^```$")

// codeOf is the code of a page of docs/ that is marked so.
func codeOf(t *testing.T, page, kind, name string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("..", "..", "docs", page))
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range block.FindAllStringSubmatch(string(text), -1) {
		if m[1] == kind && m[2] == name {
			return m[3]
		}
	}
	t.Fatalf("docs/%s has no %q", page, name)
	return ""
}

// writeCode puts code of a page into a folder.
func writeCode(t *testing.T, dir, page, name string) (path string) {
	t.Helper()
	path = filepath.Join(dir, name)
	if err := os.WriteFile(path, []byte(codeOf(t, page, "run", name)), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// The module that the page shows is the one that the demo has.
func TestApps_Module(t *testing.T) {
	const name = "cmd/curfew-demo/web/curfew.js"
	text, err := os.ReadFile(filepath.Join("..", "..", filepath.FromSlash(name)))
	if err != nil {
		t.Fatal(err)
	}
	if codeOf(t, "apps-spa.md", "file", name) != string(text) {
		t.Errorf("docs/apps-spa.md shows another %s", name)
	}
}

// device is how the settings API shows one.
type device struct {
	ID       string
	ClientID string `json:"client_id"`
	Name     string
	Current  bool
}

// devices are anna's that are signed in, in one app.
func (k *kit) devices(client string) []models.DeviceInfo {
	k.Helper()
	filter := models.DeviceFilter{ClientID: client, Status: "active"}
	list, _, err := k.store.ListDevices(k.Context(), filter, models.Page{})
	if err != nil {
		k.Fatal(err)
	}
	return list
}

// desktop runs the program of the page, and signs anna in where it says.
func (k *kit) desktop(program, home string, args ...string) (out string, signedIn bool) {
	k.Helper()
	cmd := exec.CommandContext(k.Context(), program, args...)
	cmd.Env = []string{"ISSUER=" + k.issuer, "XDG_CONFIG_HOME=" + home, "HOME=" + home, "PATH=/nowhere"}
	stderr, err := cmd.StderrPipe()
	if err != nil {
		k.Fatal(err)
	}
	var stdout strings.Builder
	cmd.Stdout = &stdout
	if err := cmd.Start(); err != nil {
		k.Fatal(err)
	}
	var said []string
	for lines := bufio.NewScanner(stderr); lines.Scan(); {
		said = append(said, lines.Text())
		if page, ok := strings.CutPrefix(lines.Text(), "Sign in here: "); ok {
			signedIn = true
			answer, err := visit.New().SignIn(k.Context(), page, "anna", userPassword)
			if err != nil {
				k.Fatal(err)
			}
			res, err := http.Get(answer.String())
			if err != nil || res.StatusCode != http.StatusOK {
				k.Fatalf("%v, %v", res, err)
			}
			res.Body.Close()
		}
	}
	if err := cmd.Wait(); err != nil {
		k.Fatalf("%v: %q", err, said)
	}
	return stdout.String(), signedIn
}

// The desktop app signs in by code on a loopback port, refreshes at the next start, signs out, and stays one device.
func TestApps_Desktop(t *testing.T) {
	k := newKit(t)
	k.client(models.NewClient{
		ID: "shop-desktop", Public: true, Grants: []string{"authorization_code", "refresh_token"},
		Scopes: []string{"settings", "offline_access"}, RedirectURIs: []string{"http://127.0.0.1/callback"},
	})
	dir := t.TempDir()
	program := filepath.Join(dir, "desktop")
	source := writeCode(t, dir, "apps-desktop.md", "desktop.go")
	build := exec.CommandContext(t.Context(), "go", "build", "-o", program, source)
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	var id string
	for round := range 2 {
		for _, signsIn := range []bool{true, false} {
			out, signedIn := k.desktop(program, dir)
			var list struct{ Devices []device }
			if err := json.Unmarshal([]byte(out), &list); err != nil || signedIn != signsIn {
				t.Fatalf("signed in: %t; %s, %v", signedIn, out, err)
			}
			mine := k.devices("shop-desktop")
			if len(mine) != 1 || id != "" && mine[0].ID.String() != id {
				t.Fatalf("round %d: %+v, want %s alone", round, mine, id)
			}
			id = mine[0].ID.String()
		}
		if round == 0 {
			k.desktop(program, dir, "sign-out")
			if left := k.devices("shop-desktop"); len(left) != 0 {
				t.Fatalf("signed out: %+v", left)
			}
		}
	}
	// Signed out elsewhere.
	if _, err := k.store.Revoke(t.Context(), models.WholeUser(k.user.ID), models.ReasonRevoked,
		models.Actor{Entity: models.EntityAdmin}); err != nil {
		t.Fatal(err)
	}
	if out, signedIn := k.desktop(program, dir); !signedIn {
		t.Fatalf("signed out elsewhere, and still in: %s", out)
	}
}

// node runs a script of ours beside the page's code.
func (k *kit) node(dir string, env []string, args ...string) *exec.Cmd {
	k.Helper()
	cmd := exec.CommandContext(k.Context(), need.Program(k, "node", "node"), args...)
	cmd.Dir, cmd.WaitDelay = dir, 10*time.Second
	cmd.Env = append(os.Environ(), append(env, "ISSUER="+k.issuer, "USERNAME=anna", "PASSWORD="+userPassword)...)
	return cmd
}

// repository is its folder, from the root.
func repository(t *testing.T, path string) string {
	t.Helper()
	abs, err := filepath.Abs(filepath.Join("..", "..", path))
	if err != nil {
		t.Fatal(err)
	}
	return abs
}

// The phone app: what is in testdata/phone.mjs.
func TestApps_Phone(t *testing.T) {
	k := newKit(t)
	k.client(models.NewClient{
		ID: "shop-phone", Public: true, Grants: []string{"authorization_code", "refresh_token"},
		Scopes: []string{"settings", "offline_access"}, RedirectURIs: []string{"com.example.shop:/signed-in"},
	})
	dir := t.TempDir()
	writeCode(t, dir, "apps-phone.md", "phone.mjs")
	driver := repository(t, "cmd/curfew-demo/testdata/phone.mjs")
	out, err := k.node(dir, []string{
		"PHONE=" + filepath.Join(dir, "phone.mjs"), "BROWSER=" + repository(t, "clients/browser.mjs"),
	}, driver).CombinedOutput()
	if err != nil || !strings.Contains(string(out), "phone: passed") {
		t.Fatalf("%v: %s", err, out)
	}
	mine := k.devices("shop-phone")
	if len(mine) != 1 || mine[0].Name != "Anna's phone" {
		t.Errorf("%+v", mine)
	}
}

// site is the server-rendered app, and a browser of anna's that goes to it.
func (k *kit) site() (origin string) {
	k.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		k.Fatal(err)
	}
	l.Close()
	origin = "http://" + l.Addr().String()
	k.client(models.NewClient{
		ID: "site", Secret: secret, Grants: []string{"authorization_code", "refresh_token"},
		Scopes: []string{"settings"}, RedirectURIs: []string{origin + "/callback"},
		AccessTTL: new(models.Span(2 * time.Second)),
	})
	dir := k.TempDir()
	modules := repository(k.T, "clients/node_modules")
	if _, err := os.Stat(filepath.Join(modules, "openid-client")); err != nil {
		k.Fatalf("%v: `npm ci --prefix clients --ignore-scripts` installs it, `./test` all that the tests need", err)
	}
	if err := os.Symlink(modules, filepath.Join(dir, "node_modules")); err != nil {
		k.Fatal(err)
	}
	_, port, _ := net.SplitHostPort(l.Addr().String())
	server := k.node(dir, []string{"CLIENT_ID=site", "CLIENT_SECRET=" + secret, "ORIGIN=" + origin, "PORT=" + port},
		writeCode(k.T, dir, "apps-server.md", "server.mjs"))
	var stderr strings.Builder
	server.Stderr = &stderr
	if err := server.Start(); err != nil {
		k.Fatal(err)
	}
	k.Cleanup(func() {
		_ = server.Process.Kill()
		_ = server.Wait()
		if stderr.Len() > 0 {
			k.Errorf("the site says: %s", stderr.String())
		}
	})
	for range 300 {
		if res, err := http.Get(origin + "/"); err == nil {
			_, _ = io.Copy(io.Discard, res.Body)
			res.Body.Close()
			return origin
		}
		time.Sleep(100 * time.Millisecond)
	}
	k.Fatal("the site does not come up")
	return ""
}

// oneRefresh: of those who need a token at the same moment one refreshes, for all. On a slow machine the new token may
// be over, or the time to wait for it, before the last of them has it; not every time.
func (k *kit) oneRefresh(refreshes func() int64) {
	k.Helper()
	var counts []int64
	for range 5 {
		n := refreshes()
		if n == 1 {
			return
		}
		counts = append(counts, n)
	}
	k.Errorf("refreshes for those who need one at the same moment: %v", counts)
}

// refreshesOf is how many refreshes five requests at a time need once the access token is old.
func (k *kit) refreshesOf(origin, session string) int64 {
	k.Helper()
	time.Sleep(2 * time.Second) // its life
	var asked atomic.Int64
	release := make(chan struct{})
	hold := func() {
		asked.Add(1)
		<-release
	}
	k.hold.Store(&hold)
	defer k.hold.Store(nil)
	var all sync.WaitGroup
	for range 5 {
		all.Go(func() {
			browser := visit.New()
			browser.Header = http.Header{"Cookie": {"session=" + session}}
			if page, err := browser.Get(k.Context(), origin+"/"); err != nil || !strings.Contains(page.Body, "(this one)") {
				k.Errorf("%+v, %v", page, err)
			}
		})
	}
	time.Sleep(300 * time.Millisecond) // for them to do it wrong
	close(release)
	all.Wait()
	return asked.Load()
}

// The server-rendered app: sign-in, many requests that need one refresh, sign-out here and elsewhere, one device.
func TestApps_Server(t *testing.T) {
	k := newKit(t)
	origin := k.site()
	ctx := t.Context()
	app, curfew := visit.New(), visit.New()
	signIn := func() {
		t.Helper()
		out, err := app.Get(ctx, origin+"/sign-in")
		if err != nil || out.Out == nil {
			t.Fatalf("%+v, %v", out, err)
		}
		answer, err := curfew.SignIn(ctx, out.Out.String(), "anna", userPassword)
		if err != nil {
			t.Fatal(err)
		}
		if page, err := app.Get(ctx, answer.String()); err != nil || page.Form == nil {
			t.Fatalf("%+v, %v", page, err)
		}
	}
	signIn()
	first := k.devices("site")
	if len(first) != 1 {
		t.Fatalf("%+v", first)
	}
	k.oneRefresh(func() int64 { return k.refreshesOf(origin, app.Cookie("session")) })
	// From elsewhere nobody signs out.
	if res, err := http.Post(origin+"/sign-out", "text/plain", nil); err != nil || res.StatusCode != http.StatusForbidden {
		t.Fatalf("%v, %v", res, err)
	}
	page, err := app.Get(ctx, origin+"/")
	if err != nil {
		t.Fatal(err)
	}
	app.Header = http.Header{"Origin": {origin}}
	if page, err = app.Submit(ctx, page.Form, nil); err != nil || !strings.Contains(page.Body, "Sign in") {
		t.Fatalf("%+v, %v", page, err)
	}
	if left := k.devices("site"); len(left) != 0 {
		t.Fatalf("signed out: %+v", left)
	}
	signIn()
	if again := k.devices("site"); len(again) != 1 || again[0].ID != first[0].ID {
		t.Fatalf("%+v, want %s", again, first[0].ID)
	}
	if _, err := k.store.Revoke(ctx, models.WholeUser(k.user.ID), models.ReasonRevoked,
		models.Actor{Entity: models.EntityAdmin}); err != nil {
		t.Fatal(err)
	}
	if page, err := app.Get(ctx, origin+"/"); err != nil || !strings.Contains(page.Body, "Sign in") {
		t.Fatalf("signed out elsewhere: %+v, %v", page, err)
	}
}

// An app that moves from the password grant to codes keeps its users' devices, docs/apps.md.
func TestApps_MoveOver(t *testing.T) {
	k := newKit(t)
	const redirect = "https://shop.example.com/callback"
	k.client(models.NewClient{
		ID: "old", Public: true, Grants: []string{"password", "authorization_code", "refresh_token"},
		Scopes: []string{"settings"}, RedirectURIs: []string{redirect},
	})
	type answer struct {
		Access   string `json:"access_token"`
		DeviceID string `json:"device_id"`
	}
	token := func(form url.Values) (a answer) {
		t.Helper()
		res, err := http.PostForm(k.issuer+"/oauth2/token", form)
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		if err := json.NewDecoder(res.Body).Decode(&a); err != nil || res.StatusCode != http.StatusOK {
			t.Fatalf("%d, %v", res.StatusCode, err)
		}
		return a
	}
	before := token(url.Values{
		"grant_type": {"password"}, "client_id": {"old"}, "username": {"anna"}, "password": {userPassword},
		"device_name": {"Kitchen"},
	})
	const verifier = "a-verifier-of-43-characters-or-more-0123456789"
	challenge := sha256.Sum256([]byte(verifier))
	back, err := visit.New().SignIn(t.Context(), k.issuer+"/oauth2/authorize?"+url.Values{
		"response_type": {"code"}, "client_id": {"old"}, "redirect_uri": {redirect}, "state": {"s"},
		"code_challenge": {base64.RawURLEncoding.EncodeToString(challenge[:])}, "code_challenge_method": {"S256"},
	}.Encode(), "anna", userPassword)
	if err != nil {
		t.Fatal(err)
	}
	after := token(url.Values{
		"grant_type": {"authorization_code"}, "client_id": {"old"}, "code": {back.Query().Get("code")},
		"redirect_uri": {redirect}, "code_verifier": {verifier}, "device_id": {before.DeviceID},
	})
	if mine := k.devices("old"); after.DeviceID != before.DeviceID || len(mine) != 1 || mine[0].Name != "Kitchen" {
		t.Errorf("device %s became %s; %+v", before.DeviceID, after.DeviceID, mine)
	}
}
