package verify

import (
	"errors"
	"fmt"
	"io"
	"net/http/httptest"
	"testing"
)

// Every error of the package has a code, wrapped ones too; two that come together have that of the one that says more.
func TestCode(t *testing.T) {
	for _, tc := range []struct {
		err       error
		code      string
		status    int
		challenge string
	}{
		{ErrNoToken, "no_token", 401, "Bearer"},
		{ErrRequest, "request", 400, `Bearer error="invalid_request"`},
		{fmt.Errorf("%w: longer", ErrMalformed), "malformed", 401, `Bearer error="invalid_token"`},
		{ErrRevoked, "revoked", 401, `Bearer error="invalid_token"`},
		{ErrBinding, "binding", 401, `Bearer error="invalid_token"`},
		{ErrStale, "stale", 503, ""},
		{ErrUnavailable, "unavailable", 503, ""},
		{fmt.Errorf("%w: %w: %w", ErrStale, ErrUnavailable, io.EOF), "unavailable", 503, ""},
		{ErrScope, "scope", 403, `Bearer error="insufficient_scope", scope="a b"`},
		{errors.New("somebody else's"), "", 401, `Bearer error="invalid_token"`},
	} {
		code, status, challenge := Code(tc.err), Status(tc.err), Challenge(tc.err, "a", "b")
		if code != tc.code || status != tc.status || challenge != tc.challenge {
			t.Errorf("%v: %q, %d, %q", tc.err, code, status, challenge)
		}
		w := httptest.NewRecorder()
		Refuse(w, tc.err, "a", "b")
		if h := w.Header(); w.Code != tc.status || h.Get("WWW-Authenticate") != tc.challenge ||
			(h.Get("Retry-After") != "") != (tc.status == 503) {
			t.Errorf("%v: answered with %d and %v", tc.err, w.Code, h)
		}
	}
	if Code(nil) != "" {
		t.Error("nothing has the code", Code(nil))
	}
}
