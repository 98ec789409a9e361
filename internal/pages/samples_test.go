package pages

import (
	"strings"
	"time"
)

// clock is what the samples take for now.
var clock = time.Date(2026, time.November, 27, 14, 1, 0, 0, time.UTC)

func ago(d time.Duration) time.Time { return clock.Add(-d) }

// sampleSession is that of the first device.
const sampleSession = "019a0000-0000-7000-8000-000000000001"

const (
	hour = time.Hour
	day  = 24 * time.Hour
)

// sample is a page as it could be.
type sample struct {
	name string
	page Page
}

func receiptPartly() *Receipt {
	return &Receipt{
		Seq: 4711, Devices: 3, Subscribers: 4, Acknowledged: 3, Slowest: 18 * time.Millisecond,
		Told: &Told{Receivers: 2, Answered: 1, Pending: 1}, Waiting: []Straggler{{
			"Orders in Frankfurt",
			clock.Add(4 * time.Minute),
		}},
		Until: clock.Add(5 * time.Minute),
		URL:   "/account/receipts/4711", Reload: "/account?receipt=4711",
	}
}

// ownReceiptPartly is what the reader sees of it: no names.
func ownReceiptPartly() *Receipt {
	r := receiptPartly()
	r.Waiting = nil
	return r
}

func receiptDone() *Receipt {
	return &Receipt{
		Seq: 4712, Devices: 1, Subscribers: 4, Acknowledged: 4, Slowest: 18 * time.Millisecond,
		Told: &Told{Receivers: 2, Answered: 2},
	}
}

func sampleDevices() []Device {
	return []Device{
		{
			ID: "019a0000-0000-7000-8000-000000000001", Name: "Work laptop", Platform: "Firefox on Linux",
			Address:   "198.51.100.23",
			FirstSeen: ago(41 * day), LastSeen: ago(20 * time.Second), Expires: clock.Add(30 * day),
			Current: true, Browser: true,
			Children: []Device{{
				ID: "019a0000-0000-7000-8000-000000000002", Name: "Orders in Firefox", App: "Orders",
				Platform: "Firefox on Linux",
				Address:  "198.51.100.23", FirstSeen: ago(3 * day), LastSeen: ago(2 * time.Minute),
				Expires: clock.Add(29 * day),
			}},
		},
		{
			ID: "019a0000-0000-7000-8000-000000000003", Name: "Alice’s Pixel", App: "Orders",
			Platform: "Orders on Pixel 8",
			Address:  "2001:db8:51ab:c0de::17", FirstSeen: ago(212 * day), LastSeen: ago(3 * hour),
			Expires: clock.Add(27 * day), Bound: true,
		},
		{
			ID: "019a0000-0000-7000-8000-000000000004", Name: "Kitchen tablet", Platform: "Safari on iPad",
			Address:   "203.0.113.77",
			FirstSeen: ago(90 * day), LastSeen: ago(6 * day), Expires: clock.Add(24 * day), Browser: true,
			Children: []Device{
				{
					ID: "019a0000-0000-7000-8000-000000000005", Stays: true, Name: "Recipes", App: "Recipes",
					Platform: "Safari on iPad", FirstSeen: ago(90 * day), LastSeen: ago(6 * day),
					Expires: clock.Add(24 * day),
				},
				{
					ID: "019a0000-0000-7000-8000-000000000006", Name: "Shopping list", App: "Lists",
					Platform: "Safari on iPad", FirstSeen: ago(8 * day), LastSeen: ago(7 * day),
					Expires: clock.Add(23 * day),
				},
			},
		},
		{
			ID: "019a0000-0000-7000-8000-000000000007", Name: "backup script", App: "Command line",
			Platform: "curl", Address: "198.51.100.9",
			FirstSeen: ago(400 * day), LastSeen: ago(26 * hour), Expires: clock.Add(29 * day),
		},
	}
}

func sampleEnded() []Ended {
	return []Ended{
		{
			Name: "Old phone", App: "Orders", Platform: "Orders on iPhone", At: ago(47 * time.Minute),
			Address: "203.0.113.9", Reason: "refresh_token_reuse",
		},
		{
			Name: "Library computer", App: "Curfew", Platform: "Chrome on Windows", At: ago(2 * day),
			Reason: "signed_out",
		},
		{Name: "Television", App: "Films", Platform: "Films 3", At: ago(12 * day), Reason: "expired"},
	}
}

func publicSamples() []sample {
	state := []Field{{"state", "eyJjbGllbnRfaWQiOiJvcmRlcnMifQ"}}
	return []sample{
		{"sign-in", SignIn{Fields: state, Client: "Orders", LeadsTo: "orders.example", Device: "Firefox on Linux"}},
		{"sign-in-wrong", SignIn{
			Fields: state, Client: "Orders", LeadsTo: LeadsToLocal, Username: "alice",
			Device: "Firefox on Linux", Shared: true, Problem: &Problem{Code: "credentials"},
		}},
		{"sign-in-throttled", SignIn{
			Fields: state, Username: "alice", Device: "Firefox on Linux",
			Problem: &Problem{Code: "throttled", RetryAfter: 230 * time.Second},
		}},
		{"sign-in-cookies", SignIn{
			Fields: state, Client: "Orders", Device: "Firefox on Linux",
			Problem: &Problem{Code: "cookies"},
		}},
		{"sign-in-stale", SignIn{
			Fields: state, Client: "Orders", Device: "Firefox on Linux",
			Problem: &Problem{Code: "stale"},
		}},
		{"continue", Continue{Fields: state, Client: "Orders", LeadsTo: LeadsToLocal, Username: "alice"}},
		{"error", Error{Code: "redirect_uri", Client: "Orders", Details: []Detail{
			{"client_id", "orders"},
			{
				"redirect_uri",
				"https://orders.example.evil.test/callback?with=a&very=long-address-that-does-not-break",
			},
		}}},
		{"error-throttled", Error{Code: "throttled", RetryAfter: 40 * time.Second, Home: "/account"}},
		{"sign-out", SignOut{Fields: state, Client: "Orders", Username: "alice", Apps: 2}},
		{"signed-out", SignedOut{Client: "Orders", Receipt: receiptDone()}},
		{"account", Account{Username: "alice", Session: sampleSession, Devices: sampleDevices(), Ended: sampleEnded(), More: true}},
		{"account-receipt", Account{
			Username: "alice", Session: sampleSession, Devices: sampleDevices()[:2], Ended: sampleEnded()[:1],
			Receipt: ownReceiptPartly(),
		}},
		{"account-long", longAccount()},
		{"account-alone", Account{
			Username: "alice", Session: sampleSession, Devices: sampleDevices()[:1], Receipt: receiptDone(),
			Notice: "renamed",
		}},
		{"end-everywhere", EndEverywhere{Username: "alice", Session: sampleSession, Devices: 7}},
		{"security", Security{Username: "alice", Session: sampleSession, Events: sampleEvents(), Next: "eyJhdCI6MX0", MinPassword: 8}},
		{"security-problem", Security{
			Username: "alice", Session: sampleSession, Events: append(sampleEvents()[:2], Event{Type: "something_new", At: ago(36 * day)}),
			MinPassword: 8,
			Notice:      "not_me", Problem: &Problem{Code: "password_policy"},
		}},
	}
}

func sampleEvents() []Event {
	id := "019a0000-0000-7000-8000-000000000003"
	return []Event{
		{
			Type: "signed_in", At: ago(12 * time.Minute), Device: "Chrome on Windows", DeviceID: id,
			App: "Orders", Platform: "Chrome on Windows", Address: "203.0.113.200",
		},
		{
			Type: "refresh_token_reuse", At: ago(47 * time.Minute), Device: "Old phone",
			Platform: "Orders on iPhone", Address: "203.0.113.9", Before: "198.51.100.23", By: "policy",
		},
		{Type: "wrong_password", At: ago(5 * hour), Address: "203.0.113.9", Count: 3},
		{
			Type: "refresh_token_retried", At: ago(26 * hour), Device: "Alice’s Pixel", DeviceID: id,
			Address: "2001:db8:51ab:c0de::17", Before: "198.51.100.23",
		},
		{Type: "revoked", Level: "device", Reason: "signed_out", At: ago(2 * day), Device: "Library computer", By: "user"},
		{
			Type: "signed_in_again", At: ago(3 * day), Device: "Work laptop", Platform: "Firefox on Linux",
			Address: "198.51.100.23", DeviceID: id,
		},
		{Type: "password_changed", At: ago(35 * day), Address: "198.51.100.23", By: "user"},
	}
}

func samples() []sample { return append(publicSamples(), consoleSamples()...) }

// longAccount is one whose names are as long as they may be, without a place to break them.
func longAccount() Account {
	long := strings.Repeat("W", 100)
	d := Device{
		ID: "019a0000-0000-7000-8000-000000000001", Name: long, App: long, Platform: long,
		Address: "2001:db8:ffff:ffff:ffff:ffff:ffff:ffff", Current: true, Expires: clock.Add(hour),
	}
	child := d
	child.ID, child.Current = "019a0000-0000-7000-8000-000000000002", false
	d.Children = []Device{child}
	return Account{Username: long, Devices: []Device{d}, Ended: []Ended{{Name: long, App: long, Platform: long}}}
}
