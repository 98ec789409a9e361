package pages

import (
	"net/url"
	"time"
)

// ReceiverRow is an outside app that has to be told of what happens: a webhook, or a client with a back-channel logout
// URI.
type ReceiverRow struct {
	ID           string
	Kind         string // webhook, logout; texts: receiver.kind.* in texts/en.json
	URL          string
	ClientID     string   // of a back-channel logout
	Types        []string // of a webhook's messages; empty: all
	Created      time.Time
	LastTry      time.Time // zero: nothing was sent yet
	LastAnswer   string    // to the last try
	FailingSince time.Time // zero: it does not fail
	NextTry      time.Time // only while it fails
	Tries        int       // since the last good answer
	Behind       int       // events of its log that it has not come to
	More         bool      // and there are more of them
	BehindSince  time.Time
	Told         int64
	Dropped      int64
	Ending       bool // its client is deleted
}

// Host is what people know an address by, and what is typed to delete it.
func (r ReceiverRow) Host() string {
	if u, err := url.Parse(r.URL); err == nil && u.Host != "" {
		return u.Host
	}
	return r.URL
}

// ConsoleReceivers is /console/receivers.
type ConsoleReceivers struct {
	Console
	Receivers []ReceiverRow
}

func (p ConsoleReceivers) frame() frame { return p.page("console-receivers", "receivers") }

// ConsoleWebhookNew is /console/receivers/new. Its form:
//
//	POST /console/receivers    url, types (several)
type ConsoleWebhookNew struct {
	Console
	URL   string
	Types []Choice
}

func (p ConsoleWebhookNew) frame() frame { return p.page("console-webhook-new", "receivers") }

// Choice is one of several things that may be chosen.
type Choice struct {
	Value  string
	Chosen bool
}

// WebhookAnswer is what came of a test message.
type WebhookAnswer struct {
	OK     bool
	Answer string
	Took   time.Duration
}

// ConsoleReceiver is /console/receivers/ID. Its forms, for a webhook, below /console/receivers/ID:
//
//	POST /test
//	POST /secret
//	POST /delete    confirm (the host of its address)
//
// Secret and Test are set in the one answer that made them.
type ConsoleReceiver struct {
	Console
	Receiver ReceiverRow
	Secret   string
	Test     *WebhookAnswer
}

func (p ConsoleReceiver) frame() frame { return p.page("console-receiver", "receivers") }
