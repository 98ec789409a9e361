package notify

import (
	"net/http"
	"net/url"
	"slices"
	"testing"

	"github.com/golang-jwt/jwt/v5"
	"github.com/google/uuid"

	"curfew/models"
)

// What a client's devices ended by is told with the sid of each: at the level of a device at once, above it one by one.
func TestLogout_EveryDevice(t *testing.T) {
	forEachDB(t, func(t *testing.T, k *kit) {
		app, quiet := newHook(t, nil), newHook(t, nil)
		k.client("app", app.URL)
		k.client("quiet", quiet.URL)
		k.client("none", "")
		k.start(k.Store)
		anna, ben := k.user("anna"), k.user("ben")
		var devices []string
		for range 230 { // more than two batches
			devices = append(devices, k.signIn(ben, "app", uuid.Nil).DeviceID.String())
			if len(devices) == 90 {
				k.exec(`UPDATE devices SET user_id = (SELECT id FROM users WHERE username = 'ben')`)
			}
		}
		_ = anna
		var alive int
		if err := k.DB().QueryRow(`SELECT count(*) FROM devices d WHERE d.signed_in_at > d.valid_from`).Scan(&alive); err != nil {
			t.Fatal(err)
		}
		devices = devices[len(devices)-alive:]
		g := k.signIn(anna, "app", uuid.Nil)
		k.signIn(anna, "none", uuid.Nil)
		one := k.revoke(models.OneDevice(g.DeviceID))
		if told := k.settled(one.Seq); told != (models.Told{Receivers: 1, Answered: 1}) {
			t.Errorf("%+v", told)
		}
		last := slices.DeleteFunc(sids(t, k, app), func(s string) bool { return s != g.DeviceID.String() })
		if len(last) != 1 {
			t.Errorf("%v", last)
		}
		before := len(app.all())
		user := k.revoke(models.WholeUser(ben.ID))
		if told := k.settled(user.Seq); told != (models.Told{Receivers: 1, Answered: 1}) {
			t.Errorf("%+v", told)
		}
		got := sids(t, k, app)[before:]
		slices.Sort(got)
		slices.Sort(devices)
		if !slices.Equal(got, devices) {
			t.Errorf("%d sids of %d devices", len(got), len(devices))
		}
		// Who is out has nothing to be told of; who signed in again is in.
		again := k.signIn(anna, "app", g.DeviceID)
		every := k.revoke(models.Everyone())
		if told := k.settled(every.Seq); told != (models.Told{Receivers: 1, Answered: 1}) {
			t.Errorf("%+v", told)
		}
		if got := sids(t, k, app)[before+len(devices):]; len(got) != 1 || got[0] != again.DeviceID.String() {
			t.Errorf("%v", got)
		}
		if len(quiet.all()) != 0 {
			t.Error("a client without devices was told")
		}
	})
}

// sids are those of the logout tokens that a receiver got, each of which must be good.
func sids(t *testing.T, k *kit, h *hook) (list []string) {
	t.Helper()
	for _, r := range h.all() {
		form, err := url.ParseQuery(r.body)
		if err != nil {
			t.Fatal(err)
		}
		claims := jwt.MapClaims{}
		token, err := jwt.NewParser(jwt.WithValidMethods([]string{"RS256"}), jwt.WithIssuer(issuer)).
			ParseWithClaims(form.Get("logout_token"), claims, func(token *jwt.Token) (any, error) {
				return publicKey(t, k, token.Header["kid"].(string)), nil
			})
		if err != nil {
			t.Fatal(err)
		}
		events, _ := claims["events"].(map[string]any)
		_, hasEvent := events[logoutEvent]
		life := claims["exp"].(float64) - claims["iat"].(float64)
		if token.Header["typ"] != "logout+jwt" || !hasEvent || claims["jti"] == "" || claims["nonce"] != nil || life != 120 ||
			claims["sub"] == "" || claims["aud"] == "" {
			t.Fatalf("%v %v", token.Header, claims)
		}
		list = append(list, claims["sid"].(string))
	}
	return list
}

func publicKey(t *testing.T, k *kit, kid string) any {
	t.Helper()
	for _, j := range k.JWKS() {
		if j.Kid == kid {
			return rsaKey(t, j)
		}
	}
	t.Fatalf("the key %s is not published", kid)
	return nil
}

// In the middle of an event that ended many devices a node ends; the next one goes on there.
func TestLogout_Resumes(t *testing.T) {
	forEachDB(t, func(t *testing.T, k *kit) {
		stuck := make(chan struct{})
		const devices = 250
		app := newHook(t, func(n int, w http.ResponseWriter, _ *http.Request) {
			if n > 150 {
				select {
				case <-stuck:
				default:
					w.WriteHeader(http.StatusServiceUnavailable)
				}
			}
		})
		k.client("app", app.URL)
		for i := range 5 {
			u := k.user("user" + string(rune('a'+i)))
			for range devices / 5 {
				k.signIn(u, "app", uuid.Nil)
			}
		}
		n := k.start(k.Store)
		event := k.revoke(models.WholeClient("app"))
		eventually(t, func() bool { return len(app.all()) > 150 })
		n.Close()
		close(stuck)
		asked := len(app.all())
		k.start(k.Store)
		if told := k.settled(event.Seq); told != (models.Told{Receivers: 1, Answered: 1}) {
			t.Errorf("%+v", told)
		}
		list := sids(t, k, app)
		if again := len(list) - asked; again > devices-100+deviceBatch/2 || again < devices-150 {
			t.Errorf("%d told after the restart", again)
		}
		slices.Sort(list)
		if n := len(slices.Compact(list)); n != devices {
			t.Errorf("%d devices were told of, of %d", n, devices)
		}
	})
}

// A client, or a user, that is deleted while its notices wait.
func TestLogout_Deleted(t *testing.T) {
	forEachDB(t, func(t *testing.T, k *kit) {
		app := newHook(t, nil)
		k.client("app", app.URL)
		anna, ben := k.user("anna"), k.user("ben")
		want := []string{k.signIn(anna, "app", uuid.Nil).DeviceID.String(), k.signIn(ben, "app", uuid.Nil).DeviceID.String()}
		by := models.Actor{Entity: models.EntityAdmin}
		if _, err := k.DeleteUser(t.Context(), anna.ID, by); err != nil {
			t.Fatal(err)
		}
		out, err := k.DeleteClient(t.Context(), "app", by)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := k.Cleanup(t.Context()); err != nil {
			t.Fatal(err)
		}
		var name string
		if err := k.DB().QueryRow(`SELECT name || ip || user_agent FROM devices WHERE id = '` + want[0] + `'`).Scan(&name); err != nil ||
			name != "" {
			t.Errorf("%q, %v", name, err)
		}
		k.client("app", "") // somebody else takes the name
		k.start(k.Store)
		if told := k.settled(out.Revocation.Seq); told != (models.Told{Receivers: 1, Answered: 1}) {
			t.Errorf("%+v", told)
		}
		got := sids(t, k, app)
		slices.Sort(got)
		slices.Sort(want)
		if !slices.Equal(got, want) {
			t.Errorf("%v, want %v", got, want)
		}
	})
}
