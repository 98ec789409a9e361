package models

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"
	"go.uber.org/goleak"
	"golang.org/x/crypto/bcrypt"

	"curfew/internal/password"
	"curfew/internal/testdb"
)

func TestMain(m *testing.M) {
	testdb.Prepare = func(url string) error {
		if _, err := Migrate(context.Background(), testConfig(url)); err != nil {
			return err
		}
		s, err := Open(context.Background(), testConfig(url))
		if err != nil {
			return err
		}
		return s.Close()
	}
	code := testdb.Main(m)
	if err := goleak.Find(); err != nil && code == 0 {
		fmt.Fprintln(os.Stderr, "something still runs that a store or a test has started:", err)
		code = 1
	}
	os.Exit(code)
}

// kit is a store with a client and a few shorthands that fail the test.
type kit struct {
	*Store
	t      *testing.T
	cfg    Config
	client *Client
	offset *atomic.Int64 // SQLite's clock runs this many microseconds ahead
}

const testPassword = "correct horse battery"

var origin = Origin{IP: "203.0.113.7", UserAgent: "test/1"}

func testConfig(url string) Config {
	return Config{
		DatabaseURL: url, Issuer: "https://curfew.test", Secrets: [][]byte{bytes.Repeat([]byte{7}, 32)},
		ReuseInterval: 30 * time.Second, Hash: password.Config{Memory: 64, Time: 1, Threads: 1, Concurrency: 4, Queue: 64},
	}
}

// forEachDB runs fn on a new store on SQLite and on PostgreSQL.
func forEachDB(t *testing.T, fn func(t *testing.T, k *kit), change ...func(*Config)) {
	t.Helper()
	testdb.Each(t, func(t *testing.T, url string) { fn(t, newKit(t, url, change...)) })
}

func newKit(t *testing.T, url string, change ...func(*Config)) *kit {
	t.Helper()
	k := &kit{t: t, cfg: testConfig(url), offset: &atomic.Int64{}}
	k.cfg.Clock = func() time.Time { return time.Now().Add(time.Duration(k.offset.Load()) * time.Microsecond) }
	for _, c := range change {
		c(&k.cfg)
	}
	if _, err := Migrate(t.Context(), k.cfg); err != nil {
		t.Fatal(err)
	}
	k.Store = k.open()
	k.client = k.newClient("web", GrantPassword, GrantRefreshToken)
	return k
}

// open opens another store on the same database: another node.
func (k *kit) open() *Store {
	k.t.Helper()
	s, err := Open(k.t.Context(), k.cfg)
	if err != nil {
		k.t.Fatal(err)
	}
	k.t.Cleanup(func() { s.Close() })
	return s
}

func (k *kit) newClient(id string, grants ...string) *Client {
	k.t.Helper()
	c, _, err := k.CreateClient(k.t.Context(), NewClient{
		ID: id, Public: grants[0] == GrantPassword, Grants: grants, Scopes: []string{"settings", "profile", "admin"},
	}, Actor{})
	if err != nil {
		k.t.Fatal(err)
	}
	return c
}

func (k *kit) newUser(name string) *User {
	k.t.Helper()
	u, err := k.CreateUser(k.t.Context(), NewUser{Username: name, Password: testPassword}, Actor{})
	if err != nil {
		k.t.Fatal(err)
	}
	return u
}

func (k *kit) signInAs(u *User, device uuid.UUID) (*Grant, error) {
	c, err := k.GetClient(context.Background(), k.client.ID)
	if err != nil {
		return nil, err
	}
	return k.SignIn(context.Background(), SignIn{User: u, Client: c, Scope: "settings profile", DeviceID: device, Name: "phone", Origin: origin})
}

func (k *kit) signIn(u *User) *Grant {
	k.t.Helper()
	g, err := k.signInAs(u, uuid.Nil)
	if err != nil {
		k.t.Fatal(err)
	}
	return g
}

func (k *kit) refresh(token string) (*Grant, error) {
	c, err := k.GetClient(context.Background(), k.client.ID)
	if err != nil {
		return nil, err
	}
	return k.RefreshDevice(context.Background(), Refresh{Token: token, Client: c, Origin: origin})
}

func (k *kit) mustRefresh(token string) *Grant {
	k.t.Helper()
	g, err := k.refresh(token)
	if err != nil {
		k.t.Fatal(err)
	}
	return g
}

func (k *kit) alive(g *Grant) bool {
	k.t.Helper()
	_, err := k.CheckAccessToken(context.Background(), g.AccessToken)
	if err != nil && !isOurs(err) {
		k.t.Fatal(err)
	}
	return err == nil
}

func (k *kit) revoke(t Target) *SignOut {
	k.t.Helper()
	out, err := k.Revoke(context.Background(), t, ReasonRevoked, Actor{Entity: EntityAdmin, ID: "test"})
	if err != nil {
		k.t.Fatal(err)
	}
	return out
}

// events are the revocations of one subject, oldest first.
func (k *kit) events(subject string) []Revocation {
	k.t.Helper()
	list, _, err := k.ListRevocations(context.Background(), RevocationFilter{Subject: subject}, Page{})
	if err != nil {
		k.t.Fatal(err)
	}
	for i, j := 0, len(list)-1; i < j; i, j = i+1, j-1 {
		list[i], list[j] = list[j], list[i]
	}
	return list
}

func bcryptOf(t *testing.T, password string) string {
	t.Helper()
	hash, err := bcrypt.GenerateFromPassword([]byte(password), bcrypt.MinCost)
	if err != nil {
		t.Fatal(err)
	}
	return string(hash)
}
