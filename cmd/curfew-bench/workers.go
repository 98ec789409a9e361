package main

import (
	"encoding/base64"
	"math/rand/v2"
	"net/url"
	"strconv"

	"curfew/internal/harness"

	"github.com/google/uuid"
)

const formHead = "Host: bench\r\nContent-Type: application/x-www-form-urlencoded\r\nConnection: keep-alive\r\n"

// refresher refreshes devices of its own, a random one each time, each with the newest token that it got.
type refresher struct {
	w        *world
	minter   *minter
	from     int // its devices: from, from+step, …
	step     int
	count    int
	device   int
	body     []byte
	keep     map[int]string // where access tokens go, if anywhere
	inOrder  bool           // one after the other
	position int
}

// refreshers are n workers that share the first devices of a world.
func (w *world) refreshers(n, devices int) []worker {
	workers := make([]worker, n)
	for i := range workers {
		m, _ := newMinter(w.rig.secret)
		workers[i] = &refresher{w: w, minter: m, from: i, step: n, count: (devices - i + n - 1) / n}
	}
	return workers
}

func (r *refresher) next(buf []byte) []byte {
	k := r.position % r.count
	if !r.inOrder {
		k = rand.IntN(r.count)
	}
	r.position++
	r.device = r.from + r.step*k
	r.body = append(r.body[:0], "grant_type=refresh_token&client_id=web&refresh_token="...)
	r.body = r.minter.appendToken(r.body, deviceID(r.device), r.w.refresh[r.device])
	return appendRequest(buf, "POST /oauth2/token HTTP/1.1\r\n"+formHead+
		"User-Agent: "+userAgents[r.device%len(userAgents)]+"\r\nX-Forwarded-For: "+address(r.device)+"\r\n", r.body)
}

func (r *refresher) answer(status int, body []byte) error {
	if status != 200 {
		return unexpected(status, body)
	}
	id, err := refreshIDOf(field(body, "refresh_token"))
	if err != nil {
		return err
	}
	r.w.refresh[r.device] = id
	if r.keep != nil {
		r.keep[r.device] = string(field(body, "access_token"))
	}
	return nil
}

// fixed sends prepared requests, a random one each time, and wants an answer that says something.
type fixed struct {
	requests [][]byte
	status   int
	check    func(body []byte) bool
}

func (f *fixed) next(buf []byte) []byte {
	return append(buf, f.requests[rand.IntN(len(f.requests))]...)
}

func (f *fixed) answer(status int, body []byte) error {
	if status != f.status || f.check != nil && !f.check(body) {
		return unexpected(status, body)
	}
	return nil
}

func same(n int, w func(i int) worker) []worker {
	workers := make([]worker, n)
	for i := range workers {
		workers[i] = w(i)
	}
	return workers
}

func basic(id string) string {
	return "Authorization: Basic " + base64.StdEncoding.EncodeToString([]byte(id+":"+clientSecret)) + "\r\n"
}

func introspectRequest(token string) []byte {
	return appendRequest(nil, "POST /oauth2/introspect HTTP/1.1\r\n"+formHead+basic("api"), []byte("token="+token))
}

func get(path, token string) []byte {
	return []byte("GET " + path + " HTTP/1.1\r\nHost: bench\r\nAuthorization: Bearer " + token + "\r\n\r\n")
}

func remove(path, token string) []byte {
	return []byte("DELETE " + path + " HTTP/1.1\r\nHost: bench\r\nAuthorization: Bearer " + token + "\r\n\r\n")
}

// signer signs users in by password, a random one each time.
type signer struct {
	w *world
}

func (s signer) next(buf []byte) []byte {
	form := url.Values{
		"grant_type": {"password"}, "client_id": {"web"},
		"username": {"user" + strconv.Itoa(rand.IntN(s.w.users))}, "password": {password},
	}
	n := rand.IntN(1 << 24)
	return appendRequest(buf, "POST /oauth2/token HTTP/1.1\r\n"+formHead+"User-Agent: "+userAgents[0]+
		"\r\nX-Forwarded-For: "+address(n)+"\r\n", []byte(form.Encode()))
}

func (s signer) answer(status int, body []byte) error {
	if status != 200 {
		return unexpected(status, body)
	}
	return nil
}

// adminToken signs in the client ops.
func adminToken(p *harness.Node) (string, error) {
	c, err := dial(p.Public)
	if err != nil {
		return "", err
	}
	defer c.net.Close()
	status, body, err := c.do(appendRequest(nil, "POST /oauth2/token HTTP/1.1\r\n"+formHead+basic("ops"),
		[]byte("grant_type=client_credentials&scope=admin")))
	if err != nil {
		return "", err
	}
	if status != 200 {
		return "", unexpected(status, body)
	}
	return string(field(body, "access_token")), nil
}

func userID(n int) uuid.UUID {
	id := deviceID(n)
	id[8] = 0x90
	return id
}
