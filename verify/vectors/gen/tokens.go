package main

import (
	"fmt"
	"strings"
)

type tokenFile struct {
	Schema   string          `json:"$schema"`
	Issuer   string          `json:"issuer"`
	Audience string          `json:"audience"`
	JWKS     jwks            `json:"jwks"`
	Now      int64           `json:"now"`
	Codes    map[string]code `json:"codes"`
}

// code is how a refusal is answered.
type code struct {
	Status    int     `json:"status"`
	Challenge *string `json:"challenge"` // of WWW-Authenticate
}

type tokenTest struct {
	ID            string   `json:"id"`
	Comment       string   `json:"comment"`
	Flags         []string `json:"flags"`
	Now           *float64 `json:"now,omitempty"`
	Token         *string  `json:"token,omitempty"`
	Authorization []string `json:"authorization,omitzero"`
	Scopes        []string `json:"scopes,omitempty"`
	Verdict       string   `json:"verdict"`
}

func codes() map[string]code {
	all := map[string]code{}
	with := func(status int, challenge string, names ...string) {
		for _, name := range names {
			all[name] = code{status, &challenge}
		}
	}
	with(401, "Bearer", "no_token")
	with(400, `Bearer error="invalid_request"`, "request")
	with(401, `Bearer error="invalid_token"`, "malformed", "type", "unknown_key", "signature", "claims", "issuer",
		"audience", "binding", "expired", "not_yet_valid", "revoked")
	with(403, `Bearer error="insufficient_scope", scope="{scopes}"`, "scope")
	all["stale"], all["unavailable"] = code{Status: 503}, code{Status: 503}
	return all
}

// tokens collects tests.
type tokens struct {
	keys *keySet
	all  []tokenTest
	ids  map[string]bool
}

func tokenTests(keys *keySet) []tokenTest {
	t := &tokens{keys: keys, ids: map[string]bool{}}
	t.alive()
	t.forms()
	t.json()
	t.headers()
	t.signatures()
	t.claims()
	t.times()
	t.order()
	t.requests()
	return t.all
}

// test adds a token and its verdict. flags are names of groups, separated by spaces.
func (t *tokens) test(id, flags, verdict, token, comment string) *tokenTest {
	if t.ids[id] {
		panic("twice: " + id)
	}
	t.ids[id] = true
	t.all = append(t.all, tokenTest{
		ID: id, Comment: comment, Flags: strings.Fields(flags), Token: &token,
		Verdict: verdict,
	})
	return &t.all[len(t.all)-1]
}

// body is the claims of a user's token, one minute old.
func body() object {
	return object{
		{"iss", quote(issuer)},
		{"sub", quote(user)},
		{"aud", quote(audience)},
		{"exp", fmt.Sprint(now + 240)},
		{"iat", fmt.Sprint(now - 60)},
		{"jti", quote("0197a1b2-0003-7000-8000-000000000001")},
		{"client_id", quote(client)},
		{"scope", quote("orders profile")},
		{"device_id", quote(device)},
		{"rid", quote("0197a1b2-0002-7000-8000-000000000001")},
		{"iat_us", fmt.Sprint((now-60)*1_000_000 + 123_456)},
	}
}

func quote(s string) string { return `"` + s + `"` }

// es signs claims with the first ES256 key.
func (t *tokens) es(claims object) string {
	return t.keys.es.token(t.keys.es.header().String(), claims.String())
}

// head signs the usual claims under another header.
func (t *tokens) head(header string) string { return t.keys.es.token(header, body().String()) }

func (t *tokens) alive() {
	for _, k := range []*signer{t.keys.es, t.keys.es2, t.keys.ed, t.keys.rs} {
		t.test("alive-"+k.kid, k.alg, "ok", k.token(k.header().String(), body().String()),
			"a user's token, signed with "+k.alg)
	}
	own := body().without("device_id").without("rid").set("sub", quote("api")).set("client_id", quote("api")).
		set("scope", quote("revocations"))
	t.test("alive-client", "claims", "ok", t.es(own), "a client's own token has no device and no refresh id")
	t.test("alive-no-scope", "claims", "ok", t.es(body().without("scope")), "scope is optional")
	t.test("alive-unknown-claims", "claims", "ok", t.es(body().add("auth_time", "7").add("x",
		`{"a":[1,{"b":null}]}`)), "claims that nobody knows are passed over")
	t.test("alive-ids-of-other-forms", "claims", "ok", t.es(body().set("sub", quote("anna")).set("device_id",
		quote("tv"))), "ids need not be UUIDs")
	t.test("alive-white-space", "json", "ok",
		t.keys.es.token("\t{ \"alg\" : \"ES256\",\r\n\"typ\":\"at+jwt\" , \"kid\":\"es-1\" }\n", " "+body().
			String()+"\n"), "white space of JSON")
	t.test("alive-escaped-names", "json", "ok", t.es(body().without("exp").add(`\u0065xp`, fmt.Sprint(now+240)).
		without("sub").add(`s\u0075b`, quote(user))), "a name is what its escapes mean")
	t.test("alive-escaped-values", "json", "ok", t.es(body().set("iss", `"https:\/\/id.example.com"`).set("jti",
		`"\ud83d\ude00"`)), "a value is what its escapes mean; a whole pair of surrogates is a character")
}

func (t *tokens) forms() {
	good := t.es(body())
	part := strings.Split(good, ".")
	bad := func(id, token, comment string) { t.test("form-"+id, "form", "malformed", token, comment) }
	bad("empty", "", "nothing")
	bad("one-part", "garbage", "no dots")
	bad("dot", ".", "two parts, both empty")
	bad("two-parts", part[0]+"."+part[1], "no signature and no dot before it")
	bad("two-dots", "..", "three parts, all empty: an empty header is no JSON")
	bad("three-dots", "...", "four parts")
	bad("four-parts", good+".x", "four parts")
	bad("five-parts", good+".x.y", "five parts, like an encrypted token")
	bad("padding", good+"=", "padding")
	bad("padding-header", part[0]+"=="+"."+part[1]+"."+part[2], "padding inside")
	bad("space-before", " "+good, "white space")
	bad("space-after", good+" ", "white space")
	bad("line-break", good+"\n", "a line break, which some decoders skip")
	bad("line-break-inside", part[0]+"."+part[1][:20]+"\r\n"+part[1][20:]+"."+part[2],
		"a line break, which some decoders skip")
	bad("nul", good+"\x00", "NUL")
	bad("standard-alphabet", part[0]+"."+part[1]+"."+strings.NewReplacer("-", "+", "_", "/").Replace(part[2]),
		"base64 with the alphabet that is not the URL's")
	bad("not-ascii", part[0]+"."+part[1]+"."+part[2][:85]+"é", "a letter that is not ASCII")
	bad("length-1", part[0]+"."+part[1]+"."+part[2][:85], "one character more than whole bytes take")
	bad("header-letters", "a.b.c", "one character is no byte")
	bad("body-only", part[1], "the claims alone")
	const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
	last := strings.IndexByte(alphabet, good[len(good)-1])
	for spare := 1; spare < 16; spare++ { // 64 bytes leave four bits
		bad(fmt.Sprintf("spare-bits-%d", spare), good[:len(good)-1]+string(alphabet[last|spare]),
			"spare bits: another string for the same token")
	}
	// A body of 3n+1 bytes leaves four bits too.
	claims := body().String()
	for len(claims)%3 != 1 {
		claims += " "
	}
	odd := strings.Split(t.keys.es.token(t.keys.es.header().String(), claims), ".")
	odd[1] = odd[1][:len(odd[1])-1] + string(alphabet[strings.IndexByte(alphabet, odd[1][len(odd[1])-1])|1])
	odd[2] = b64(t.keys.es.sign([]byte(odd[0] + "." + odd[1])))
	bad("spare-bits-body", strings.Join(odd, "."), "spare bits in the claims, under a signature of them")
	t.test("form-8192", "form size", "ok", t.sized(8192), "8192 bytes are taken")
	bad("8193", t.sized(8193), "8193 bytes are not, though everything is right")
	bad("9000", strings.Repeat("a", 9000), "long, and one part")
}

// sized is a good token of a length.
func (t *tokens) sized(length int) string {
	for a := range 4 {
		for b := 5000; b < 7000; b++ {
			header := t.keys.es.header().add("x", quote(strings.Repeat("a", a))).String()
			claims := body().add("x", quote(strings.Repeat("b", b))).String()
			if len(b64([]byte(header)))+len(b64([]byte(claims)))+86+2 == length {
				return t.keys.es.token(header, claims)
			}
		}
	}
	panic("no token of that length")
}

// requests are what the adapters decide before and after the token.
func (t *tokens) requests() {
	good := t.es(body())
	ask := func(id, verdict, comment string, authorization []string, scopes ...string) {
		one := t.test("request-"+id, "request", verdict, "", comment)
		one.Token, one.Authorization, one.Scopes = nil, authorization, scopes
	}
	ask("none", "no_token", "no Authorization header", []string{})
	ask("empty", "no_token", "an empty one", []string{""})
	ask("basic", "no_token", "another scheme", []string{"Basic YXBpOng="})
	ask("bare", "no_token", "a scheme without a token", []string{"Bearer"})
	ask("bare-space", "no_token", "a scheme without a token", []string{"Bearer  "})
	ask("no-scheme", "no_token", "a token without a scheme", []string{good})
	ask("bearer-prefix", "no_token", "a scheme that begins like Bearer", []string{"BearerX " + good})
	ask("two", "request", "two headers, though they say the same", []string{"Bearer " + good, "Bearer " + good})
	ask("two-schemes", "request", "two headers", []string{"Basic YXBpOng=", "Bearer " + good})
	ask("good", "ok", "the usual header", []string{"Bearer " + good})
	ask("lower-case", "ok", "schemes have no case", []string{"bearer " + good})
	ask("spaces", "ok", "spaces around the token", []string{"BEARER   " + good + "  "})
	ask("two-tokens", "malformed", "two tokens in one header", []string{"Bearer " + good + " " + good})
	ask("comma", "malformed", "a list", []string{"Bearer " + good + ", Bearer " + good})
	ask("garbage", "malformed", "no token", []string{"Bearer x"})
	ask("scope", "ok", "one scope that the token has", []string{"Bearer " + good}, "orders")
	ask("scopes", "ok", "both scopes", []string{"Bearer " + good}, "profile", "orders")
	ask("scope-missing", "scope", "a scope that the token lacks", []string{"Bearer " + good}, "admin")
	ask("scope-one-missing", "scope", "one of two", []string{"Bearer " + good}, "orders", "admin")
	ask("scope-part", "scope", "the beginning of a scope is none", []string{"Bearer " + good}, "order")
	ask("scope-case", "scope", "scopes have a case", []string{"Bearer " + good}, "Orders")
	ask("scope-none", "scope", "a token without scope", []string{"Bearer " + t.es(body().without("scope"))}, "orders")
	ask("scope-expired", "expired", "the token comes before its scope", []string{"Bearer " + t.es(body().set("exp",
		fmt.Sprint(now)))}, "admin")
}
