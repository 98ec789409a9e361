package pages

import (
	"html/template"
	"strconv"
	"time"
)

// ConsoleOverview is /console/.
type ConsoleOverview struct {
	Console
	Charts        []Chart
	Nodes         []Node
	Database      Database
	Followers     []FollowerRow
	MoreFollowers bool // than the page shows
	Keys          []KeyRow
}

func (p ConsoleOverview) frame() frame { return p.page("console-overview", "overview") }

// Node is a server.
type Node struct {
	Name, Version string
	Started       time.Time // zero: not known
	Seen          time.Time
	Current       bool // the one that answers
	Away          bool // it broke off: others have taken its place
}

// Database is where everything is kept.
type Database struct {
	Kind, Version string // PostgreSQL 15.4
	Connections   int    // in use
	Limit         int
	Answered      time.Duration // by a small question, just now
	Down          bool
}

// KeyRow is a signing key.
type KeyRow struct {
	ID, Algorithm string
	State         string // next, active, retired; texts: key.* in texts/en.json
	Created       time.Time
	Until         time.Time // when its state changes; zero: not known
}

// Chart is a number for each stretch of time, in one or several series that add up.
type Chart struct {
	Code   string // texts: chart.* in texts/en.json: sign_ins, refused, refreshes, sign_outs
	Start  time.Time
	Step   time.Duration
	Series []Series
}

// Series is a part of a chart. Code is a reason, level or cause; texts: series.*; one without a text is shown as it is.
type Series struct {
	Code   string
	Values []int64
}

// Total is the sum of everything in the chart.
func (c Chart) Total() (sum int64) {
	for _, s := range c.Series {
		for _, v := range s.Values {
			sum += v
		}
	}
	return sum
}

// ChartRow is a stretch of time in the table of a chart.
type ChartRow struct {
	At     time.Time
	Values []int64
}

// Rows are the chart as a table, the newest first.
func (c Chart) Rows() []ChartRow {
	rows := make([]ChartRow, c.length())
	for i := range rows {
		at := len(rows) - 1 - i
		rows[i].At = c.Start.Add(time.Duration(at) * c.Step)
		for _, s := range c.Series {
			rows[i].Values = append(rows[i].Values, s.at(at))
		}
	}
	return rows
}

func (s Series) at(i int) int64 {
	if i >= len(s.Values) {
		return 0
	}
	return max(0, s.Values[i])
}

func (c Chart) length() (n int) {
	for _, s := range c.Series {
		n = max(n, len(s.Values))
	}
	return min(n, 200)
}

// The drawing of a chart, in the units of its view box.
const (
	chartWidth  = 320.0
	chartHeight = 72.0
)

// Bar is a rectangle of a chart.
type Bar struct {
	X, Y, Width, Height string
	Series              int // 0 to 4: the colour
}

// Bars are the chart as stacked rectangles.
func (c Chart) Bars() (bars []Bar) {
	n := c.length()
	var top int64
	for i := range n {
		var sum int64
		for _, s := range c.Series {
			sum += s.at(i)
		}
		top = max(top, sum)
	}
	if top == 0 {
		return nil
	}
	text := func(f float64) string { return strconv.FormatFloat(f, 'f', 2, 64) }
	step := chartWidth / float64(n)
	for i := range n {
		y := chartHeight
		for j, s := range c.Series {
			if v := s.at(i); v > 0 {
				h := max(1, float64(v)/float64(top)*(chartHeight-2)) // what happened once can be seen
				y = max(0, y-h)
				x, width := float64(i)*step+0.5, max(0.5, step-1)
				bars = append(bars, Bar{text(x), text(y), text(width), text(h), min(j, 4)})
			}
		}
	}
	return bars
}

// SeriesTotal is a series with its sum.
type SeriesTotal struct {
	Code   string
	Sum    int64
	Series int
}

// Legend are the series with their sums.
func (c Chart) Legend() (list []SeriesTotal) {
	for i, s := range c.Series {
		var sum int64
		for _, v := range s.Values {
			sum += v
		}
		list = append(list, SeriesTotal{s.Code, sum, min(i, 4)})
	}
	return list
}

// named is the text under a prefix and a code, or the code.
func (l *language) named(prefix, code string) template.HTML {
	if key := prefix + "." + code; l.has(key) {
		return template.HTML(template.HTMLEscapeString(l.plain(key)))
	}
	return template.HTML(template.HTMLEscapeString(code))
}
