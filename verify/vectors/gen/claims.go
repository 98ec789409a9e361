package main

import "fmt"

// claims are those that RFC 9068 section 2.2 asks for, iat_us, and whom the token is for.
func (t *tokens) claims() {
	bad := func(id, verdict string, claims object, comment string) {
		t.test("claims-"+id, "claims", verdict, t.es(claims), comment)
	}
	for _, name := range []string{"iss", "sub", "aud", "exp", "iat", "jti", "client_id", "iat_us"} {
		bad("no-"+name, "claims", body().without(name), name+" is missing")
		bad("null-"+name, "claims", body().set(name, "null"), name+" is null")
		bad("object-"+name, "claims", body().set(name, "{}"), name+" is of another type")
	}
	for _, name := range []string{"iss", "sub", "jti", "client_id", "device_id"} {
		bad("empty-"+name, "claims", body().set(name, `""`), name+" is empty")
	}
	for _, name := range []string{"iss", "sub", "jti", "client_id", "scope", "device_id", "rid"} {
		bad("number-"+name, "claims", body().set(name, "7"), name+" is a number")
		bad("array-"+name, "claims", body().set(name, `["x"]`), name+" is an array")
	}
	for _, name := range []string{"scope", "device_id", "rid", "nbf"} {
		bad("null-"+name, "claims", body().set(name, "null"), name+" is optional, and null is not missing")
	}
	for _, name := range []string{"exp", "iat", "nbf", "iat_us"} {
		bad("string-"+name, "claims", body().set(name, quote(fmt.Sprint(now))), name+" is a string")
		bad("boolean-"+name, "claims", body().set(name, "true"), name+" is a boolean")
		bad("negative-"+name, "claims", body().set(name, "-1"), name+" lies before 1970")
		bad("endless-"+name, "claims", body().set(name, "1e999"), name+" is beyond every number")
		bad("large-"+name, "claims", body().set(name, "1e300"), name+" is beyond every clock")
	}
	for _, name := range []string{"exp", "iat", "nbf"} {
		bad("year-10000-"+name, "claims", body().set(name, "253402300800"),
			name+" is the first second of the year 10000")
	}
	bad("year-9999-exp", "ok", body().set("exp", "253402300799"), "the last second of the year 9999")
	bad("year-9999-exp-2", "ok", body().set("exp", "9999999999"), "what people write for never")
	for _, m := range [][2]string{{"exp", "Exp"}, {"sub", "SUB"}, {"iss", "Iss"}, {"aud", "Aud"}, {
		"client_id",
		"Client_ID",
	}, {"client_id", "clientId"}, {"iat_us", "iat_US"}, {"sub", "ſub"}, {"jti", "JTI"}} {
		value := ""
		for _, was := range body() {
			if was.name == m[0] {
				value = was.value
			}
		}
		bad("name-"+m[1], "claims", body().without(m[0]).add(m[1], value), m[1]+" is not "+m[0])
	}
	bad("name-Exp-beside", "ok", body().add("Exp", "1"), "Exp is not exp and says nothing")
	bad("name-Exp-for-expired", "expired", body().set("exp", fmt.Sprint(now)).add("Exp", "9999999999"),
		"Exp is not exp and says nothing")
	bad("name-Sub-beside", "ok", body().add("Sub", "7").add("AUD", "[]").add("Cnf", "{}").add("Device_id", "7"),
		"other names say nothing")
	bad("name-proto", "claims", body().without("sub").add("__proto__", `{"sub":"anna"}`),
		"a member that some parsers make the parent of the object")
	bad("iat_us-zero", "claims", body().set("iat_us", "0"), "an issue time lies after 1970")
	bad("iat_us-fraction", "claims", body().set("iat_us", "1795209540123456.5"), "microseconds are whole")
	bad("iat_us-2-53", "claims", body().set("iat_us", "9007199254740992"),
		"not every whole number from here on is a double")
	bad("iat_us-2-53-1", "ok", body().set("iat_us", "9007199254740991"), "the largest that is taken")
	bad("iat_us-2-63", "claims", body().set("iat_us", "9223372036854775808"), "more than 63 bits")
	bad("iat_us-point", "ok", body().set("iat_us", "1795209540123456.0"), "a number is its value")
	bad("iat_us-exponent", "ok", body().set("iat_us", "1.795209540123456e15"), "a number is its value")
	bad("iat-exponent", "ok", body().set("iat", "1.79520954e9"), "a number is its value")
	t.recipients()
}

// recipients: who issued a token, whom it is for, and whether it is bound to a key.
func (t *tokens) recipients() {
	bad := func(id, verdict string, claims object, comment string) {
		t.test("claims-"+id, "claims", verdict, t.es(claims), comment)
	}
	bad("issuer", "issuer", body().set("iss", quote("https://evil.example.com")), "another issuer")
	bad("issuer-slash", "issuer", body().set("iss", quote(issuer+"/")), "issuers are compared to the letter")
	bad("issuer-case", "issuer", body().set("iss", quote("https://ID.example.com")),
		"issuers are compared to the letter")
	bad("issuer-port", "issuer", body().set("iss", quote(issuer+":443")), "issuers are compared to the letter")
	bad("issuer-array", "claims", body().set("iss", `["`+issuer+`"]`), "one issuer, not several")
	bad("audience", "audience", body().set("aud", quote("https://other.example.com")), "for somebody else")
	bad("audience-issuer", "audience", body().set("aud", quote(issuer)), "for the issuer")
	bad("audience-prefix", "audience", body().set("aud", quote(audience+"/orders")),
		"audiences are compared to the letter")
	bad("audience-part", "audience", body().set("aud", quote("x "+audience)), "an audience is no list in a string")
	bad("audience-empty", "audience", body().set("aud", `""`), "an empty audience is one, of nobody's")
	bad("audience-array", "ok", body().set("aud", `["https://other.example.com","`+audience+`"]`), "one of several")
	bad("audience-array-one", "ok", body().set("aud", `["`+audience+`"]`), "an array of one")
	bad("audience-array-other", "audience", body().set("aud", `["https://other.example.com"]`), "for others")
	bad("audience-array-nested", "claims", body().set("aud", `[["`+audience+`"]]`), "an array of arrays")
	bad("audience-array-mixed", "claims", body().set("aud", `["`+audience+`",7]`), "an array of strings only")
	bad("audience-array-null", "claims", body().set("aud", `["`+audience+`",null]`), "an array of strings only")
	bad("audience-array-empty", "claims", body().set("aud", `[]`), "for nobody")

	for _, c := range [][2]string{{"jkt", `{"jkt":"0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I"}`}, {
		"x5t",
		`{"x5t#S256":"x"}`,
	}, {"empty", "{}"}, {"null", "null"}, {"string", `"x"`}, {"false", "false"}} {
		t.test("binding-"+c[0], "claims binding", "binding", t.es(body().add("cnf", c[1])),
			"a token that is bound to a key, which nobody here checks")
	}
}

// times are those at the borders, with a leeway of ten seconds for iat and nbf, and none for exp.
func (t *tokens) times() {
	at := func(id, verdict string, clock float64, claims object, comment string) {
		t.test("time-"+id, "time", verdict, t.es(claims), comment).Now = &clock
	}
	exp := body().set("exp", fmt.Sprint(now+240))
	at("exp-before", "ok", now+239, exp, "a second before exp")
	at("exp-millisecond-before", "ok", now+239.999, exp, "a millisecond before exp")
	at("exp", "expired", now+240, exp, "at exp: RFC 7519 section 4.1.4, without leeway")
	at("exp-after", "expired", now+241, exp, "a second after exp")
	at("exp-year", "expired", now+31_536_000, exp, "a year after exp")
	half := body().set("exp", fmt.Sprint(now+240)+".5")
	at("exp-fraction-before", "ok", now+240.25, half, "exp may have a fraction")
	at("exp-fraction", "expired", now+240.5, half, "exp may have a fraction")
	at("exp-zero", "expired", now, body().set("exp", "0"), "exp in 1970")
	ahead := body().set("iat", fmt.Sprint(now+10)).set("iat_us", fmt.Sprint((now+10)*1_000_000))
	at("iat-10", "ok", now, ahead, "issued ten seconds ahead of the clock")
	at("iat-10-more", "not_yet_valid", now-0.5, ahead, "issued ten seconds and a half ahead of the clock")
	at("iat-11", "not_yet_valid", now-1, ahead, "issued eleven seconds ahead of the clock")
	at("iat-year", "not_yet_valid", now-31_536_000, ahead, "issued a year ahead of the clock")
	at("iat-zero", "ok", now, body().set("iat", "0"), "issued in 1970; nothing here asks how long a token lives")
	at("iat_us-ahead", "ok", now, body().set("iat_us", fmt.Sprint((now+3600)*1_000_000)),
		"iat_us orders and is no time of day")
	at("nbf-past", "ok", now, body().set("nbf", fmt.Sprint(now-60)), "valid since a minute ago")
	at("nbf-10", "ok", now, body().set("nbf", fmt.Sprint(now+10)), "valid in ten seconds")
	at("nbf-11", "not_yet_valid", now, body().set("nbf", fmt.Sprint(now+11)), "valid in eleven seconds")
	at("nbf-later-than-iat", "not_yet_valid", now, body().set("iat", fmt.Sprint(now-60)).set("nbf",
		fmt.Sprint(now+60)), "the later of iat and nbf")
	at("iat-later-than-nbf", "not_yet_valid", now, body().set("iat", fmt.Sprint(now+60)).set("nbf",
		fmt.Sprint(now-60)), "the later of iat and nbf")
}

// order: of several faults the first one counts.
func (t *tokens) order() {
	es := t.keys.es
	bad := func(id, verdict, token, comment string) { t.test("order-"+id, "order", verdict, token, comment) }
	typed := es.header().set("typ", `"JWT"`)
	bad("malformed-type", "malformed", es.token(typed.String(), "{"), "claims that are no JSON come before the type")
	bad("malformed-key", "malformed", es.token(es.header().set("kid", `"x"`).String(), `{"a":1,"a":1}`),
		"a member twice comes before the key")
	bad("malformed-signature", "malformed", t.keys.stranger.token(es.header().String(), "[]"),
		"claims that are no object come before the signature")
	bad("malformed-signature-form", "malformed", b64([]byte(typed.String()))+".e30.A",
		"a signature that is no base64url comes before the type")
	bad("malformed-crit-type", "malformed", t.head(typed.add("crit", "null").String()), "crit comes before the type")
	bad("type-key", "type", t.head(typed.set("kid", `"x"`).String()), "the type comes before the key")
	bad("type-none", "type", t.head(typed.set("alg", `"none"`).String()), "the type comes before the algorithm")
	bad("key-signature", "unknown_key", b64([]byte(es.header().set("kid", `"x"`).String()))+".e30.AAAA",
		"the key comes before the signature")
	bad("signature-claims", "signature", t.keys.stranger.token(es.header().String(), "{}"),
		"the signature comes before the claims")
	bad("signature-issuer", "signature", t.keys.stranger.token(es.header().String(), body().set("iss", quote("x")).
		String()), "the signature comes before the issuer")
	bad("claims-issuer", "claims", t.es(body().without("jti").set("iss", quote("x"))),
		"a missing claim comes before the issuer")
	bad("claims-binding", "claims", t.es(body().without("iat_us").add("cnf", "{}")),
		"a missing claim comes before the binding")
	bad("claims-expired", "claims", t.es(body().without("client_id").set("exp", "0")),
		"a missing claim comes before the expiry")
	bad("issuer-audience", "issuer", t.es(body().set("iss", quote("x")).set("aud", quote("x"))),
		"the issuer comes before the audience")
	bad("audience-binding", "audience", t.es(body().set("aud", quote("x")).add("cnf", "{}")),
		"the audience comes before the binding")
	bad("binding-expired", "binding", t.es(body().set("exp", "0").add("cnf", "{}")),
		"the binding comes before the expiry")
	bad("expired-not-yet", "expired", t.es(body().set("exp", "0").set("iat", fmt.Sprint(now+60))),
		"the expiry comes before the issue")
}
