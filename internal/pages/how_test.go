package pages

import (
	"os/exec"
	"strconv"
	"strings"
	"testing"
)

// What somebody else has named arrives as one word in the shell of the admin who copies the line.
func TestHow_Quotes(t *testing.T) {
	names := []string{"", "alice", "it's", `"$(id)"`, "`id`", "a b\tc", "-rf", "$HOME;id", "a\nb", `\`, "äöü", "!!", "*", hostile}
	for _, name := range names {
		out, err := exec.Command("sh", "-c", "printf %s "+quote(name)).Output()
		if err != nil || string(out) != name {
			t.Errorf("%q arrives as %q, %v", name, out, err)
		}
	}
	l, err := how("http://127.0.0.1:8081/", "device.rename", "0/../x", "it's")
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"/admin/devices/0%2F..%2Fx", `{"name":"it'\''s"}`, "http://127.0.0.1:8081/admin"} {
		if !strings.Contains(l.Curl, want) {
			t.Errorf("%s lacks %s", l.Curl, want)
		}
	}
	if want := `curfew device rename 0/../x 'it'\''s'`; l.Curfew != want {
		t.Errorf("got %s, want %s", l.Curfew, want)
	}
	if _, err := how("", "no such action"); err == nil {
		t.Error("an unknown action has lines")
	}
}

// No bar leaves the drawing, what happened once can be seen, and the table says the same.
func TestChart(t *testing.T) {
	c := Chart{Start: clock, Step: hour, Series: []Series{{"a", []int64{0, 1, 1e9, -5}}, {"b", []int64{3}}}}
	bars := c.Bars()
	if len(bars) != 3 {
		t.Fatalf("%d bars, want 3", len(bars))
	}
	for _, b := range bars {
		number := func(s string) float64 {
			f, err := strconv.ParseFloat(s, 64)
			if err != nil {
				t.Fatal(err)
			}
			return f
		}
		x, y, w, h := number(b.X), number(b.Y), number(b.Width), number(b.Height)
		if x < 0 || y < 0 || x+w > chartWidth || y+h > chartHeight+0.01 || h < 1 {
			t.Errorf("the bar %v", b)
		}
	}
	rows := c.Rows()
	if len(rows) != 4 || !rows[0].At.Equal(clock.Add(3*hour)) ||
		rows[3].Values[0] != 0 || rows[3].Values[1] != 3 || rows[1].Values[0] != 1e9 {
		t.Errorf("rows: %v", rows)
	}
	if (Chart{}).Bars() != nil || len((Chart{}).Rows()) != 0 {
		t.Error("an empty chart is empty")
	}
}
