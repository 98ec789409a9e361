package verify_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/golang-jwt/jwt/v5"

	"curfew/models"
	"curfew/verify"
	"curfew/verify/ginverify"
)

// At each level: what was issued before is refused as soon as the feed has said so, also when it was verified before;
// what is issued afterwards, in the same millisecond, is accepted.
func TestVerify_Levels(t *testing.T) {
	for _, alg := range []string{"ES256", "EdDSA", "RS256"} {
		forEachDB(t, func(t *testing.T, i *issuer) {
			v := i.verifier()
			synced(t, v, 0)
			for _, level := range models.Levels {
				before := i.signIn()
				api, err := i.store.GetClient(t.Context(), "api")
				if err != nil {
					t.Fatal(err)
				}
				other, err := i.store.GrantClient(t.Context(), api, "")
				if err != nil {
					t.Fatal(err)
				}
				for range 2 { // the second time from the cache
					claims, err := v.Verify(t.Context(), before.AccessToken)
					if err != nil || claims.Subject != i.user.ID.String() ||
						claims.DeviceID != before.DeviceID.String() || claims.ClientID != "web" ||
						!claims.HasScope("orders") {
						t.Fatalf("%s: %+v, %v", level, claims, err)
					}
				}
				seq := i.revoke(level, before)
				after := i.signIn()
				synced(t, v, seq)
				if _, err := v.Verify(t.Context(), before.AccessToken); !errors.Is(err, verify.ErrRevoked) {
					t.Fatalf("%s: before the sign-out: %v", level, err)
				}
				if _, err := v.Verify(t.Context(), after.AccessToken); err != nil {
					t.Fatalf("%s: after the sign-out: %v", level, err)
				}
				if _, err := v.Verify(t.Context(), other.AccessToken); (err != nil) != (level == models.LevelEveryone) {
					t.Fatalf("%s: another client's own token: %v", level, err)
				}
			}
		}, func(c *models.Config) { c.SigningAlg = alg })
	}
}

func TestVerify_Refuses(t *testing.T) {
	forEachDB(t, func(t *testing.T, i *issuer) {
		v := i.verifier()
		synced(t, v, 0)
		genuine := i.signIn().AccessToken
		parts := strings.Split(genuine, ".")
		claims := jwt.MapClaims{}
		token, _, err := jwt.NewParser().ParseUnverified(genuine, claims)
		if err != nil {
			t.Fatal(err)
		}
		kid := token.Header["kid"].(string)
		strange, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		b64 := base64.RawURLEncoding.EncodeToString
		head := func(text string) string { return b64([]byte(text)) + "." + parts[1] + "." + parts[2] }
		forged := func(kid any) string {
			tok := jwt.NewWithClaims(jwt.SigningMethodES256, claims)
			tok.Header["typ"], tok.Header["kid"] = "at+jwt", kid
			raw, err := tok.SignedString(strange)
			if err != nil {
				t.Fatal(err)
			}
			return raw
		}
		hs := jwt.NewWithClaims(jwt.SigningMethodHS256, claims)
		hs.Header["typ"], hs.Header["kid"] = "at+jwt", kid
		withOurKey, err := hs.SignedString([]byte("public"))
		if err != nil {
			t.Fatal(err)
		}
		cases := []struct {
			name, token string
			want        error
		}{
			{"empty", "", verify.ErrMalformed},
			{"garbage", "garbage", verify.ErrMalformed},
			{"padding", genuine + "=", verify.ErrMalformed},
			{"line break", genuine + "\n", verify.ErrMalformed},
			{"no signature", parts[0] + "." + parts[1] + ".", verify.ErrSignature},
			{"body changed", parts[0] + "." + b64([]byte(`{}`)) + "." + parts[2], verify.ErrSignature},
			{"other key, our kid", forged(kid), verify.ErrSignature},
			{"unknown kid", forged("x"), verify.ErrUnknownKey},
			{"a number for a kid", forged(7), verify.ErrMalformed},
			{"HS256", withOurKey, verify.ErrUnknownKey},
			{"none", head(`{"alg":"none","typ":"at+jwt","kid":"` + kid + `"}`), verify.ErrUnknownKey},
			{"another algorithm", head(`{"alg":"EdDSA","typ":"at+jwt","kid":"` + kid + `"}`), verify.ErrUnknownKey},
			{"an ID token", head(`{"alg":"ES256","typ":"JWT","kid":"` + kid + `"}`), verify.ErrType},
			{
				"critical header", head(`{"alg":"ES256","typ":"at+jwt","kid":"` + kid + `","crit":["x"]}`),
				verify.ErrMalformed,
			},
		}
		// The last character has two spare bits... were they not refused, four strings were one token.
		const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
		for _, c := range alphabet {
			if s := genuine[:len(genuine)-1] + string(c); s != genuine {
				cases = append(cases, struct {
					name, token string
					want        error
				}{"last character " + string(c), s, nil})
			}
		}
		for _, tc := range cases {
			_, err := v.Verify(t.Context(), tc.token)
			if err == nil || (tc.want != nil && !errors.Is(err, tc.want)) {
				t.Errorf("%s: %v, want %v", tc.name, err, tc.want)
			}
		}
		if _, err := v.Verify(t.Context(), genuine); err != nil {
			t.Fatal(err)
		}
		if _, err := i.verifier(func(c *verify.Config) { c.Audience = "https://somebody.else" }).Verify(t.Context(),
			genuine); !errors.Is(err, verify.ErrAudience) {
			t.Fatalf("another audience: %v", err)
		}
	})
}

// A stream of forged key ids costs the issuer nothing.
func TestVerify_ForgedKeyIDs(t *testing.T) {
	forEachDB(t, func(t *testing.T, i *issuer) {
		v := i.verifier()
		synced(t, v, 0)
		if _, err := v.Verify(t.Context(), i.signIn().AccessToken); err != nil {
			t.Fatal(err)
		}
		before := i.requests[0].Load()
		var wg sync.WaitGroup
		for n := range 200 {
			wg.Go(func() {
				head := base64.RawURLEncoding.EncodeToString(fmt.Appendf(nil,
					`{"alg":"ES256","typ":"at+jwt","kid":"k%d"}`, n))
				if _, err := v.Verify(t.Context(), head+".e30.AAAA"); !errors.Is(err, verify.ErrUnknownKey) {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		if n := i.requests[0].Load() - before; n > 1 {
			t.Fatalf("%d fetches of the keys", n)
		}
	})
}

// A verifier that is there before the server comes up with it, and fails closed until then.
func TestVerify_BeforeTheServer(t *testing.T) {
	i := prepare(t, "sqlite:"+t.TempDir()+"/curfew.db")
	v := i.verifier()
	_, err := v.Verify(t.Context(), "e30.e30.e30")
	if err == nil {
		t.Fatal("accepted")
	}
	i.start()
	g := i.signIn()
	synced(t, v, 0)
	if _, err := v.Verify(t.Context(), g.AccessToken); err != nil {
		t.Fatal(err)
	}
}

// The server is restarted, and in between somebody is signed out: the verifier resumes by itself and misses nothing.
func TestVerify_ServerRestarts(t *testing.T) {
	forEachDB(t, func(t *testing.T, i *issuer) {
		v := i.verifier()
		kept, ended := i.signIn(), i.signIn()
		synced(t, v, 0)
		for range 3 {
			i.stop()
			i.start()
			seq := i.revoke(models.LevelDevice, ended)
			synced(t, v, seq)
			if _, err := v.Verify(t.Context(), ended.AccessToken); !errors.Is(err, verify.ErrRevoked) {
				t.Fatal(err)
			}
			if _, err := v.Verify(t.Context(), kept.AccessToken); err != nil {
				t.Fatal(err)
			}
			ended = i.signIn()
		}
	})
}

// Everyone's sign-out ends the follower's own token too; it gets a new one and goes on.
func TestVerify_OwnTokenEnds(t *testing.T) {
	forEachDB(t, func(t *testing.T, i *issuer) {
		v := i.verifier()
		synced(t, v, 0)
		for range 3 {
			seq := i.revoke(models.LevelEveryone, nil)
			synced(t, v, seq)
			g := i.signIn()
			synced(t, v, i.revoke(models.LevelDevice, g))
		}
	})
}

func TestVerify_WhenStale(t *testing.T) {
	forEachDB(t, func(t *testing.T, i *issuer) {
		stale := func(p verify.StalePolicy) func(*verify.Config) {
			return func(c *verify.Config) {
				c.Bound, c.WhenStale, c.Subscriber = time.Nanosecond, p, fmt.Sprintf("rs-%d", p)
			}
		}
		alive, dead := i.signIn(), i.signIn()
		seq := i.revoke(models.LevelDevice, dead)
		for policy, want := range map[verify.StalePolicy]error{
			verify.StaleIntrospect: nil, verify.StaleReject: verify.ErrStale, verify.StaleAccept: nil,
		} {
			v := i.verifier(stale(policy))
			synced(t, v, seq)
			if _, err := v.Verify(t.Context(), alive.AccessToken); !errors.Is(err, want) {
				t.Errorf("policy %d: %v, want %v", policy, err, want)
			}
			if _, err := v.Verify(t.Context(), dead.AccessToken); !errors.Is(err, verify.ErrRevoked) {
				t.Errorf("policy %d, a token that is known to be dead: %v", policy, err)
			}
		}
		if i.requests[1].Load() == 0 {
			t.Error("introspection was not asked")
		}
		v := i.verifier(stale(verify.StaleIntrospect))
		if _, err := v.Verify(t.Context(), alive.AccessToken); err != nil {
			t.Fatal(err)
		}
		i.stop()
		if _, err := v.Verify(t.Context(), alive.AccessToken); !errors.Is(err, verify.ErrStale) || !errors.Is(err,
			verify.ErrUnavailable) {
			t.Errorf("nobody can be asked: %v", err)
		}
	})
}

func TestVerify_Expires(t *testing.T) {
	forEachDB(t, func(t *testing.T, i *issuer) {
		v := i.verifier()
		synced(t, v, 0)
		g := i.signIn()
		for _, err := v.Verify(t.Context(), g.AccessToken); err != nil; _, err = v.Verify(t.Context(), g.AccessToken) {
			if time.Now().Before(time.Unix(g.Claims.ExpiresAt, 0)) {
				t.Fatal(err)
			}
			g = i.signIn() // a slow machine: it was over before it was looked at
		}
		for time.Now().Before(time.Unix(g.Claims.ExpiresAt, 0)) {
			time.Sleep(50 * time.Millisecond)
		}
		time.Sleep(50 * time.Millisecond) // the offset of the clocks is known to some milliseconds
		if _, err := v.Verify(t.Context(), g.AccessToken); !errors.Is(err, verify.ErrExpired) {
			t.Fatal(err)
		}
	}, func(c *models.Config) { c.AccessTTL = time.Second })
}

// Keys are rotated: nobody notices. A key is withdrawn: what was remembered of it is forgotten.
func TestVerify_KeysRotate(t *testing.T) {
	forEachDB(t, func(t *testing.T, i *issuer) {
		v := i.verifier()
		g := i.signIn()
		synced(t, v, 0)
		if _, err := v.Verify(t.Context(), g.AccessToken); err != nil {
			t.Fatal(err)
		}
		if _, err := i.store.RotateKeys(t.Context(), true, models.Actor{}); err != nil {
			t.Fatal(err)
		}
		next := i.signIn()
		for { // the new key is fetched once the cool-down is over
			if _, err := v.Verify(t.Context(), next.AccessToken); err == nil {
				break
			} else if !errors.Is(err, verify.ErrUnknownKey) {
				t.Fatal(err)
			}
			time.Sleep(200 * time.Millisecond)
		}
		if _, err := v.Verify(t.Context(), g.AccessToken); !errors.Is(err, verify.ErrUnknownKey) {
			t.Fatalf("a token of the key that was withdrawn: %v", err)
		}
	})
}

// The sign-out's receipt is there once the verifier has applied the event, not before.
func TestVerify_Acknowledges(t *testing.T) {
	forEachDB(t, func(t *testing.T, i *issuer) {
		v := i.verifier()
		synced(t, v, 0)
		for range 5 {
			seq := i.revoke(models.LevelUser, i.signIn())
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			r, err := i.store.WaitApplied(ctx, seq)
			cancel()
			if err != nil || r.Acknowledged() != 1 || v.Seq() < seq {
				t.Fatalf("%+v, %v, applied %d of %d", r, err, v.Seq(), seq)
			}
		}
	})
}

func TestMiddleware(t *testing.T) {
	forEachDB(t, func(t *testing.T, i *issuer) {
		v := i.verifier()
		g := i.signIn()
		synced(t, v, 0)
		handler := func(scope string) http.Handler {
			return v.Middleware(scope)(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				fmt.Fprint(w, verify.ClaimsFrom(r.Context()).Subject)
			}))
		}
		ginHandler := func(scope string) http.Handler {
			gin.SetMode(gin.TestMode)
			e := gin.New()
			e.GET("/", ginverify.Middleware(v, scope), func(c *gin.Context) {
				c.String(200, ginverify.Claims(c).
					Subject)
			})
			return e
		}
		bearer := "Bearer " + g.AccessToken
		for name, make := range map[string]func(string) http.Handler{"net/http": handler, "gin": ginHandler} {
			for _, tc := range []struct {
				name, scope string
				headers     []string
				status      int
				challenge   string
			}{
				{"fine", "orders", []string{"Authorization", bearer}, 200, ""},
				{"lower case", "orders", []string{"Authorization", "bearer " + g.AccessToken}, 200, ""},
				{"no token", "orders", nil, 401, "Bearer"},
				{"Basic", "orders", []string{"Authorization", "Basic eDp5"}, 401, "Bearer"},
				{
					"two", "orders",
					[]string{"Authorization", bearer, "Authorization", bearer},
					400,
					`Bearer error="invalid_request"`,
				},
				{"garbage", "orders", []string{"Authorization", "Bearer x"}, 401, `Bearer error="invalid_token"`},
				{
					"scope", "admin",
					[]string{"Authorization", bearer},
					403,
					`Bearer error="insufficient_scope", scope="admin"`,
				},
			} {
				res := get(t, make(tc.scope), tc.headers...)
				if res.StatusCode != tc.status || res.Header.Get("WWW-Authenticate") != tc.challenge {
					t.Errorf("%s, %s: %d %q", name, tc.name, res.StatusCode, res.Header.Get("WWW-Authenticate"))
				}
			}
		}
		synced(t, v, i.revoke(models.LevelDevice, g))
		if res := get(t, handler("orders"), "Authorization", bearer); res.StatusCode != 401 {
			t.Errorf("signed out: %d", res.StatusCode)
		}
	})
}

func TestNew_Refuses(t *testing.T) {
	good := verify.Config{
		Issuer: "https://curfew.test", ClientID: "api", ClientSecret: "x",
		Logger: slog.New(slog.DiscardHandler),
	}
	for name, change := range map[string]func(*verify.Config){
		"issuer":           func(c *verify.Config) { c.Issuer = "curfew.test" },
		"issuer's query":   func(c *verify.Config) { c.Issuer = "https://curfew.test?a=b" },
		"http":             func(c *verify.Config) { c.Issuer = "http://curfew.test" },
		"http by address":  func(c *verify.Config) { c.Issuer = "http://192.0.2.1:8080" },
		"http by IPv6":     func(c *verify.Config) { c.Issuer = "http://[2001:db8::1]" },
		"nearly localhost": func(c *verify.Config) { c.Issuer = "http://notlocalhost" },
		"localhost's end":  func(c *verify.Config) { c.Issuer = "http://localhost.example.com" },
		"client":           func(c *verify.Config) { c.ClientID = "" },
		"secret":           func(c *verify.Config) { c.ClientSecret = "" },
		"subscriber":       func(c *verify.Config) { c.Subscriber = "a b" },
		"policy":           func(c *verify.Config) { c.WhenStale = 9 },
		"bound":            func(c *verify.Config) { c.Bound = -time.Second },
		"cache":            func(c *verify.Config) { c.CacheSize = -1 },
		"timeout":          func(c *verify.Config) { c.HTTPClient = &http.Client{Timeout: time.Minute} },
	} {
		cfg := good
		change(&cfg)
		if v, err := verify.New(cfg); err == nil {
			v.Close()
			t.Errorf("%s: taken", name)
		}
	}
	for name, change := range map[string]func(*verify.Config){
		"http, which was said to be fine": func(c *verify.Config) {
			c.Issuer, c.InsecureHTTP = "http://192.0.2.1:1",
				true
		},
		"127.0.0.1":                  func(c *verify.Config) { c.Issuer = "http://127.0.0.1:1" },
		"another one of 127.0.0.0/8": func(c *verify.Config) { c.Issuer = "http://127.9.9.9:1" },
		"::1":                        func(c *verify.Config) { c.Issuer = "http://[::1]:1" },
		"localhost":                  func(c *verify.Config) { c.Issuer = "http://LOCALHOST:1" },
		"a name below localhost":     func(c *verify.Config) { c.Issuer = "http://curfew.localhost:1" },
	} {
		cfg := good
		change(&cfg)
		v, err := verify.New(cfg)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		v.Close()
	}
}
