package main

import (
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"hash"

	"github.com/google/uuid"
)

// minter derives refresh tokens as the server does: the benchmark holds the server's secret, so it need not sign in a
// million devices to have a million genuine tokens.
type minter struct {
	id  [4]byte
	mac hash.Hash
}

func newMinter(secretHex string) (*minter, error) {
	secret, err := hex.DecodeString(secretHex)
	if err != nil {
		return nil, err
	}
	id, err := hkdf.Key(sha256.New, secret, nil, "curfew id v1", 32)
	if err != nil {
		return nil, err
	}
	key, err := hkdf.Key(sha256.New, secret, nil, "curfew refresh tokens v1", 32)
	if err != nil {
		return nil, err
	}
	return &minter{id: [4]byte(id[:4]), mac: hmac.New(sha256.New, key)}, nil
}

const tokenPrefix = "curfew_rt_"

// appendToken appends the refresh token of a device's refresh id. It is not safe for concurrent use.
func (m *minter) appendToken(buf []byte, device, refresh uuid.UUID) []byte {
	var b [69]byte
	b[0] = 1
	copy(b[1:], m.id[:])
	copy(b[5:], device[:])
	copy(b[21:], refresh[:])
	m.mac.Reset()
	m.mac.Write(b[:37])
	m.mac.Sum(b[37:37])
	buf = append(buf, tokenPrefix...)
	return base64.RawURLEncoding.AppendEncode(buf, b[:])
}

// refreshIDOf reads the refresh id that a token names.
func refreshIDOf(token []byte) (uuid.UUID, error) {
	var b [69]byte
	if len(token) != len(tokenPrefix)+92 {
		return uuid.Nil, fmt.Errorf("not a refresh token: %.20q", token)
	}
	if _, err := base64.RawURLEncoding.Decode(b[:], token[len(tokenPrefix):]); err != nil {
		return uuid.Nil, err
	}
	return uuid.UUID(b[21:37]), nil
}

// deviceID is the GUID of the benchmark's device n: a UUIDv7, in the order of n.
func deviceID(n int) uuid.UUID {
	id := uuid.MustParse("01980000-0000-7000-8000-000000000000")
	for i := range 6 {
		id[15-i] = byte(n >> (8 * i))
	}
	return id
}

// The same in SQL, of an expression n. Users and devices differ in one digit.
const (
	deviceIDSQL = `('01980000-0000-7000-8000-' || lpad(to_hex(%s), 12, '0'))::uuid`
	userIDSQL   = `('01980000-0000-7000-9000-' || lpad(to_hex(%s), 12, '0'))::uuid`
)

// userAgents are what the devices are; device n has number n modulo 4.
var userAgents = []string{
	"Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Safari/537.36",
	"Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0",
	"Example/4.2 (iPhone; iOS 19.1; Scale/3.00)",
	"okhttp/4.12.0",
}

// address is where device n comes from: each has its own, which the load generator hands on as a proxy does.
func address(n int) string { return fmt.Sprintf("10.%d.%d.%d", n>>16&255, n>>8&255, n&255) }
