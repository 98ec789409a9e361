package main

import (
	"crypto"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/pem"
	"math/big"
	"strings"
)

// json are objects that readers of JSON disagree about. A signature is right where it is not said otherwise.
func (t *tokens) json() {
	k := t.keys.es
	header, claims := k.header().String(), body().String()
	bad := func(id, token, comment string) { t.test("json-"+id, "json", "malformed", token, comment) }
	inBody := func(id, claims, comment string) { bad("claims-"+id, k.token(header, claims), comment) }
	inHead := func(id, header, comment string) { bad("header-"+id, k.token(header, claims), comment) }
	for _, m := range body() {
		inBody("twice-"+m.name, body().add(m.name, m.value).String(), "a member twice, with the same value")
	}
	for _, m := range k.header() {
		inHead("twice-"+m.name, k.header().add(m.name, m.value).String(), "a member twice, with the same value")
	}
	inHead("twice-alg-differs", k.header().add("alg", `"EdDSA"`).String(), "a member twice")
	inBody("twice-exp-differs", body().add("exp", "9999999999").String(), "the first exp or the last one?")
	inBody("twice-escaped", body().add(`\u0073ub`, quote("anna")).String(),
		"a member twice, once with an escape in its name")
	inBody("twice-unknown", body().add("x", "1").add("x", "1").String(), "a member twice that nobody reads")
	inBody("twice-inside", body().add("x", `{"a":1,"a":2}`).String(), "a member twice further inside")
	inBody("twice-inside-array", body().add("x", `[0,[{"a":1,"b":{"c":1,"c":1}}]]`).String(),
		"a member twice further inside")
	for _, both := range []struct {
		in  func(id, json, comment string)
		was string
	}{{inBody, claims}, {inHead, header}} {
		both.in("empty", "", "no JSON at all")
		both.in("null", "null", "null is no object")
		both.in("array", "["+both.was+"]", "an array is no object")
		both.in("string", `"x"`, "a string is no object")
		both.in("cut", both.was[:len(both.was)-1], "the last brace is missing")
		both.in("trailing", both.was+"{}", "something after the object")
		both.in("trailing-nul", both.was+"\x00", "something after the object")
		both.in("trailing-comma", both.was[:len(both.was)-1]+",}", "a comma too many")
		both.in("bom", "\ufeff"+both.was, "a byte order mark, which some decoders take away")
		both.in("comment", "/**/"+both.was, "JSON has no comments")
		both.in("single-quotes", strings.ReplaceAll(both.was, `"`, `'`), "JSON has no single quotes")
		both.in("utf-8-broken", both.was[:len(both.was)-1]+",\"x\":\"\xff\"}",
			"no UTF-8, in a member that nobody reads")
		both.in("utf-8-overlong", both.was[:len(both.was)-1]+",\"x\":\"\xc0\xaf\"}", "an overlong form is no UTF-8")
		both.in("utf-8-surrogate", both.was[:len(both.was)-1]+",\"x\":\"\xed\xa0\x80\"}", "a surrogate is no UTF-8")
		both.in("utf-8-cut", both.was[:len(both.was)-1]+",\"x\":\"\xe2\x82\"}", "half a character")
		both.in("utf-16", utf16(both.was), "UTF-16 is no UTF-8")
		both.in("surrogate", both.was[:len(both.was)-1]+`,"x":"\ud800"}`,
			"half a pair of surrogates, RFC 7493 section 2.1")
		both.in("surrogate-second", both.was[:len(both.was)-1]+`,"x":"a\udc00b"}`,
			"the second half of a pair of surrogates alone")
		both.in("surrogate-low", both.was[:len(both.was)-1]+`,"x":"\udc00\ud800"}`,
			"a pair of surrogates the wrong way round")
		both.in("surrogate-name", both.was[:len(both.was)-1]+`,"\udbffa":1}`, "half a pair of surrogates in a name")
		both.in("control-character", both.was[:len(both.was)-1]+",\"x\":\"\n\"}", "a control character in a string")
		both.in("escape", both.was[:len(both.was)-1]+`,"x":"\x41"}`, "an escape that JSON has not")
		both.in("nan", both.was[:len(both.was)-1]+`,"x":NaN}`, "NaN is no JSON")
		both.in("infinity", both.was[:len(both.was)-1]+`,"x":-Infinity}`, "Infinity is no JSON")
		both.in("leading-zero", both.was[:len(both.was)-1]+`,"x":01}`, "a number with a leading zero")
		both.in("plus", both.was[:len(both.was)-1]+`,"x":+1}`, "a number with a plus")
		both.in("number-cut", both.was[:len(both.was)-1]+`,"x":1.}`, "a number that ends with its point")
		both.in("true-case", both.was[:len(both.was)-1]+`,"x":True}`, "true has one form")
		both.in("depth-33", nested(both.was, 33), "33 levels, the object itself among them")
	}
	inBody("depth-2000", nested(claims, 2000), "deep enough for the stack of some parsers")
	t.test("json-depth-32", "json", "ok", k.token(header, nested(claims, 32)), "32 levels are taken")
	for _, crit := range []string{`["x"]`, `[]`, `null`, `"exp"`, `["exp"]`, `["b64"]`} {
		inHead("crit-"+strings.Trim(strings.NewReplacer(`"`, "", "[", "(", "]", ")").Replace(crit), `"`), k.header().
			add("crit", crit).String(), "anything critical, whatever it is")
	}
	t.test("json-header-Crit", "json names", "ok", k.token(k.header().add("Crit", `["x"]`).String(), claims),
		"Crit is not crit")
	t.test("json-claims-crit", "json", "ok", t.es(body().add("crit", `["x"]`)), "crit is a member of headers only")
	inHead("typ-number", k.header().set("typ", "7").String(), "typ is a string")
	inHead("typ-null", k.header().set("typ", "null").String(), "typ is a string")
	inHead("alg-null", k.header().set("alg", "null").String(), "alg is a string")
	inHead("alg-array", k.header().set("alg", `["ES256"]`).String(), "alg is a string")
	inHead("kid-number", k.header().set("kid", "7").String(), "kid is a string")
	inHead("kid-object", k.header().set("kid", `{"a":1}`).String(), "kid is a string")
}

func utf16(s string) string { return "\xff\xfe" + strings.Join(strings.Split(s, ""), "\x00") + "\x00" }

// nested puts a member into an object so that the whole has so many levels.
func nested(object string, levels int) string {
	return object[:len(object)-1] + `,"x":` + strings.Repeat("[", levels-1) + strings.Repeat("]", levels-1) + "}"
}

// headers are those of other kinds of JWT, and of other keys.
func (t *tokens) headers() {
	k := t.keys.es
	typ := func(id, verdict string, header object, comment string) {
		t.test("type-"+id, "type", verdict, t.head(header.String()), comment)
	}
	typ("jwt", "type", k.header().set("typ", `"JWT"`), "typ JWT: an ID token has it")
	typ("logout", "type", k.header().set("typ", `"logout+jwt"`), "a logout token")
	typ("dpop", "type", k.header().set("typ", `"dpop+jwt"`), "a proof of possession")
	typ("missing", "type", k.header().without("typ"), "no typ")
	typ("empty", "type", k.header().set("typ", `""`), "an empty typ")
	typ("name-case", "type", k.header().without("typ").add("Typ", `"at+jwt"`), "Typ is not typ")
	typ("space", "type", k.header().set("typ", `" at+jwt"`), "a space too many")
	typ("parameter", "type", k.header().set("typ", `"at+jwt; x=y"`), "a parameter")
	typ("application-twice", "type", k.header().set("typ", `"application/application/at+jwt"`), "a prefix twice")
	typ("dotted-i", "type", k.header().set("typ", `"applİcation/at+jwt"`),
		"a letter that becomes an i in lower case, outside ASCII")
	typ("upper-case", "ok", k.header().set("typ", `"AT+JWT"`), "media types have no case")
	typ("application", "ok", k.header().set("typ", `"Application/at+jwt"`), "the long form, RFC 9068 section 4")
	// An ID token and a logout token, signed by a key of the set: the claims could pass for an access token's.
	id := body().set("aud", `["`+client+`","`+audience+`"]`).add("nonce", `"n"`).add("sid", quote(device)).
		add("at_hash", `"x"`)
	t.test("type-id-token", "type", "type", t.keys.rs.token(t.keys.rs.header().set("typ", `"JWT"`).String(),
		id.String()), "an ID token of OpenID Connect")
	logout := body().add("sid", quote(device)).add("events",
		`{"http://schemas.openid.net/event/backchannel-logout":{}}`)
	t.test("type-logout-token", "type", "type", t.keys.rs.token(t.keys.rs.header().set("typ", `"logout+jwt"`).
		String(), logout.String()), "a logout token of OpenID Connect")

	key := func(id string, header object, comment string) {
		t.test("key-"+id, "key", "unknown_key", t.head(header.String()), comment)
	}
	key("unknown", k.header().set("kid", `"x"`), "a key id that nobody has")
	key("missing", k.header().without("kid"), "no key id")
	key("empty", k.header().set("kid", `""`), "an empty key id")
	key("name-case", k.header().without("kid").add("Kid", `"es-1"`), "Kid is not kid")
	key("kid-case", k.header().set("kid", `"ES-1"`), "key ids have a case")
	key("kid-proto", k.header().set("kid", `"__proto__"`), "a name that objects of JavaScript have")
	key("kid-constructor", k.header().set("kid", `"constructor"`), "a name that objects of JavaScript have")
	key("alg-missing", k.header().without("alg"), "no algorithm")
	key("alg-empty", k.header().set("alg", `""`), "an empty algorithm")
	key("alg-name-case", k.header().without("alg").add("ALG", `"ES256"`), "ALG is not alg")
	key("alg-case", k.header().set("alg", `"es256"`), "algorithms have a case")
	key("alg-of-another-kind", k.header().set("alg", `"EdDSA"`), "the key is for ES256")
	key("alg-of-rsa", k.header().set("alg", `"RS256"`), "the key is for ES256")
	key("alg-es384", k.header().set("alg", `"ES384"`), "not one of the three algorithms")
	key("none", k.header().set("alg", `"none"`), "alg none, with a signature")
	key("for-encryption", k.header().set("kid", `"for-encryption"`), "a key for encryption")
	key("wrong-algorithm", k.header().set("kid", `"wrong-algorithm"`), "a key for ES384")
	key("off-curve", k.header().set("kid", `"off-curve"`), "a key that is no point of its curve")
	for _, alg := range []string{"none", "None", "nOnE"} {
		unsigned := strings.TrimRight(t.keys.es.token(k.header().set("alg", quote(alg)).String(), body().String()),
			alphabetOfURL)
		t.test("key-unsigned-"+alg, "key confusion", "unknown_key", unsigned, "alg none, without a signature")
	}
	ed := t.keys.ed
	t.test("key-alg-ed25519", "key", "unknown_key", ed.token(ed.header().set("alg", `"Ed25519"`).String(), body().
		String()), "the name of RFC 9864; the key says EdDSA")
	rs := t.keys.rs
	t.test("key-alg-ps256", "key", "unknown_key", rs.token(rs.header().set("alg", `"PS256"`).String(), body().
		String()), "the key is for RS256")
	t.test("key-too-short", "key", "unknown_key", t.keys.weak.token(t.keys.weak.header().String(), body().String()),
		"an RSA key of 1024 bits is not taken")
	t.test("key-stranger", "key", "unknown_key", t.keys.stranger.token(t.keys.stranger.header().String(), body().
		String()), "signed rightly, by a key that the issuer does not publish")
	own := t.keys.stranger.jwk()
	embedded := `{"kty":"EC","crv":"P-256","x":"` + own.X + `","y":"` + own.Y + `"}`
	t.test("key-embedded", "key confusion", "unknown_key", t.keys.stranger.token(t.keys.stranger.header().add("jwk",
		embedded).String(), body().String()), "the header brings its own key")
	t.confusion()
}

const alphabetOfURL = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"

// confusion are tokens under HS256 whose secret is a public key, in every form in which somebody might have it.
func (t *tokens) confusion() {
	for _, k := range []*signer{t.keys.es, t.keys.ed, t.keys.rs} {
		der, err := x509.MarshalPKIXPublicKey(k.private.Public())
		if err != nil {
			panic(err)
		}
		header := k.header().set("alg", `"HS256"`).String()
		t.test("confusion-pem-"+k.kid, "key confusion", "unknown_key",
			hmacToken(header, body().String(), pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})),
			"HS256 with the public key in PEM as its secret")
		t.test("confusion-der-"+k.kid, "key confusion", "unknown_key", hmacToken(header, body().String(), der),
			"HS256 with the public key in DER as its secret")
		t.test("confusion-alg-"+k.kid, "key confusion", "signature",
			hmacToken(k.header().String(), body().String(), der), "a MAC in the place of the signature")
	}
	shared := object{{"alg", `"HS256"`}, {"typ", `"at+jwt"`}, {"kid", `"shared"`}}
	t.test("confusion-shared", "key confusion", "unknown_key", hmacToken(shared.String(), body().String(),
		[]byte("a secret that is none")), "HS256 with a secret that the key set holds")
}

// signatures are wrong ones.
func (t *tokens) signatures() {
	es, ed, rs := t.keys.es, t.keys.ed, t.keys.rs
	replaced := func(k *signer, change func(signed, sig []byte) []byte) string {
		token := k.token(k.header().String(), body().String())
		dot := strings.LastIndexByte(token, '.')
		return token[:dot+1] + b64(change([]byte(token[:dot]), k.sign([]byte(token[:dot]))))
	}
	bad := func(id, token, comment string) { t.test("signature-"+id, "signature", "signature", token, comment) }
	for _, k := range []*signer{es, ed, rs} {
		good := strings.Split(k.token(k.header().String(), body().String()), ".")
		bad("none-"+k.kid, good[0]+"."+good[1]+".", "no signature")
		bad("claims-changed-"+k.kid, good[0]+"."+b64([]byte(body().set("scope", quote("orders admin")).
			String()))+"."+good[2], "the claims were changed")
		bad("header-changed-"+k.kid, b64([]byte(k.header().add("x", "1").String()))+"."+good[1]+"."+good[2],
			"the header was changed")
		bad("bit-"+k.kid, replaced(k, func(_, sig []byte) []byte { sig[9] ^= 1; return sig }), "one bit is wrong")
		bad("short-"+k.kid, replaced(k, func(_, sig []byte) []byte { return sig[:len(sig)-1] }), "a byte is missing")
		bad("long-"+k.kid, replaced(k, func(_, sig []byte) []byte { return append(sig, 0) }), "a byte too many")
		bad("zero-before-"+k.kid, replaced(k, func(_, sig []byte) []byte { return append([]byte{0}, sig...) }),
			"a zero too many before it")
		bad("zeros-"+k.kid, replaced(k, func(_, sig []byte) []byte { return make([]byte, len(sig)) }),
			"nothing but zeros")
	}
	bad("kid-of-another", t.keys.es2.token(es.header().String(), body().String()),
		"another key of the issuer's than the header names")
	bad("stranger", t.keys.stranger.token(es.header().String(), body().String()),
		"a stranger's signature under our key id")
	own := t.keys.stranger.jwk()
	embedded := `{"kty":"EC","crv":"P-256","x":"` + own.X + `","y":"` + own.Y + `"}`
	bad("embedded", t.keys.stranger.token(es.header().add("jwk", embedded).String(), body().String()),
		"the header brings its own key under our key id")
	bad("der", replaced(es, func(signed, _ []byte) []byte { return es.der(signed) }),
		"ES256 in ASN.1 instead of RFC 7518 section 3.4")
	n := elliptic.P256().Params().N
	bad("r-too-large", replaced(es, func(_, sig []byte) []byte {
		return append(n.FillBytes(make([]byte, 32)),
			sig[32:]...)
	}), "r is the order of the curve")
	bad("s-too-large", replaced(es, func(_, sig []byte) []byte {
		return append(sig[:32], new(big.Int).Add(n, big.NewInt(1)).FillBytes(make([]byte, 32))...)
	}), "s is above the order of the curve")
	bad("eddsa-s-plus-order", replaced(ed, func(_, sig []byte) []byte { return plusOrder(sig) }),
		"s and the order of the group added up: RFC 8032 section 5.1.7")
	bad("pss", replaced(rs, func(signed, _ []byte) []byte {
		sum := sha256.Sum256(signed)
		sig, err := rsa.SignPSS(zeros{}, rs.private.(*rsa.PrivateKey), crypto.SHA256, sum[:],
			&rsa.PSSOptions{SaltLength: 32})
		if err != nil {
			panic(err)
		}
		return sig
	}), "PSS padding under RS256")
	bad("sha-512", replaced(rs, func(signed, _ []byte) []byte {
		sum := crypto.SHA512.New()
		sum.Write(signed)
		sig, err := rs.private.Sign(nil, sum.Sum(nil), crypto.SHA512)
		if err != nil {
			panic(err)
		}
		return sig
	}), "RS512's hash under RS256")
}

// plusOrder adds the order of edwards25519's group to the second half of a signature.
func plusOrder(sig []byte) []byte {
	order, _ := new(big.Int).SetString("7237005577332262213973186563042994240857116359379907606001950938285454250989", 10)
	s := new(big.Int).SetBytes(reversed(sig[32:]))
	return append(sig[:32:32], reversed(s.Add(s, order).FillBytes(make([]byte, 32)))...)
}

func reversed(b []byte) []byte {
	out := make([]byte, len(b))
	for i := range b {
		out[len(b)-1-i] = b[i]
	}
	return out
}

// zeros is a source of salt.
type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }
