package main

import (
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"

	"curfew/internal/need"
)

const (
	openIDPage       = "apps-openid.md"
	testCookieSecret = "uVnq4Q3mXU6nN4sLZr3S8Jm1p0Yt5bVwE2cKxHf9dGo="
)

// config is a configuration of the page for an app that runs here.
func (k *openIDKit) config(a *openIDApp, name, language string) string {
	k.Helper()
	return k.local(a, codeOf(k.T, openIDPage, "<!-- run: "+name+" -->\n```"+language))
}

// startApache starts one with mod_auth_openidc in front of the app. What is around the page's part is little more than
// what Debian's own configuration has.
func (k *openIDKit) startApache() *openIDApp {
	k.Helper()
	a := k.register("wiki")
	a.told = true
	a.logout = "/oidc?logout=" + url.QueryEscape("http://"+a.address+"/bye")
	program, dir := need.Program(k.T, "apache2", "apache"), k.TempDir()
	base := `ServerRoot ` + dir + `
ServerName ` + a.address + `
Listen ` + a.address + `
PidFile ` + dir + `/pid
ErrorLog /dev/stderr
DefaultRuntimeDir ` + dir + `
User nobody
Group nogroup
StartServers 1
ServerLimit 1
ThreadsPerChild 8
MaxRequestWorkers 8
MinSpareThreads 1
`
	for module := range strings.FieldsSeq("mpm_event authn_core authz_core authz_user proxy proxy_http auth_openidc") {
		base += "LoadModule " + module + "_module /usr/lib/apache2/modules/mod_" + module + ".so\n"
	}
	writeProgram(k.T, dir, "httpd.conf", base+"Include wiki.conf\n")
	writeProgram(k.T, dir, "wiki.conf", k.config(a, "wiki.conf", "apache"))
	startProgram(k.T, dir, "http://"+a.address+"/bye", nil, program, "-d", dir, "-f", "httpd.conf", "-D", "FOREGROUND")
	return a
}

// startOAuth2Proxy starts oauth2-proxy in front of the app.
func (k *openIDKit) startOAuth2Proxy() *openIDApp {
	k.Helper()
	a := k.register("notes")
	a.logout = "/oauth2/sign_out?rd=" + url.QueryEscape(k.server.public+
		"/oauth2/logout?id_token_hint={id_token}&post_logout_redirect_uri=http://"+a.address+"/bye")
	dir := k.TempDir()
	writeProgram(k.T, dir, "oauth2-proxy.cfg", k.config(a, "oauth2-proxy.cfg", "toml"))
	// From Go's cache; built if it is not there.
	built, err := exec.Command("go", "tool", "-modfile=../../tools/oauth2-proxy/go.mod", "-n", "oauth2-proxy").Output()
	if err != nil {
		k.Fatalf("oauth2-proxy: %v; `tools/setup` builds it", err)
	}
	startProgram(k.T, dir, "http://"+a.address+"/bye", nil, strings.TrimSpace(string(built)),
		"--config=oauth2-proxy.cfg", "--cookie-refresh=1s")
	return a
}

// startExpress starts the page's app.
func (k *openIDKit) startExpress() *openIDApp {
	k.Helper()
	a := k.register("store")
	a.told, a.logout = true, "/logout"
	k.startNode(a, "express.mjs", "express.mjs")
	return a
}

// startAuthJS starts an app that does what a framework does with the page's configuration.
func (k *openIDKit) startAuthJS() *openIDApp {
	k.Helper()
	a := k.register("club")
	a.logout = "/logout"
	driver, err := os.ReadFile(filepath.Join("testdata", "authjs.mjs"))
	if err != nil {
		k.Fatal(err)
	}
	k.startNode(a, "auth.config.mjs", "authjs.mjs", string(driver))
	return a
}

// startNode starts a script beside the page's code, or that itself.
func (k *openIDKit) startNode(a *openIDApp, code, script string, source ...string) {
	k.Helper()
	dir := k.TempDir()
	modules, err := filepath.Abs(filepath.Join("..", "..", "clients", "node_modules"))
	if err != nil {
		k.Fatal(err)
	}
	if _, err := os.Stat(modules); err != nil {
		k.Fatalf("%v: `tools/setup` installs it", err)
	}
	if err := os.Symlink(modules, filepath.Join(dir, "node_modules")); err != nil {
		k.Fatal(err)
	}
	writeProgram(k.T, dir, code, codeOf(k.T, openIDPage, "<!-- run: "+code+" -->\n```js"))
	if len(source) > 0 {
		writeProgram(k.T, dir, script, source[0])
	}
	_, port, _ := strings.Cut(a.address, ":")
	startProgram(k.T, dir, "http://"+a.address+"/bye", []string{
		"ISSUER=" + k.server.public, "CLIENT_ID=" + a.client, "CLIENT_SECRET=" + a.secret,
		"COOKIE_SECRET=" + testCookieSecret, "ORIGIN=http://" + a.address, "PORT=" + port, "NODE_OPTIONS=--no-warnings",
	}, need.Program(k.T, "node", "node"), script)
}

var endpoint = regexp.MustCompile(`= https://id\.example\.com([^?\s]+)`)

// holdEndpoints holds the addresses that the page has for an app that asks for each against the discovery document.
func (k *openIDKit) holdEndpoints() {
	k.Helper()
	_, text := k.server.do(http.MethodGet, k.server.public+"/.well-known/openid-configuration", "", nil)
	found := endpoint.FindAllStringSubmatch(codeOf(k.T, openIDPage, "```ini"), -1)
	for _, m := range found {
		if !strings.Contains(text, strconv.Quote(k.server.public+m[1])) {
			k.Errorf("no endpoint is %s: %s", m[1], text)
		}
	}
	if len(found) != 4 {
		k.Errorf("%q: want four endpoints", found)
	}
}
