package verify

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/sha256"
	"encoding/asn1"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/big"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
	"time"
)

// FuzzReadEvents: whatever a stream sends, the reader ends with an error, holds no event above its bound, keeps its own
// memory out of the handler's hands, and reads the same whether lines end with LF, CR LF or CR, and however they come.
func FuzzReadEvents(f *testing.F) {
	for _, seed := range []string{
		"", "\n", "\n\n\n", ":\n\n", ": the log cannot be read\n\n", "data\n\n", "data:\n\n", "data: a\ndata:b\n\n",
		"data: a\r\n\r\n", "event\ndata: x\n\n",
		"id: 42\nevent: revocation\ndata: {\"seq\":42,\"level\":\"user\",\"subject\":\"0197a1b2-0000-7000-8000-000000000001\",\"valid_from\":1795209600000000,\"expires_at\":1795209912000000}\n\n",
		"event: heartbeat\ndata: {\"seq\":42,\"time\":1795209600123456}\n\nevent: close\ndata: {\"reason\":\"token_expired\"}\n\n",
		"event: revocation\ndata: {\"seq\":1,\"level\":\"everyone\",\"subject\":null,\"valid_from\":-1}\n\n",
		"event: heartbeat\ndata: {\"seq\":1e99}\n\n",
		"event: x\n\ndata: y\n\n", "data: cut off", strings.Repeat("a", maxLine),
		strings.Repeat("data: "+strings.Repeat("b", 1000)+"\n", 70) + "\n",
	} {
		f.Add([]byte(seed))
	}
	type got struct{ kind, data string }
	read := func(t *testing.T, from io.Reader) (all []got, err error) {
		events := &eventStream{alive: func() {}, handle: func(kind string, data []byte) error {
			if len(data) > maxLine {
				t.Fatalf("an event of %d bytes", len(data))
			}
			all = append(all, got{kind, string(data)})
			return nil
		}}
		err = events.readFrom(from)
		if cap(events.line) > 2*maxLine || cap(events.data) > 3*maxLine {
			t.Fatalf("%d and %d bytes are held", cap(events.line), cap(events.data))
		}
		if err == nil {
			t.Fatal("a stream that ended without an error")
		}
		return all, err
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		all, err := read(t, bytes.NewReader(in))
		if bytes.Contains(in, []byte("\r")) || len(in) > maxLine/2 {
			return
		}
		for _, end := range []string{"\r\n", "\r"} {
			again, errAgain := read(t, bytes.NewReader(bytes.ReplaceAll(in, []byte("\n"), []byte(end))))
			if !slices.Equal(all, again) || err.Error() != errAgain.Error() {
				t.Fatalf("%q, %v\nwith %q %q, %v", all, err, end, again, errAgain)
			}
		}
		if again, errAgain := read(t, iotest.OneByteReader(bytes.NewReader(in))); !slices.Equal(all, again) ||
			err.Error() != errAgain.Error() {
			t.Fatalf("%q, %v\nbyte by byte %q, %v", all, err, again, errAgain)
		}
		// Whatever the events say, the verifier stands, its index never takes back what it knows, and doubles change
		// nothing.
		v := quiet()
		s := opened(v)
		subject := "0197a1b2-0000-7000-8000-000000000001"
		v.index.apply(levelUser, subject, validFrom{100, forever, forever}, instant{})
		for _, e := range all {
			if s.handle(e.kind, []byte(e.data)) != nil {
				continue
			}
			entries, seq := v.index.entries(), v.Seq()
			if err := s.handle(e.kind, []byte(e.data)); err != nil || v.index.entries() != entries || v.Seq() != seq {
				t.Fatalf("%q a second time: %v, %d entries were %d, seq %d was %d", e.data, err, v.index.entries(),
					entries, v.Seq(), seq)
			}
		}
		u, _ := parseUUID(subject)
		if v.index.users.get(u) < 100 {
			t.Fatal("a revocation was forgotten")
		}
	})
}

// quiet is a verifier that follows nothing and logs nothing.
func quiet() *Verifier {
	v := &Verifier{
		cfg: Config{Issuer: benchIssuer, Audience: benchIssuer, Bound: time.Hour},
		log: slog.New(slog.DiscardHandler), index: newIndex(), cache: newCache(100),
		now: clocksSince(time.Now()), applied: make(chan struct{}, 1), ctx: context.Background(),
	}
	v.keys = newKeySet(v)
	v.keys.fetched = time.Now().Add(24 * time.Hour) // so that an unknown key id asks nobody
	v.keys.keys = map[string]*key{}
	return v
}

// opened is a stream that is asked for now.
func opened(v *Verifier) *stream { return &stream{v: v, anchor: anchor{at: v.now()}} }

// FuzzCheck: no string makes the parser fall over; every error is one of ours; what is accepted is one of the genuine
// tokens, character for character; and a body that is read with a right signature has what the rule needs.
func FuzzCheck(f *testing.F) {
	// The same key and token in every process of the fuzzer, and nothing remembered from one input to the next: else
	// the same input takes another way each time, and the fuzzer spends its time on making "new" inputs shorter.
	v, b64 := quiet(), base64.RawURLEncoding.EncodeToString
	private, err := ecdsa.ParseRawPrivateKey(elliptic.P256(), bytes.Repeat([]byte{7}, 32))
	if err != nil {
		f.Fatal(err)
	}
	v.keys.keys["kid"] = &key{"ES256", private.Public()}
	genuine := b64([]byte(`{"alg":"ES256","typ":"at+jwt","kid":"kid"}`)) + "." +
		b64([]byte(`{"iss":"`+benchIssuer+`","sub":"0197a1b2-0000-7000-8000-000000000001","aud":"`+benchIssuer+
			`","exp":1795213200,"iat":1795209600,"jti":"1","client_id":"web","scope":"settings","iat_us":1795209600000000,"device_id":"0197a1b2-0001-7000-8000-000000000001"}`))
	sum := sha256.Sum256([]byte(genuine))
	signature, err := private.Sign(nil, sum[:], crypto.SHA256) // without randomness, RFC 6979
	if err != nil {
		f.Fatal(err)
	}
	var rs struct{ R, S *big.Int }
	if _, err := asn1.Unmarshal(signature, &rs); err != nil {
		f.Fatal(err)
	}
	genuine += "." + b64(append(rs.R.FillBytes(make([]byte, 32)), rs.S.FillBytes(make([]byte, 32))...))
	if _, err := v.check(context.Background(), genuine); err != nil {
		f.Fatal(err)
	}
	part := strings.Split(genuine, ".")
	for _, seed := range []string{
		"", ".", "..", "...", "a.b.c", genuine, genuine + "=", genuine + "\n", " " + genuine,
		genuine[:len(genuine)-1] + "_", part[0] + "." + part[1] + ".",
		b64([]byte(`{"alg":"none","typ":"at+jwt","kid":"kid"}`)) + "." + part[1] + ".",
		b64([]byte(`{"alg":"ES256","typ":"AT+JWT","kid":"kid"}`)) + "." + part[1] + "." + part[2],
		b64([]byte(`{"alg":"ES256","typ":"at+jwt","kid":"other","crit":null}`)) + "." + part[1] + "." + part[2],
		b64([]byte(`{"alg":"ES256","typ":"at+jwt","kid":"kid","alg":"EdDSA"}`)) + "." + part[1] + "." + part[2],
		b64([]byte(`{"iss":"i","sub":"s","aud":["a","b"],"exp":1e300,"iat":-1e300,"nbf":1e999,"jti":"j","client_id":"c","iat_us":9223372036854775807}`)),
		b64([]byte(`{"iss":"i","sub":"s","aud":"a","exp":1,"iat":1,"jti":"j","client_id":"c","iat_us":1.5}`)),
		b64([]byte(`{"aud":{}}`)), b64([]byte("[]")),
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, token string) {
		clear(v.keys.headers)
		claims, err := v.check(context.Background(), token)
		switch {
		case err == nil && token != genuine:
			t.Fatalf("%q was accepted: %+v", token, claims)
		case err != nil && Code(err) == "":
			t.Fatalf("%q: an error of somebody else's: %v", token, err)
		case err != nil && claims != nil:
			t.Fatalf("%q: claims beside %v", token, err)
		}
		// As if the signature had been right.
		_, body, _, err := split(token)
		if err != nil {
			body = token
		}
		o, err := decodeObject(body)
		if err != nil {
			return
		}
		if claims, err = parseClaims(o); err != nil {
			return
		}
		if claims.Issuer == "" || claims.Subject == "" || claims.ID == "" || claims.ClientID == "" ||
			len(claims.Audience) == 0 || claims.IssuedMicros <= 0 {
			t.Fatalf("%q: a claim is missing: %+v", body, claims)
		}
		raw, err := decode(body)
		if err != nil || !json.Valid(raw) || b64(raw) != body {
			t.Fatalf("%q is not in the one form", body)
		}
		x := newIndex()
		if x.revoked(claims) {
			t.Fatal("revoked by nobody")
		}
		x.apply(levelClient, claims.ClientID, validFrom{claims.IssuedMicros, forever, forever}, instant{})
		if !x.revoked(claims) {
			t.Fatal("its client's sign-out does not end it")
		}
	})
}

// Two minutes off, either way: said once, and tokens are judged by the issuer's clock.
func TestClock_TwoMinutesWrong(t *testing.T) {
	for _, off := range []time.Duration{2 * time.Minute, -2 * time.Minute} {
		v, mint := benchVerifier(t, "EdDSA")
		var said bytes.Buffer
		v.log, v.applied = slog.New(slog.NewTextHandler(&said, nil)), make(chan struct{}, 1)
		token := mint(1)
		if _, err := v.Verify(t.Context(), token); err != nil {
			t.Fatal(err)
		}
		beat := func(d time.Duration) {
			t.Helper()
			if err := opened(v).handle("heartbeat", fmt.Appendf(nil, `{"seq":1,"time":%d}`, time.Now().Add(d).
				UnixMicro())); err != nil {
				t.Fatal(err)
			}
		}
		beat(time.Second)
		if said.Len() > 0 {
			t.Fatalf("one second is no fault: %s", &said)
		}
		for range 3 {
			beat(off)
		}
		if n := strings.Count(said.String(), "the clock of this machine is wrong"); n != 1 {
			t.Fatalf("%v off: said %d times: %s", off, n, &said)
		}
		if d := v.ClockOffset() - off; d < -time.Second || d > time.Second {
			t.Fatalf("%v off: reported %v", off, v.ClockOffset())
		}
		if d := v.Stats().ClockOffset - off; d < -time.Second || d > time.Second {
			t.Fatalf("%v off: the counters report %v", off, v.Stats().ClockOffset)
		}
		claims := &Claims{Issuer: benchIssuer, IssuedMicros: 1}
		judge := func(issued, expires time.Duration) error {
			one := *claims
			one.issued, one.expires = time.Now().Add(issued).UnixMicro(), time.Now().Add(expires).UnixMicro()
			_, epoch := v.cache.get("t")
			v.cache.put("t", &one, epoch)
			_, err := v.Verify(t.Context(), "t")
			return err
		}
		for _, tc := range []struct {
			name            string
			issued, expires time.Duration // from now, by this machine's clock
			want            error
		}{
			{"issued now, for a minute, by the issuer's clock", off, off + time.Minute, nil},
			{"expired a second ago by the issuer's clock", off - time.Minute, off - time.Second, ErrExpired},
			{"issued a minute ahead of the issuer's clock", off + time.Minute, off + time.Hour, ErrNotYetValid},
		} {
			if err := judge(tc.issued, tc.expires); !errors.Is(err, tc.want) {
				t.Errorf("%v off, %s: %v, want %v", off, tc.name, err, tc.want)
			}
		}
		beat(0)
		beat(off)
		if n := strings.Count(said.String(), "the clock of this machine is wrong"); n != 2 {
			t.Fatalf("%v off again: said %d times", off, n)
		}
	}
}

// Every event doubled, and the whole stream replayed from the beginning: the outcome is that of hearing each once. An
// older event that comes after a newer one takes nothing back, and no double moves the position or adds an entry.
func TestEvents_DoubledOrReplayed(t *testing.T) {
	const anna, phone = "0197a1b2-0000-7000-8000-000000000001", "0197a1b2-0001-7000-8000-000000000001"
	event := func(seq int64, level, subject string, validFrom int64) string {
		return fmt.Sprintf("id: %d\nevent: revocation\ndata: {\"seq\":%[1]d,\"level\":%q,\"subject\":%s,\"valid_from\":%d,\"expires_at\":4102444800000000}\n\n", seq, level, subject, validFrom)
	}
	events := []string{
		event(1, levelDevice, `"`+phone+`"`, 100), event(2, levelUser, `"`+anna+`"`, 200), event(3, levelClient,
			`"web"`, 300),
		event(4, levelDevice, `"`+phone+`"`, 400), event(5, levelEveryone, "null", 50), event(6, levelUser,
			`"`+anna+`"`, 600),
	}
	beat := "event: heartbeat\ndata: {\"seq\":6,\"time\":1795209600123456}\n\n"
	var once, doubled string
	for _, e := range events {
		once += e
		doubled += e + e
	}
	outcome := func(stream string) string {
		v := quiet()
		events := &eventStream{alive: func() {}, handle: opened(v).handle}
		if err := events.readFrom(strings.NewReader(stream)); !errors.Is(err, io.EOF) {
			t.Fatal(err)
		}
		said := fmt.Sprintf("seq %d, %d entries", v.Seq(), v.index.entries())
		for _, c := range []Claims{
			{DeviceID: phone, Subject: "0197a1b2-0000-7000-8000-000000000002", ClientID: "other"},
			// ended by its device
			{DeviceID: "0197a1b2-0001-7000-8000-000000000002", Subject: anna, ClientID: "other"}, // by its user
			{Subject: "web", ClientID: "web"},     // by its client
			{Subject: "other", ClientID: "other"}, // by everyone's
		} {
			c.clientKey = levelClient + " " + c.ClientID
			c.device, c.deviceIsUUID = parseUUID(c.DeviceID)
			c.user, c.userIsUUID = parseUUID(c.Subject)
			for _, c.IssuedMicros = range []int64{50, 51, 100, 101, 200, 201, 300, 301, 400, 401, 600, 601} {
				said += fmt.Sprintf(" %t", v.index.revoked(&c))
			}
		}
		return said
	}
	want := outcome(once + beat)
	for name, stream := range map[string]string{
		"doubled": doubled + beat, "replayed": once + beat + once + beat, "doubled and replayed": doubled + beat +
			doubled + doubled + beat,
		"replayed without a heartbeat": once + once, "an old one again": once + events[0] + events[1] + beat,
	} {
		if got := outcome(stream); got != want {
			t.Errorf("%s:\n%s\nonce:\n%s", name, got, want)
		}
	}
}
