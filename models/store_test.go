package models

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"gorm.io/gorm/schema"

	"curfew/internal/testdb"
)

// The versioned schema fits the structs, column by column, on both databases.
func TestMigrations_FitTheStructs(t *testing.T) {
	forEachDB(t, func(t *testing.T, k *kit) {
		for _, model := range []any{&Realm{}, &User{}, &Client{}, &Device{}, &Revocation{}, &AuditEvent{}, &SigningKey{}, &Subscriber{}, &acknowledgement{}, &Code{}, &Receiver{}} {
			parsed, err := schema.Parse(model, &sync.Map{}, k.db.NamingStrategy)
			if err != nil {
				t.Fatal(err)
			}
			rows, err := k.sqldb.QueryContext(t.Context(), "SELECT * FROM "+parsed.Table+" WHERE 1 = 0")
			if err != nil {
				t.Fatal(err)
			}
			have, err := rows.Columns()
			if err != nil {
				t.Fatal(err)
			}
			rows.Close()
			var want []string
			for _, f := range parsed.Fields {
				if f.DBName != "" && f.Creatable {
					want = append(want, f.DBName)
				}
			}
			slices.Sort(have)
			slices.Sort(want)
			if !slices.Equal(have, want) {
				t.Errorf("%s: the table has %v, the struct %v", parsed.Table, have, want)
			}
		}
	})
}

func TestMigrate_SeveralAtOnce(t *testing.T) {
	cfg := testConfig(testdb.Postgres(t))
	var wg sync.WaitGroup
	applied := make([]int, 4)
	for i := range applied {
		wg.Go(func() {
			versions, err := Migrate(t.Context(), cfg)
			if err != nil {
				t.Error(err)
			}
			applied[i] = len(versions)
		})
	}
	wg.Wait()
	slices.Sort(applied)
	if applied[2] != 0 || applied[3] == 0 {
		t.Fatalf("steps applied by each: %v; want all by one", applied)
	}
}

func TestOpen_SchemaMissing(t *testing.T) {
	for _, url := range []string{testdb.SQLite(t), testdb.Postgres(t)} {
		if _, err := Open(t.Context(), testConfig(url)); !errors.Is(err, ErrSchema) {
			t.Fatalf("an empty database: %v", err)
		}
	}
}

// Invariant 4: a device is one row, before the first refresh and after many; a refresh inserts nothing anywhere.
func TestRefreshDevice_InsertsNothing(t *testing.T) {
	forEachDB(t, func(t *testing.T, k *kit) {
		g := k.signIn(k.newUser("anna"))
		count := func() string {
			var all []int
			for _, table := range []string{"devices", "audit_events", "revocations", "rate_limits", "users", "clients", "signing_keys", "subscribers"} {
				var n int
				if err := k.sqldb.QueryRowContext(t.Context(), "SELECT count(*) FROM "+table).Scan(&n); err != nil {
					t.Fatal(err)
				}
				all = append(all, n)
			}
			return fmt.Sprint(all)
		}
		before := count()
		for range 50 {
			g = k.mustRefresh(g.RefreshToken)
		}
		if after := count(); after != before {
			t.Fatalf("rows before %s, after %s", before, after)
		}
	})
}

// Invariant 6: a reader that resumes after N gets every event that commits after N, however transactions interleave.
func TestRevocations_NoLostEvent(t *testing.T) {
	forEachDB(t, func(t *testing.T, k *kit) {
		u := k.newUser("anna")
		const writers, each = 8, 15
		grants := make([][]*Grant, writers)
		for i := range grants {
			for range each {
				grants[i] = append(grants[i], k.signIn(u))
			}
		}
		nodes := []*Store{k.Store, k.open()}
		var wg sync.WaitGroup
		for i := range writers {
			wg.Go(func() {
				for _, g := range grants[i] {
					if _, err := nodes[i%2].Revoke(t.Context(), OneDevice(g.DeviceID), ReasonRevoked, Actor{}); err != nil {
						t.Error(err)
					}
				}
			})
		}
		seen, cursor := map[string]bool{}, int64(0)
		finished := make(chan struct{})
		go func() { wg.Wait(); close(finished) }()
		for done := false; ; {
			moved := nodes[1].LogMoved()
			list, at, err := nodes[1].Revocations(t.Context(), cursor)
			if err != nil {
				t.Fatal(err)
			}
			for _, r := range list {
				if r.Seq <= cursor {
					t.Fatalf("event %d after %d", r.Seq, cursor)
				}
				seen[r.Subject] = true
				cursor = r.Seq
			}
			cursor = at.Seq
			if done && len(list) == 0 {
				break
			}
			select {
			case <-finished:
				done = true
			case <-moved:
			}
		}
		if len(seen) != writers*each {
			t.Fatalf("%d of %d events were seen", len(seen), writers*each)
		}
	}, func(c *Config) { c.MaxDevicesPerUser = 1000 })
}

// The secret is changed without signing anybody out: the old one is understood while it is there.
func TestSecret_Change(t *testing.T) {
	forEachDB(t, func(t *testing.T, k *kit) {
		g := k.signIn(k.newUser("anna"))
		old := k.cfg.Secrets[0]
		k.cfg.Secrets = [][]byte{bytes.Repeat([]byte{9}, 32), old}
		k.Store = k.open()
		if !k.alive(g) {
			t.Fatal("the access token died")
		}
		next := k.mustRefresh(g.RefreshToken)
		k.cfg.Secrets = k.cfg.Secrets[:1]
		k.Store = k.open() // the signing keys have been sealed anew
		last := k.mustRefresh(next.RefreshToken)
		if !k.alive(last) {
			t.Fatal("signed out by a change of the secret")
		}
		k.cfg.Secrets = [][]byte{old}
		if _, err := Open(t.Context(), k.cfg); !errors.Is(err, errWrongSecret) {
			t.Fatalf("the wrong secret: %v", err)
		}
	})
}

func TestRotateKeys(t *testing.T) {
	for _, alg := range []string{"ES256", "EdDSA", "RS256"} {
		forEachDB(t, func(t *testing.T, k *kit) {
			g := k.signIn(k.newUser("anna"))
			other := k.open()
			key, err := k.RotateKeys(t.Context(), false, Actor{})
			if err != nil || len(k.JWKS()) != 4 { // and the two of identity
				t.Fatalf("%v, %d keys", err, len(k.JWKS()))
			}
			if next := k.mustRefresh(g.RefreshToken); k.keys.Load().signer(0) == nil || !k.alive(next) || !k.alive(g) {
				t.Fatal("a rotation was noticed")
			}
			// Once it is active it signs, and another node accepts its tokens though it has not read the table since.
			if _, err := k.sqldb.ExecContext(t.Context(), "UPDATE signing_keys SET activates_at = created_at"); err != nil {
				t.Fatal(err)
			}
			if err := k.loadKeys(t.Context()); err != nil {
				t.Fatal(err)
			}
			next := k.signIn(k.newUser("ben"))
			if k.keys.Load().signer(Micros(time.Now().UnixMicro())).KID != key.KID {
				t.Fatal("the new key does not sign")
			}
			time.Sleep(1100 * time.Millisecond) // other reads the table again at most once a second
			if _, err := other.CheckAccessToken(t.Context(), next.AccessToken); err != nil {
				t.Fatalf("another node: %v", err)
			}
			if _, err := k.RotateKeys(t.Context(), true, Actor{}); err != nil || len(k.JWKS()) != 2 || k.alive(next) {
				t.Fatalf("a leaked key is still trusted: %v", err)
			}
		}, func(c *Config) { c.SigningAlg = alg })
	}
}

// A node's memory of a client is never older than the statement that uses it.
func TestWithClient_NeverStale(t *testing.T) {
	forEachDB(t, func(t *testing.T, k *kit) {
		here, there := k.Store, k.open()
		_, secret, err := here.CreateClient(t.Context(), NewClient{ID: "api", Grants: []string{GrantPassword, GrantRefreshToken}, Scopes: []string{"settings"}}, Actor{})
		if err != nil {
			t.Fatal(err)
		}
		u := k.newUser("anna")
		api, err := here.GetClient(t.Context(), "api")
		if err != nil {
			t.Fatal(err)
		}
		g, err := here.SignIn(t.Context(), SignIn{User: u, Client: api, Scope: "settings", Name: "x", Origin: origin})
		if err != nil {
			t.Fatal(err)
		}
		refresh := func(s *Store, secret string) error {
			return s.WithClient(t.Context(), ClientCredentials{ID: "api", Secret: secret, IP: "198.51.100.1"}, func(c *Client) error {
				next, err := s.RefreshDevice(t.Context(), Refresh{Token: g.RefreshToken, Client: c, Origin: origin})
				if err == nil {
					g = next
				}
				return err
			})
		}
		for range 2 {
			if err := refresh(there, secret); err != nil { // now it is in there's memory
				t.Fatal(err)
			}
		}
		grant := func(s *Store, secret string) error {
			return s.WithClient(t.Context(), ClientCredentials{ID: "ops", Secret: secret, IP: "198.51.100.1"}, func(c *Client) error {
				_, err := s.GrantClient(t.Context(), c, "")
				return err
			})
		}
		_, old, err := here.CreateClient(t.Context(), NewClient{ID: "ops", Grants: []string{GrantClientCredentials}}, Actor{})
		if err != nil || grant(there, old) != nil {
			t.Fatal(err)
		}
		if _, err := here.RotateClientSecret(t.Context(), "ops", "", Actor{}); err != nil {
			t.Fatal(err)
		}
		if err := grant(there, old); !errors.Is(err, ErrClientCredentials) {
			t.Fatalf("client credentials with the old secret on another node: %v", err)
		}
		next, err := here.RotateClientSecret(t.Context(), "api", "", Actor{})
		if err != nil {
			t.Fatal(err)
		}
		if err := refresh(there, secret); !errors.Is(err, ErrClientCredentials) {
			t.Fatalf("the old secret on another node: %v", err)
		}
		if err := refresh(there, next); err != nil {
			t.Fatal(err)
		}
		if _, err := here.UpdateClient(t.Context(), "api", ClientPatch{Scopes: &[]string{}}, Actor{}); err != nil {
			t.Fatal(err)
		}
		if err := refresh(there, next); err != nil || g.Scope != "" {
			t.Fatalf("a scope that the client has lost: %q, %v", g.Scope, err)
		}
		if _, err := here.DeleteClient(t.Context(), "api", Actor{}); err != nil {
			t.Fatal(err)
		}
		if err := refresh(there, next); !errors.Is(err, ErrClientCredentials) {
			t.Fatalf("a client that is gone: %v", err)
		}
		if _, _, err := here.CreateClient(t.Context(), NewClient{ID: "api", Secret: next, Grants: []string{GrantPassword, GrantRefreshToken}}, Actor{}); err != nil {
			t.Fatal(err)
		}
		if k.alive(g) || !errors.Is(refresh(there, next), ErrRefreshTokenInvalid) {
			t.Fatal("a client that was deleted and made again brought its tokens back to life")
		}
	})
}

func TestStore_DatabaseAway(t *testing.T) {
	forEachDB(t, func(t *testing.T, k *kit) {
		u := k.newUser("anna")
		g := k.signIn(u)
		s := k.open()
		s.stop()
		s.sqldb.Close()
		_, errCheck := s.CheckAccessToken(t.Context(), g.AccessToken)
		_, errRefresh := s.RefreshDevice(t.Context(), Refresh{Token: g.RefreshToken, Client: k.client})
		_, errRevoke := s.Revoke(t.Context(), Everyone(), ReasonRevoked, Actor{})
		_, errClient := s.GrantClient(t.Context(), k.client, "")
		for i, err := range []error{errCheck, errRefresh, errRevoke, errClient, s.Ping(t.Context())} {
			if !errors.Is(err, ErrUnavailable) {
				t.Errorf("%d: %v, want ErrUnavailable", i, err)
			}
		}
	})
}

func TestListDevices_PagesAndFilters(t *testing.T) {
	forEachDB(t, func(t *testing.T, k *kit) {
		anna, ben := k.newUser("anna"), k.newUser("Ben_%")
		for range 7 {
			k.signIn(anna)
			k.signIn(ben)
		}
		seen := map[uuid.UUID]bool{}
		p := Page{Limit: 3}
		for {
			list, next, err := k.ListDevices(t.Context(), DeviceFilter{UserID: anna.ID}, p)
			if err != nil {
				t.Fatal(err)
			}
			for _, d := range list {
				if seen[d.ID] || d.UserID != anna.ID || d.Status != StatusActive || d.Username != "anna" || d.ClientName != "web" {
					t.Fatalf("%+v", d)
				}
				seen[d.ID] = true
			}
			if p.Cursor = next; next == "" {
				break
			}
		}
		if len(seen) != 7 {
			t.Fatalf("%d devices on all pages", len(seen))
		}
		for i, f := range []DeviceFilter{{Username: "ANNA"}, {Q: "BEN_%"}, {IP: origin.IP, UserID: ben.ID, Status: StatusActive}, {ClientID: "web", Q: "anna"}} {
			if list, _, err := k.ListDevices(t.Context(), f, Page{}); err != nil || len(list) != 7 {
				t.Errorf("filter %d: %d devices, %v", i, len(list), err)
			}
		}
		if n, err := k.CountTarget(t.Context(), Everyone()); n != 14 || err != nil {
			t.Errorf("count %d, %v", n, err)
		}
		if _, _, err := k.ListDevices(t.Context(), DeviceFilter{}, Page{Cursor: k.cursor("users", "x")}); !errors.Is(err, ErrInvalid) {
			t.Errorf("a cursor of another list: %v", err)
		}
		// Not only ASCII has capitals.
		g := k.signIn(ben)
		if _, err := k.RenameDevice(t.Context(), DeviceFilter{ID: g.DeviceID}, "ÉCRAN Büro 100%", Actor{}); err != nil {
			t.Fatal(err)
		}
		for _, q := range []string{"ÉCRAN Büro", "écran bÜRO", "0%"} {
			if list, _, err := k.ListDevices(t.Context(), DeviceFilter{Q: q}, Page{}); err != nil || len(list) != 1 {
				t.Errorf("%q: %d devices, %v", q, len(list), err)
			}
		}
		for _, f := range []func() error{
			func() error {
				_, err := k.Revoke(t.Context(), Devices(DeviceFilter{}), ReasonRevoked, Actor{})
				return err
			},
			func() error { _, err := k.RenameDevice(t.Context(), DeviceFilter{}, "x", Actor{}); return err },
			func() error { _, err := k.GetDevice(t.Context(), DeviceFilter{}); return err },
		} {
			if err := f(); !errors.Is(err, ErrInvalid) && !errors.Is(err, ErrNotFound) {
				t.Errorf("no filter: %v", err)
			}
		}
		out := k.revoke(Devices(DeviceFilter{Q: "anna"}))
		if n, _ := k.CountTarget(t.Context(), Everyone()); n != 8 || out.Count != 7 {
			t.Errorf("%d left after %d were revoked by a filter", n, out.Count)
		}
	})
}
