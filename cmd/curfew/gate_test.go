package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"curfew/verify"
)

func gateEnvironment(changes ...string) []string {
	return append([]string{"CURFEW_GATE_ISSUER=https://id.example.com", "CURFEW_GATE_CLIENT_ID=api", "CURFEW_GATE_CLIENT_SECRET=s"}, changes...)
}

func TestReadGateConfig(t *testing.T) {
	file := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(file, []byte("from a file\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	c, warnings, err := readGateConfig(gateEnvironment())
	if err != nil || len(warnings) > 0 {
		t.Fatal(warnings, err)
	}
	if c.addr != "127.0.0.1:8082" || c.verify.Bound != 30*time.Second || c.verify.WhenStale != verify.StaleIntrospect || c.scopes != nil {
		t.Errorf("defaults: %+v", c)
	}
	c, warnings, err = readGateConfig(gateEnvironment("CURFEW_GATE_CLIENT_SECRET=", "CURFEW_GATE_CLIENT_SECRET_FILE="+file, "CURFEW_GATE_ADDR=[::1]:1",
		"CURFEW_GATE_AUDIENCE=orders", "CURFEW_GATE_SUBSCRIBER=gate-1", "CURFEW_GATE_BOUND=1m", "CURFEW_GATE_WHEN_STALE=accept", "CURFEW_GATE_SCOPE= a  b ",
		"CURFEW_GATE_SCOPES=c", "CURFEW_LOG_FORMAT=text"))
	if err != nil || len(warnings) != 1 || !strings.Contains(warnings[0], "CURFEW_GATE_SCOPES is not known") || !strings.Contains(warnings[0], "CURFEW_GATE_SCOPE") {
		t.Fatal(warnings, err)
	}
	want := verify.Config{
		Issuer: "https://id.example.com", ClientID: "api", ClientSecret: "from a file", Audience: "orders", Subscriber: "gate-1", Bound: time.Minute,
		WhenStale: verify.StaleAccept,
	}
	if c.verify != want || c.addr != "[::1]:1" || strings.Join(c.scopes, "|") != "a|b" || c.log.logFormat != "text" {
		t.Errorf("%+v", c)
	}
	for change, says := range map[string]string{
		"CURFEW_GATE_ADDR=8082":                   "HOST:PORT",
		"CURFEW_GATE_ADDR=unix:gate.sock":         "absolute path",
		"CURFEW_GATE_ISSUER=":                     "CURFEW_GATE_ISSUER is missing",
		"CURFEW_GATE_ISSUER=id.example.com":       "CURFEW_GATE_ISSUER",
		"CURFEW_GATE_CLIENT_ID=":                  "CURFEW_GATE_CLIENT_ID is missing",
		"CURFEW_GATE_CLIENT_SECRET=":              "give one of them",
		"CURFEW_GATE_CLIENT_SECRET_FILE=" + file:  "give one of them",
		"CURFEW_GATE_CLIENT_SECRET_FILE=/nowhere": "no such file",
		"CURFEW_GATE_BOUND=0s":                    "1s to 1h",
		"CURFEW_GATE_WHEN_STALE=ask":              "introspect, reject or accept",
		`CURFEW_GATE_SCOPE=a "b`:                  "CURFEW_GATE_SCOPE",
		"CURFEW_LOG_LEVEL=loud":                   "debug, info, warn or error",
	} {
		if _, _, err := readGateConfig(gateEnvironment(change)); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%s: %v", change, err)
		}
	}
	// The server's own list of variables does not complain of the gate's, which may be in the same file.
	if _, warnings := curfewVariables(gateEnvironment("CURFEW_GATE_SCOPES=c")); len(warnings) > 0 {
		t.Error(warnings)
	}
}

// The help names every variable, and says what is wrong with exit code 2.
func TestGate_HelpAndRefusal(t *testing.T) {
	b := &box{t: t, env: []string{"PATH=" + os.Getenv("PATH")}}
	help := b.run("", "gate", "--help")
	for _, v := range gateVariables {
		if !strings.Contains(help, "CURFEW_GATE_"+v.name) || !strings.Contains(help, v.must) {
			t.Errorf("the help does not explain %s", v.name)
		}
	}
	b.refuse(2, "", []string{"gate"}, "CURFEW_GATE_ISSUER", "CURFEW_GATE_CLIENT_ID", "CURFEW_GATE_CLIENT_SECRET")
	b.env = append(b.env, gateEnvironment("CURFEW_GATE_SUBSCRIBER=a b")...)
	b.env = append(b.env, "CURFEW_GATE_ADDR=127.0.0.1:0")
	if _, stderr, code := b.try("", "gate"); code != 2 || !strings.Contains(stderr, "Subscriber") {
		t.Errorf("%d %s", code, stderr)
	}
}
