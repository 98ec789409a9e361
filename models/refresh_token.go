package models

import (
	"crypto/hmac"
	"encoding/base64"
	"strings"

	"github.com/google/uuid"
)

// A refresh token is derived, not stored: version, id of the secret, device, refresh id, and an HMAC over them under a key
// that comes from the server's secret. So the very same token can be made again for a retry; any token that was ever
// issued is recognised, hence its replay too; and neither the database nor the secret alone makes one.
type refreshToken struct {
	DeviceID  uuid.UUID
	RefreshID uuid.UUID
}

// nextRefreshID is random but for its first bytes, which a refresh id keeps through all rotations and sign-ins of its row. A
// device that is removed and signs in again under the same GUID has a new row, with other first bytes: its older tokens are
// no thief's, and are nothing to whoever has the GUID now.
func nextRefreshID(last uuid.UUID) uuid.UUID {
	id := uuid.New()
	copy(id[:rowMark], last[:rowMark])
	return id
}

// ofOneRow tells whether two refresh ids were made for the same row.
func ofOneRow(a, b uuid.UUID) bool { return [rowMark]byte(a[:]) == [rowMark]byte(b[:]) }

const rowMark = 4

const (
	refreshTokenPrefix  = "curfew_rt_" // for secret scanners
	refreshTokenVersion = 1
	refreshTokenBody    = 1 + 4 + 16 + 16
	refreshTokenSize    = refreshTokenBody + 32 // a multiple of 3: base64 leaves no spare bits
)

func (k *keyring) refreshToken(t refreshToken) string {
	sub := k.current()
	b := make([]byte, 0, refreshTokenSize)
	b = append(b, refreshTokenVersion)
	b = append(b, sub.id[:]...)
	b = append(b, t.DeviceID[:]...)
	b = append(b, t.RefreshID[:]...)
	b = append(b, mac(sub.refresh, b)...)
	return refreshTokenPrefix + base64.RawURLEncoding.EncodeToString(b)
}

// parseRefreshToken accepts exactly what refreshToken makes. It needs no database: a string that was never issued changes
// nothing, even when it contains a real device's GUID.
func (k *keyring) parseRefreshToken(s string) (t refreshToken, ok bool) {
	s, ok = strings.CutPrefix(s, refreshTokenPrefix)
	if !ok || len(s) != base64.RawURLEncoding.EncodedLen(refreshTokenSize) {
		return t, false
	}
	b, err := strictBase64.DecodeString(s)
	if err != nil || len(b) != refreshTokenSize || b[0] != refreshTokenVersion { // the decoder skips line breaks
		return t, false
	}
	sub := k.byID([4]byte(b[1:5]))
	if sub == nil || !hmac.Equal(b[refreshTokenBody:], mac(sub.refresh, b[:refreshTokenBody])) {
		return t, false
	}
	return refreshToken{DeviceID: uuid.UUID(b[5:21]), RefreshID: uuid.UUID(b[21:37])}, true
}
