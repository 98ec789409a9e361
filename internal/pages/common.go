package pages

import (
	"html/template"
	"time"
)

// Field is a hidden field of a form: state that travels with the form, not in the server.
type Field struct {
	Name, Value string
}

// Problem is why something was not done, said above the form that asked for it.
type Problem struct {
	// Code chooses the text. The codes of problem.* in texts/en.json: credentials, throttled, cookies, stale,
	// wrong_password, password_policy, password_same, name, count, not_admin, conflict, invalid, gone, unavailable. Of
	// another one, the reader hears that it did not work.
	Code string
	// RetryAfter is said with throttled: "again in 4 minutes". Zero: later.
	RetryAfter time.Duration
	// Detail is what the store says about an invalid value, as it is.
	Detail string
}

func (l *language) problem(p *Problem) (template.HTML, error) {
	key := "problem." + p.Code
	switch {
	case p.Code == "throttled" && p.RetryAfter <= 0:
		key += ".later"
	case !l.has(key):
		key = "problem.other"
	}
	text, err := l.text(key, "duration", l.duration(p.RetryAfter))
	if err != nil || p.Detail == "" {
		return text, err
	}
	return text + " " + template.HTML(template.HTMLEscapeString(p.Detail)), nil
}

// Notice says what was done, after the redirect that answers a form. The codes are those of notice.* in texts/en.json:
// renamed, password_changed, not_me, signed_out, saved, created, deleted, enabled, disabled, unlocked, password_set,
// nothing. Empty or unknown: nothing is said.
type Notice string

// Straggler is somebody who has not confirmed a sign-out yet.
type Straggler struct {
	Name  string    // what the reader knows it by
	Until time.Time // its tokens die by then in any case; zero: not known
}

// Told counts the receivers of notices (back-channel logout, webhooks) about a sign-out. It is not added to what was
// applied: told is not applied.
type Told struct {
	Receivers, Answered, Pending, Failed int
}

// Receipt says how far a sign-out has come.
type Receipt struct {
	Seq          int64 // of the revocation; 0: there was nothing left to sign out
	Devices      int   // how many were signed out, if that is known
	Subscribers  int   // live followers of the feed
	Acknowledged int   // of which so many have applied it
	Slowest      time.Duration
	Told         *Told
	Waiting      []Straggler
	Until        time.Time // what those who have not confirmed it accept ends by then; said where they have no names

	// URL is where the module asks for the [ReceiptState] as JSON until it is done, on this server. Empty: it is not
	// asked.
	URL string
	// Reload is this page with the receipt, for those without JavaScript. Empty: there is no link.
	Reload string
}

// ReceiptState is a receipt in words: what the page shows, and what the address [Receipt.URL] answers as JSON.
type ReceiptState struct {
	Text    string   `json:"text"`
	Told    string   `json:"told"`
	Waiting []string `json:"waiting"`
	Done    bool     `json:"done"`
}

// ReceiptState puts a receipt into words.
func (p *Pages) ReceiptState(lang Lang, r Receipt) ReceiptState {
	return p.receiptState(p.language(lang), &r)
}

func (p *Pages) receiptState(l *language, r *Receipt) ReceiptState {
	s := ReceiptState{Waiting: []string{}, Done: r.Acknowledged >= r.Subscribers}
	switch {
	case r.Seq == 0:
		s.Text, s.Done = l.plain("receipt.nothing"), true
		return s
	case r.Subscribers == 0:
		s.Text = l.plain("receipt.nobody")
	case s.Done:
		s.Text = l.plain("receipt.done", "n", r.Subscribers, "acknowledged", r.Acknowledged,
			"ms", max(1, r.Slowest.Milliseconds()))
	default:
		s.Text = l.plain("receipt.partly", "n", r.Subscribers, "acknowledged", r.Acknowledged)
	}
	s.Text = l.plain("receipt.out", "n", max(1, r.Devices)) + " " + s.Text
	if n := r.Subscribers - r.Acknowledged; n > 0 && len(r.Waiting) == 0 && !r.Until.IsZero() {
		s.Waiting = append(s.Waiting, l.plain("receipt.waiting.count", "n", n, "time", r.Until.UTC().Format("15:04")))
	}
	for _, w := range r.Waiting {
		if w.Until.IsZero() {
			s.Waiting = append(s.Waiting, l.plain("receipt.waiting", "name", w.Name))
			continue
		}
		until := w.Until.UTC().Format("15:04")
		s.Waiting = append(s.Waiting, l.plain("receipt.waiting.until", "name", w.Name, "time", until))
	}
	if t := r.Told; t != nil && t.Receivers > 0 {
		switch {
		case t.Failed > 0:
			s.Told = l.plain("receipt.told.failed", "n", t.Receivers, "answered", t.Answered, "failed", t.Failed)
		case t.Pending > 0:
			s.Told, s.Done = l.plain("receipt.told.pending", "n", t.Receivers, "answered", t.Answered), false
		default:
			s.Told = l.plain("receipt.told.done", "n", t.Receivers, "answered", t.Answered)
		}
	}
	return s
}
