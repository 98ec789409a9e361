package deploy_test

import (
	"encoding/json"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"curfew/internal/need"
)

// The units are without fault, and hardened: systemd's own figure for the exposure is at most 1.5 of 10.
func TestUnits(t *testing.T) {
	analyze := need.Program(t, "systemd-analyze", "systemd")
	units, err := filepath.Glob("*.service")
	if err != nil || len(units) != 2 {
		t.Fatal(units, err)
	}
	for _, unit := range units {
		text, err := os.ReadFile(unit)
		if err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(string(text), "ExecStart=/usr/local/bin/curfew ") {
			t.Errorf("%s does not start /usr/local/bin/curfew", unit)
		}
		file := filepath.Join(t.TempDir(), unit)
		if err := os.WriteFile(file, []byte(strings.ReplaceAll(string(text), "/usr/local/bin/curfew", binary)), 0o644); err != nil {
			t.Fatal(err)
		}
		if out, err := exec.CommandContext(t.Context(), analyze, "verify", "--man=no", file).CombinedOutput(); err != nil || len(out) > 0 {
			t.Errorf("systemd-analyze verify %s: %v\n%s", unit, err, out)
		}
		if out, err := exec.CommandContext(t.Context(), analyze, "security", "--offline=true", "--threshold=15", file).CombinedOutput(); err != nil {
			t.Errorf("systemd-analyze security %s: %v\n%s", unit, err, out)
		}
	}
}

// Each alert is shown quiet and firing, by promtool.
func TestPrometheusRules(t *testing.T) {
	promtool := need.Program(t, "promtool", "promtool")
	for _, args := range [][]string{{"check", "rules", "prometheus-rules.yml"}, {"test", "rules", "prometheus-rules-test.yml"}} {
		if out, err := exec.CommandContext(t.Context(), promtool, args...).CombinedOutput(); err != nil {
			t.Errorf("promtool %q: %v\n%s", args, err, out)
		}
	}
	cases := read(t, "prometheus-rules-test.yml")
	alerts := regexp.MustCompile(`(?m)^ +- alert: (\w+)$`).FindAllStringSubmatch(read(t, "prometheus-rules.yml"), -1)
	if len(alerts) == 0 {
		t.Fatal("no alerts")
	}
	for _, a := range alerts {
		if !strings.Contains(cases, "alertname: "+a[1]+"\n") {
			t.Errorf("%s is not shown firing", a[1])
		}
		if !regexp.MustCompile(`\{alertname: ` + a[1] + `, eval_time: \d+m, exp_alerts: \[\]\}`).MatchString(cases) {
			t.Errorf("%s is not shown quiet", a[1])
		}
	}
}

// What alerts and panels ask for is what the programs export: the names of metrics, of labels, and the values of some.
func TestMetricNames(t *testing.T) {
	c := startCurfew(t)
	g := c.gate()
	// So that there is something to count, of every kind.
	access := c.signIn("settings")
	for _, form := range []url.Values{
		{"grant_type": {"password"}, "client_id": {"web"}, "username": {"alice"}, "password": {"wrong"}},
		{"grant_type": {"refresh_token"}, "client_id": {"web"}, "refresh_token": {"x"}},
	} {
		res, err := http.PostForm(c.url+"/oauth2/token", form)
		if err != nil {
			t.Fatal(err)
		}
		res.Body.Close()
	}
	c.signOut(access, 1)
	exported := get(t, g, "/metrics") + get(t, &process{addr: c.server.admin}, "/metrics") + "up{job=\"x\",instance=\"x\"} 1\n"
	// Prometheus adds job and instance to everything.
	exported = strings.ReplaceAll(exported, `{`, `{job="curfew",instance="x",`)

	var dashboard struct {
		Panels []struct {
			Title   string
			Type    string
			Targets []struct{ Expr string }
		}
	}
	if err := json.Unmarshal([]byte(read(t, "grafana.json")), &dashboard); err != nil {
		t.Fatal(err)
	}
	asked := map[string]string{} // expressions, and where they are
	for _, p := range dashboard.Panels {
		if p.Type != "row" && len(p.Targets) == 0 {
			t.Errorf("panel %q asks for nothing", p.Title)
		}
		for _, target := range p.Targets {
			asked[target.Expr] = "panel " + p.Title
		}
	}
	rules := read(t, "prometheus-rules.yml")
	for _, rule := range regexp.MustCompile(`(?ms)^ +- alert: (\w+)\n +expr: (.*?)\n +(?:for|labels):`).FindAllStringSubmatch(rules, -1) {
		asked[rule[2]] = "alert " + rule[1]
	}
	if len(asked) < 30 {
		t.Fatalf("only %d expressions were found", len(asked))
	}
	metric := regexp.MustCompile(`\b((?:curfew|go|process|promhttp)_\w+|up)\b(?:\{([^}]*)\})?`)
	label := regexp.MustCompile(`(\w+)(=~|=)"([^"]*)"`)
	for expr, where := range asked {
		for _, m := range metric.FindAllStringSubmatch(expr, -1) {
			lines := regexp.MustCompile(`(?m)^`+m[1]+`(?:\{.*\})? .*$`).FindAllString(exported, -1)
			if len(lines) == 0 {
				t.Errorf("%s: nothing exports %s", where, m[1])
			}
			for _, l := range label.FindAllStringSubmatch(m[2], -1) {
				// A status that has not been answered yet is one that will be: of those the label is enough.
				want := l[1] + `="`
				if l[2] == "=" && l[1] != "status" && l[1] != "job" {
					want += l[3] + `"`
				}
				if len(lines) > 0 && !slices.ContainsFunc(lines, func(line string) bool { return strings.Contains(line, want) }) && l[1] != "job" {
					t.Errorf("%s: no %s has %s", where, m[1], want)
				}
			}
		}
		for _, by := range regexp.MustCompile(`by \(([^)]*)\)`).FindAllStringSubmatch(expr, -1) {
			for name := range strings.SplitSeq(by[1], ", ") {
				if !strings.Contains(exported, name+`="`) {
					t.Errorf("%s: nothing has the label %s", where, name)
				}
			}
		}
	}
}

func read(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
