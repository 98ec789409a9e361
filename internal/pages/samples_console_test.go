package pages

import (
	"math"
	"time"
)

func consoleSamples() []sample {
	c := Console{Admin: "grace", API: "http://127.0.0.1:8081"}
	with := func(change func(*Console)) Console {
		d := c
		change(&d)
		return d
	}
	rows := sampleRows()
	alice := UserRow{
		ID: "019a0000-0000-7000-8000-00000000000a", Username: "alice", Name: "Alice Example",
		Email: "alice@example.com", EmailVerified: true, Created: ago(400 * day),
	}
	locked := alice
	locked.Admin, locked.Locked = true, []Lock{{"203.0.113.9", clock.Add(11 * time.Minute)}, {
		"",
		clock.Add(3 * time.Minute),
	}}
	disabled := UserRow{
		ID: "019a0000-0000-7000-8000-00000000000b", Username: "bob", Disabled: ago(2 * day),
		Created: ago(90 * day),
	}
	orders := ClientForm{
		ID: "orders", Name: "Orders", Grants: []string{"authorization_code", "refresh_token"},
		Scopes: "openid profile orders", PKCE: "required",
		RedirectURIs: []string{"https://orders.example/callback", "http://127.0.0.1/callback"},
		Origins:      []string{"https://orders.example"},
	}
	full := orders
	full.Public, full.AccessTTL, full.BackchannelLogoutURI, full.RefreshCookie = true, "5m",
		"https://orders.example/backchannel", true
	filter := DeviceFilter{Q: "pixel", ClientID: "orders", Status: "active", IP: "203.0.113.9"}
	return []sample{
		{"console-sign-in", SignIn{
			Console: true, Action: "/console/sign-in", Device: "Firefox on Linux",
			Problem: &Problem{Code: "not_admin"},
		}},
		{"console-step-up", StepUp{Console: c, Fields: []Field{{"return", "/console/users/new"}}}},
		{"console-overview", sampleOverview(c)},
		{"console-devices", ConsoleDevices{Console: c, Devices: rows, Next: "abc"}},
		{
			"console-devices-filter",
			ConsoleDevices{
				Console: with(func(c *Console) { c.Receipt = receiptPartly() }), Filter: filter,
				Devices: rows[:1],
			},
		},
		{"console-devices-none", ConsoleDevices{Console: c, Filter: filter}},
		{"console-device", ConsoleDevice{
			Console: c, Device: rows[0], Children: rows[1:2],
			Events: sampleAudit(), Revocations: sampleRevocations()[:1],
		}},
		{"console-end", ConsoleEnd{
			Console: with(func(c *Console) { c.Problem = &Problem{Code: "count"} }),
			Filter:  filter, Count: 214, Sample: rows,
		}},
		{"console-everyone", ConsoleEveryone{Console: c}},
		{"console-users", ConsoleUsers{
			Console: c, Prefix: "al", Users: []UserRow{locked, alice, disabled},
			Next: "abc",
		}},
		{
			"console-user-new",
			ConsoleUserNew{
				Console: with(func(c *Console) { c.Problem = &Problem{Code: "password_policy"} }),
				User:    alice,
			},
		},
		{"console-user", ConsoleUser{
			Console: with(func(c *Console) { c.Notice = "saved" }), User: locked,
			Devices: rows, More: true, Events: sampleAudit()[:2],
		}},
		{"console-user-disabled", ConsoleUser{Console: c, User: disabled}},
		{"console-clients", ConsoleClients{Console: c, Clients: []ClientRow{
			{"orders", "Orders", false, orders.Grants, orders.Scopes, ago(100 * day), false},
			{"curfew", "Curfew", true, nil, "", ago(400 * day), true},
		}, Next: "abc"}},
		{"console-client-new", ConsoleClientNew{Console: c, Client: ClientForm{PKCE: "required"}}},
		{"console-client", ConsoleClient{
			Console: c, Client: orders, Secret: "GZ5Q2OSUX6WHL7V4RCJ5N3KQEM",
			Created: ago(100 * day), Changed: ago(time.Minute),
		}},
		{
			"console-client-full",
			ConsoleClient{Console: with(func(c *Console) {
				c.Problem = &Problem{
					Code:   "invalid",
					Detail: "access_ttl: it takes 1s to 1h",
				}
			}), Client: full, Created: ago(100 * day), Changed: ago(2 * day)},
		},
		{"console-client-built-in", ConsoleClient{
			Console: c, Client: ClientForm{ID: "curfew", Public: true},
			BuiltIn: true, Created: ago(400 * day), Changed: ago(400 * day),
		}},
		{"console-followers", ConsoleFollowers{Console: c, Last: 4712, Followers: sampleFollowers()}},
		{"console-receivers", ConsoleReceivers{Console: c, Receivers: sampleReceivers()}},
		{"console-receivers-none", ConsoleReceivers{Console: c}},
		{"console-webhook-new", ConsoleWebhookNew{
			Console: with(func(c *Console) { c.Problem = &Problem{Code: "invalid", Detail: "webhook URL: it needs a host"} }),
			URL:     "https://",
			Types:   []Choice{{"device.signed_in", true}, {"user.signed_out", true}, {"something.new", false}},
		}},
		{"console-receiver", ConsoleReceiver{
			Console: c, Receiver: sampleReceivers()[0], Secret: "whsec_Yl0xY3m2Cw1M0mS6kq8F1uBqkCwGJd3E0eK5u7nVt9Q=",
			Test: &WebhookAnswer{true, "204 No Content", 38 * time.Millisecond},
		}},
		{"console-receiver-failing", ConsoleReceiver{
			Console: c, Receiver: sampleReceivers()[1],
			Test: &WebhookAnswer{false, "503 Service Unavailable", 1200 * time.Millisecond},
		}},
		{"console-receiver-logout", ConsoleReceiver{Console: c, Receiver: sampleReceivers()[2]}},
		{"console-receiver-ending", ConsoleReceiver{Console: c, Receiver: sampleReceivers()[3]}},
		{"console-revocations", ConsoleRevocations{Console: c, Revocations: sampleRevocations(), Next: "abc"}},
		{"console-revocation-untold", ConsoleRevocation{Console: c, Revocation: sampleRevocations()[0]}},
		{
			"console-revocation",
			ConsoleRevocation{
				Console:    with(func(c *Console) { c.Receipt = receiptPartly() }),
				Revocation: sampleRevocations()[1], Confirmations: []Confirmation{
					{"api", "orders-eu-1", true, true, ago(time.Minute), 18 * time.Millisecond},
					{"api", "orders-eu-2", true, false, time.Time{}, 0},
					{"api", "reports", false, false, time.Time{}, 0},
				},
			},
		},
		{"console-events", ConsoleEvents{Console: c, Types: []string{
			"signed_in", "refresh_token_reuse",
			"revoked",
		}, Filter: AuditFilter{Type: "revoked"}, Events: sampleAudit(), Next: "abc"}},
	}
}

func sampleRows() []DeviceRow {
	alice, orders := "019a0000-0000-7000-8000-00000000000a", "Orders"
	return []DeviceRow{
		{
			ID: "019a0000-0000-7000-8000-000000000003", Name: "Alice’s Pixel", UserID: alice, Username: "alice",
			ClientID: "orders", Client: orders,
			Platform: "Orders on Pixel 8", UserAgent: "Orders/4.2 (Android 15; Pixel 8)",
			Address: "2001:db8:51ab:c0de::17", Scope: "openid profile orders",
			Status: "active", ParentID: "019a0000-0000-7000-8000-000000000001", FirstSeen: ago(212 * day),
			SignedIn: ago(20 * day),
			LastSeen: ago(3 * hour), Expires: clock.Add(27 * day),
		},
		{
			ID: "019a0000-0000-7000-8000-000000000001", Name: "Work laptop", UserID: alice, Username: "alice",
			ClientID: "curfew", Client: "Curfew",
			Platform: "Firefox on Linux", Address: "198.51.100.23", Status: "active", LastSeen: ago(20 * time.Second),
		},
		{
			ID: "019a0000-0000-7000-8000-000000000008", Name: "it's $HOME; `id`", UserID: alice,
			Username: "mallory", ClientID: "orders", Client: orders,
			Platform: "curl", Address: "203.0.113.9", Status: "revoked", LastSeen: ago(47 * time.Minute),
		},
		{
			ID: "019a0000-0000-7000-8000-000000000009", Name: "Television", UserID: alice, Username: "alice",
			ClientID: "films", Client: "Films",
			Platform: "Films 3", Address: "198.51.100.23", Status: "expired", LastSeen: ago(40 * day),
		},
	}
}

func sampleRevocations() []RevocationRow {
	return []RevocationRow{
		{
			Seq: 4712, Level: "device", Subject: "019a0000-0000-7000-8000-000000000003",
			SubjectName: "Alice’s Pixel", Reason: "refresh_token_reuse", Entity: "policy",
			At: ago(47 * time.Minute), ValidFrom: ago(47 * time.Minute),
		},
		{
			Seq: 4711, Level: "user", Subject: "019a0000-0000-7000-8000-00000000000a", SubjectName: "alice",
			Reason: "signed_out", Entity: "user", Actor: "alice", At: ago(5 * hour), ValidFrom: ago(5 * hour),
		},
		{
			Seq: 4702, Level: "everyone", Reason: "revoked", Entity: "admin", Actor: "grace", At: ago(60 * day),
			ValidFrom: ago(60 * day),
		},
	}
}

func sampleAudit() []AuditRow {
	alice := "019a0000-0000-7000-8000-00000000000a"
	return []AuditRow{
		{
			ID: 9, At: ago(47 * time.Minute), Type: "refresh_token_reuse", Entity: "policy", UserID: alice,
			Username: "alice", DeviceID: "019a0000-0000-7000-8000-000000000003",
			Device: "Alice’s Pixel", Address: "203.0.113.9", Agent: "curl/8.5.0",
			BeforeAddress: "2001:db8:51ab:c0de::17", BeforeAgent: "Orders/4.2 (Android 15; Pixel 8)",
			BeforeAt: ago(52 * time.Minute), Reason: "refresh_token_reuse", Level: "device", Seq: 4712,
		},
		{
			ID: 8, At: ago(5 * hour), Type: "revoked", Entity: "user", Actor: "alice", UserID: alice,
			Username: "alice", Address: "198.51.100.23", Level: "user", Reason: "signed_out", Seq: 4711,
		},
		{
			ID: 7, At: ago(26 * hour), Type: "client_changed", Entity: "admin", Actor: "grace", ClientID: "orders",
			Client: "Orders", Details: []Detail{{"redirect_uris", "https://orders.example/callback"}},
		},
		{
			ID: 6, At: ago(20 * day), Type: "signed_in", Entity: "user", UserID: alice, Username: "alice",
			ClientID: "orders", Client: "Orders", Device: "Alice’s Pixel", Address: "198.51.100.23",
		},
		{ID: 5, At: ago(21 * day), Type: "something_new", Entity: "system"},
	}
}

func sampleFollowers() []FollowerRow {
	return []FollowerRow{
		{"api", "orders-eu-1", true, 4712, ago(40 * time.Minute), 0, 18 * time.Millisecond},
		{"api", "orders-eu-2", true, 4711, ago(5 * hour), 1, 21 * time.Millisecond},
		{"reports", "nightly", false, 3200, ago(9 * day), 1512, 0},
	}
}

func sampleReceivers() []ReceiverRow {
	return []ReceiverRow{
		{
			ID: "019a0000-0000-7000-8000-0000000000a1", Kind: "webhook", URL: "https://hooks.example/curfew",
			Created: ago(90 * day), LastTry: ago(12 * time.Minute), LastAnswer: "204 No Content", Told: 18204,
		},
		{
			ID: "019a0000-0000-7000-8000-0000000000a2", Kind: "webhook",
			URL:   "https://billing.internal.example:8443/hooks/4f1c2d3e5a6b7c8d9e0f4f1c2d3e5a6b7c8d9e0f",
			Types: []string{"user.signed_out", "everyone.signed_out"}, Created: ago(400 * day), LastTry: ago(4 * time.Minute),
			LastAnswer: "503 Service Unavailable", FailingSince: ago(7 * hour), NextTry: clock.Add(11 * time.Minute), Tries: 23,
			Behind: 1000, More: true, BehindSince: ago(7 * hour), Told: 911, Dropped: 12,
		},
		{
			ID: "019a0000-0000-7000-8000-0000000000a3", Kind: "logout", URL: "https://orders.example/backchannel",
			ClientID: "orders", Created: ago(3 * day), Behind: 1, BehindSince: ago(2 * time.Second),
		},
		{
			ID: "019a0000-0000-7000-8000-0000000000a4", Kind: "logout", URL: "https://films.example/logout", ClientID: "films",
			Created: ago(200 * day), LastTry: ago(day), LastAnswer: "200 OK", Told: 88, Ending: true,
		},
	}
}

func sampleOverview(c Console) ConsoleOverview {
	wave := func(scale, shift float64) (v []int64) {
		for i := range 24 {
			v = append(v, int64(scale*(1.1+math.Sin(float64(i)/7+shift)+0.25*math.Cos(float64(i)*1.7))))
		}
		return v
	}
	chart := func(code string, series ...Series) Chart {
		return Chart{Code: code, Start: ago(24 * hour), Step: hour, Series: series}
	}
	spike := make([]int64, 24)
	spike[15], spike[16], spike[23] = 40, 12, 1
	return ConsoleOverview{
		Console: c, Followers: sampleFollowers(),
		Charts: []Chart{
			chart("sign_ins", Series{"sign_ins", wave(140, 0)}, Series{"again", wave(60, 0.4)}),
			chart("refused", Series{"credentials", wave(9, 1)}, Series{"throttled", spike}),
			chart("refreshes", Series{"refreshes", wave(21000, 0.2)}),
			chart("sign_outs", Series{"device", wave(20, 0)}, Series{"user", wave(4, 2)}, Series{
				"client",
				spike,
			}, Series{"everyone", make([]int64, 24)}),
		},
		Nodes: []Node{
			{"curfew-1", "1.2.0", ago(9 * day), ago(2 * time.Second), true, false},
			{"curfew-2", "1.2.0", ago(9 * day), ago(8 * time.Second), false, false},
			{"019a0000-0000-7000-8000-0000000000c3", "", time.Time{}, ago(21 * time.Minute), false, true},
		},
		Database: Database{
			Kind: "PostgreSQL", Version: "15.8", Connections: 12, Limit: 100,
			Answered: 800 * time.Microsecond,
		},
		Keys: []KeyRow{
			{"hK3v", "ES256", "next", ago(8 * time.Minute), clock.Add(2 * time.Minute)},
			{"p9Qd", "ES256", "active", ago(31 * day), clock.Add(59 * day)},
			{"a71x", "RS256", "retired", ago(90 * day), clock.Add(10 * time.Minute)},
		},
	}
}
