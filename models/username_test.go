package models

import (
	"bytes"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"testing"

	"github.com/google/uuid"
	"gorm.io/gorm"
	"pgregory.net/rapid"

	"curfew/internal/password"
)

// RFC 8265 section 3.3, and what people type: spellings in one group are one name, those of different groups are not.
var sameNames = [][]string{
	{"Νίκος", "ΝΊΚΟΣ", "νίκοσ", "Νι\u0301κος", " Νίκος ", "Νίκος\u00a0"},
	{"josé", "jose\u0301", "JOSÉ", "JOSE\u0301", "ｊｏｓé"},
	{"jose"},
	{"alice", "Alice", "ＡＬＩＣＥ", "alice ", "\talice", "ａｌｉｃｅ\u3000", "alice\n"},
	{"Straße", "straße", "STRAẞE"},
	{"strasse"},
	{"İsmail", "i\u0307smail"},
	{"ismail"},
	{"ısmail"},
	{"Alice Liddell", "alice\u3000liddell", "ALICE LIDDELL"},
	{"ｶﾀｶﾅ", "カタカナ"},
	{"דוד"},
	{"alice@example.org", "Alice@Example.ORG"},
}

func TestUsernameKey(t *testing.T) {
	groups := map[string]int{}
	for i, group := range sameNames {
		key := usernameKey(group[0])
		if j, ok := groups[key]; ok {
			t.Errorf("%q and %q are one", group[0], sameNames[j][0])
		}
		groups[key] = i
		for _, name := range group {
			if err := CheckUsername(name); err != nil || usernameKey(name) != key || usernameKey(key) != key {
				t.Errorf("%+q: key %+q, then %+q, %v, want %+q", name, usernameKey(name), usernameKey(usernameKey(name)), err, key)
			}
		}
	}
	for _, bad := range []string{
		"", " ", "\u3000", "a\x00b", "a\tb", "a\nb", "\xff", strings.Repeat("a", 256), "a\u200bb", "a\u202eb", "\u3164", "\uffa0a",
		"\u115fa", "♥", "alice🐇", "ﬁona", "½", "1דוד", "a\u200db", "a\u00adb", "a\ufeff",
	} {
		if err := CheckUsername(bad); !errors.Is(err, ErrInvalid) {
			t.Errorf("%+q: %v", bad, err)
		}
	}
}

// The key of a key is the key: so a cursor, a filter and a stored row say the same.
func TestUsernameKey_Stable(t *testing.T) {
	var wg sync.WaitGroup
	defer wg.Wait()
	for range 2 { // the library's tables are shared
		wg.Go(func() {
			rapid.Check(t, func(t *rapid.T) {
				name := rapid.String().Draw(t, "name")
				key, err := mapUsername(name)
				if err != nil {
					return
				}
				if again, err := mapUsername(key); err != nil || again != key {
					t.Errorf("%+q became %+q, and that %+q, %v", name, key, again, err)
				}
				if folded := foldUsername(trimUsername(name)); folded != key {
					t.Errorf("%+q: key %+q, folded %+q", name, key, folded)
				}
			})
		})
	}
}

// One person, however the keyboard writes the name: at sign-in, creation, renaming, in filters and in lists.
func TestUsernames_OneInEverySpelling(t *testing.T) {
	forEachDB(t, func(t *testing.T, k *kit) {
		for _, group := range sameNames {
			u := k.newUser(group[0])
			if u.Username != trimUsername(group[0]) {
				t.Errorf("%+q is stored as %+q", group[0], u.Username)
			}
			g := k.signIn(u)
			for _, name := range group {
				if got, err := k.attempt(name, testPassword, "198.51.100.7"); err != nil || got.ID != u.ID {
					t.Errorf("sign-in of %+q as %+q: %v", group[0], name, err)
				}
				if found, err := k.FindUser(t.Context(), name); err != nil || found.ID != u.ID {
					t.Errorf("%+q as %+q: %v", group[0], name, err)
				}
				_, err := k.CreateUser(t.Context(), NewUser{Username: name, Password: testPassword}, Actor{})
				if !errors.Is(err, ErrConflict) {
					t.Errorf("%+q beside %+q: %v", name, group[0], err)
				}
				devices, _, err := k.ListDevices(t.Context(), DeviceFilter{Username: name}, Page{})
				if err != nil || len(devices) != 1 || devices[0].ID != g.DeviceID {
					t.Errorf("devices of %+q as %+q: %d, %v", group[0], name, len(devices), err)
				}
				q := strings.TrimSpace(name)
				if devices, _, err = k.ListDevices(t.Context(), DeviceFilter{Q: q}, Page{}); err != nil || !hasDevice(devices, g.DeviceID) {
					t.Errorf("devices with %+q in the name, as %+q: %d, %v", group[0], q, len(devices), err)
				}
				users, _, err := k.ListUsers(t.Context(), q, Page{})
				if err != nil || len(users) == 0 || !hasUser(users, u.ID) {
					t.Errorf("users that begin with %+q, as %+q: %d, %v", group[0], q, len(users), err)
				}
			}
		}
		other := k.newUser("other")
		if _, _, err := k.UpdateUser(t.Context(), other.ID, UserPatch{Username: ptr("ΝΊΚΟΣ ")}, Actor{}); !errors.Is(err, ErrConflict) {
			t.Errorf("renamed to another's name: %v", err)
		}
		renamed, _, err := k.UpdateUser(t.Context(), other.ID, UserPatch{Username: ptr(" Γιώργος ")}, Actor{})
		if err != nil || renamed.Username != "Γιώργος" {
			t.Errorf("renamed: %+v, %v", renamed, err)
		}
		if _, err := k.attempt("ΓΙΏΡΓΟΣ", testPassword, "198.51.100.7"); err != nil {
			t.Errorf("sign-in after renaming: %v", err)
		}
	})
}

func hasDevice(list []DeviceInfo, id uuid.UUID) bool {
	for _, d := range list {
		if d.ID == id {
			return true
		}
	}
	return false
}

func hasUser(list []User, id uuid.UUID) bool {
	for _, u := range list {
		if u.ID == id {
			return true
		}
	}
	return false
}

// formerUser is a user as an older version stored it.
func (k *kit) formerUser(name string) *User {
	k.t.Helper()
	u := k.newUser(uuid.NewString())
	err := k.write(k.t.Context(), func(tx *gorm.DB) error {
		_, err := k.exec(tx, `UPDATE users SET username = @name, username_key = @key WHERE id = @id`,
			args{"name": name, "key": strings.ToLower(name), "id": u.ID})
		return err
	})
	if err != nil {
		k.t.Fatal(err)
	}
	return u
}

// Users of before RFC 8265 go on to sign in: before the keys are renewed, with the spelling that they have, afterwards
// in every one. Two who have become one keep exactly their own, and are named; nobody else gets in between.
func TestMigrate_RenewsUsernameKeys(t *testing.T) {
	forEachDB(t, func(t *testing.T, k *kit) {
		signsIn := func(name string, want *User) {
			t.Helper()
			u, err := k.attempt(name, testPassword, "198.51.100.7")
			if want == nil && !errors.Is(err, ErrCredentials) || want != nil && (err != nil || u.ID != want.ID) {
				t.Errorf("sign-in as %+q: %+v, %v", name, u, err)
			}
		}
		migrate := func() string {
			t.Helper()
			var log bytes.Buffer
			cfg := k.cfg
			cfg.Logger = slog.New(slog.NewTextHandler(&log, nil))
			if applied, err := Migrate(t.Context(), cfg); err != nil || len(applied) != 0 {
				t.Fatalf("%v, %v", applied, err)
			}
			return log.String()
		}
		nikos, star := k.formerUser("Νίκος"), k.formerUser("★bob")
		composed, decomposed := k.formerUser("josé"), k.formerUser("jose\u0301")
		wide, dotted := k.formerUser("ａｎｎａ"), k.formerUser("İlker")
		signsIn("Νίκος", nikos)
		signsIn("ΝΊΚΟΣ", nil)
		if log := migrate(); strings.Count(log, "msg=") != 1 || !strings.Contains(log, decomposed.ID.String()) {
			t.Errorf("logged %s", log)
		}
		for _, again := range []bool{false, true} {
			for _, name := range []string{"Νίκος", "ΝΊΚΟΣ", "Νι\u0301κος"} {
				signsIn(name, nikos)
			}
			signsIn("★bob", star)
			signsIn("★Bob", star)
			signsIn("josé", composed)
			signsIn("JOSÉ", composed)
			signsIn("jose\u0301", decomposed)
			signsIn("anna", wide)
			signsIn("ａｎｎａ", wide)
			signsIn("İlker", dotted)
			signsIn("ilker", nil) // RFC 8265 has them for two
			if !again {
				migrate()
			}
		}
		if _, err := k.CreateUser(t.Context(), NewUser{Username: "★bert", Password: testPassword}, Actor{}); !errors.Is(err, ErrInvalid) {
			t.Errorf("a new name like that: %v", err)
		}
		if found, err := k.FindUser(t.Context(), "jose\u0301"); err != nil || found.ID != decomposed.ID {
			t.Errorf("a command for one of the two: %v", err)
		}
		// The key becomes free: neither may a third one take the spelling, nor does it stay so.
		if _, err := k.DeleteUser(t.Context(), composed.ID, Actor{}); err != nil {
			t.Fatal(err)
		}
		_, err := k.CreateUser(t.Context(), NewUser{Username: "jose\u0301", Password: testPassword}, Actor{})
		if !errors.Is(err, ErrConflict) {
			t.Errorf("a third one with the spelling: %v", err)
		}
		if log := migrate(); log != "" {
			t.Errorf("logged %s", log)
		}
		signsIn("JOSÉ", decomposed)
		// Who got the key that another name had by the former rule is not found by that one.
		ilker := k.newUser("ilker")
		signsIn("ilker", ilker)
		signsIn("İlker", dotted)
	})
}

// The words of the context are refused wherever a password is set, and a hash of elsewhere is not asked.
func TestPasswordPolicy_Context(t *testing.T) {
	forEachDB(t, func(t *testing.T, k *kit) {
		u := k.newUser("anna")
		for _, bad := range []string{"Curfew2026!", "signin-acme-2026", "Acme-Widgets!", "Widgetizer2026", "short-but-14-c"} {
			_, err := k.CreateUser(t.Context(), NewUser{Username: "ben", Password: bad}, Actor{})
			_, _, err2 := k.UpdateUser(t.Context(), u.ID, UserPatch{Password: ptr(bad)}, Actor{})
			_, _, err3 := k.ChangePassword(t.Context(), PasswordChange{UserID: u.ID, Current: testPassword, New: bad, IP: "198.51.100.1"}, Actor{})
			for i, err := range []error{err, err2, err3} {
				if !errors.Is(err, ErrPasswordPolicy) {
					t.Errorf("%s, way %d: %v", bad, i, err)
				}
			}
		}
	}, func(c *Config) {
		c.Issuer, c.Passwords = "https://signin.acme-widgets.example", password.PolicyConfig{
			MinLength: 15, Words: []string{"Widgetizer"},
		}
	})
}
