package server

import (
	"encoding/base64"
	"net/url"
	"strings"
	"testing"
)

// What is wrong with how a client says who it is, and which parameter is missing, is said: it is no secret.
func TestToken_SaysWhatIsWrong(t *testing.T) {
	forEachDB(t, func(t *testing.T, k *kit) {
		basic := func(text string) string { return "Basic " + base64.StdEncoding.EncodeToString([]byte(text)) }
		for _, c := range []struct {
			name   string
			form   []string
			header []string
			status int
			says   string
		}{
			{"a bearer token beside the body", []string{"client_id", "web", "grant_type", "password"}, []string{"Bearer x"}, 401, "Bearer"},
			{"two headers", nil, []string{basic("api:x"), basic("api:x")}, 401, "more than one Authorization header"},
			{"no base64", nil, []string{"Basic api:x"}, 401, "base64"},
			{"not urlencoded", nil, []string{basic("api:100%sure")}, 401, "%25"},
			{"nobody", []string{"grant_type", "password"}, nil, 401, "client_id is missing"},
			{"no user name", []string{"client_id", "web", "grant_type", "password", "password", "x"}, nil, 400, "username is missing"},
			{"no password", []string{"client_id", "web", "grant_type", "password", "username", "anna"}, nil, 400, "password is missing"},
			{
				"an empty password",
				[]string{"client_id", "web", "grant_type", "password", "username", "anna", "password", ""},
				nil, 400,
				"password is missing",
			},
			{"no refresh token", []string{"client_id", "web", "grant_type", "refresh_token"}, nil, 400, "refresh_token is missing"},
			{"no grant type", []string{"client_id", "web"}, nil, 400, "grant_type is missing"},
			// What a guesser could use is not.
			{"a wrong secret", nil, []string{basic("api:wrong")}, 401, "client authentication failed"},
			{"no such client", nil, []string{basic("none:wrong")}, 401, "client authentication failed"},
		} {
			v := url.Values{}
			for i := 0; i < len(c.form); i += 2 {
				v.Set(c.form[i], c.form[i+1])
			}
			r := k.request("POST", "/oauth2/token", v.Encode(), "Content-Type", formType)
			r.Header["Authorization"] = c.header
			a := k.do(r)
			if a.status != c.status || !strings.Contains(a.str("error_description"), c.says) {
				t.Errorf("%s: %d %s, want %q", c.name, a.status, a.body, c.says)
			}
			if c.status == 401 && (a.str("error") != "invalid_client" || !strings.HasPrefix(a.header.Get("WWW-Authenticate"), "Basic")) {
				t.Errorf("%s: %s %v", c.name, a.body, a.header)
			}
		}
	})
}
