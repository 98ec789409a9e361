package pages

import (
	"encoding/json"
	"fmt"
	"net/url"
	"strings"
)

// lines are the ways to do without the console what an action of it does. Curfew is empty where only the API can.
type lines struct {
	ID           string // of the element, unique on the page
	Curl, Curfew string
}

// ways are the actions: the request to the admin API, and the command, which is empty where there is none. $1 and $2 are
// what the action is about. Of those that stand on a page many times the element is named by them too.
var ways = map[string]struct {
	method, path, body, command string
	many                        bool
}{
	"device.end":    {"DELETE", "/admin/devices/$1?wait=1s", "", "curfew device revoke $1", true},
	"device.rename": {"PATCH", "/admin/devices/$1", `{"name":$2}`, "curfew device rename $1 $2", false},
	"everyone.end":  {"DELETE", "/admin/devices?confirm=everyone&wait=1s", "", "curfew revoke everyone", false},

	"user.new":      {"POST", "/admin/users", "@-", "curfew user add --password-stdin NAME", false},
	"user.end":      {"DELETE", "/admin/users/$1/devices?wait=1s", "", "curfew revoke user $2", false},
	"user.disable":  {"PATCH", "/admin/users/$1", `{"disabled":true}`, "curfew user disable $2", false},
	"user.enable":   {"PATCH", "/admin/users/$1", `{"disabled":false}`, "curfew user enable $2", false},
	"user.admin":    {"PATCH", "/admin/users/$1", `{"admin":true}`, "curfew user admin --on $2", false},
	"user.no_admin": {"PATCH", "/admin/users/$1", `{"admin":false}`, "curfew user admin --off $2", false},
	"user.password": {"PATCH", "/admin/users/$1", "@-", "curfew user passwd --password-stdin $2", false},
	"user.delete":   {"DELETE", "/admin/users/$1?wait=1s", "", "curfew user delete $2", false},

	"clients": {"GET", "/admin/clients", "", "curfew client list", false},
	"client.new": {
		"POST", "/admin/clients", "@-", "curfew client add ID --grants authorization_code,refresh_token", false,
	},
	"client.set":    {"PATCH", "/admin/clients/$1", "@-", "curfew client set $1", false},
	"client.secret": {"POST", "/admin/clients/$1/secret", "", "curfew client secret $1", false},
	"client.end":    {"DELETE", "/admin/clients/$1/devices?wait=1s", "", "curfew revoke client $1", false},
	"client.delete": {"DELETE", "/admin/clients/$1?wait=1s", "", "curfew client delete $1", false},

	"followers":       {"GET", "/admin/subscribers", "", "", false},
	"follower.forget": {"DELETE", "/admin/subscribers/$1/$2", "", "", true},

	"receivers":      {"GET", "/admin/receivers", "", "curfew webhook list", false},
	"webhook":        {"GET", "/admin/webhooks/$1", "", "curfew webhook list", false},
	"webhook.new":    {"POST", "/admin/webhooks", `{"url":"URL"}`, "curfew webhook add URL", false},
	"webhook.test":   {"POST", "/admin/webhooks/$1/test", "", "curfew webhook test $1", false},
	"webhook.rotate": {"POST", "/admin/webhooks/$1/secret", "", "curfew webhook rotate $1", false},
	"webhook.delete": {"DELETE", "/admin/webhooks/$1", "", "curfew webhook delete $1", false},

	"revocation": {"GET", "/admin/revocations/$1", "", "", false},
}

// how are the lines for an action, with what it is about. Whatever comes from outside is quoted for the shell.
func how(api, action string, values ...string) (lines, error) {
	way, ok := ways[action]
	if !ok {
		return lines{}, fmt.Errorf("no lines for %q", action)
	}
	fill := func(text string, quoted func(string) string) string {
		pairs := make([]string, 0, 4)
		for i, place := range []string{"$1", "$2"} {
			value := ""
			if i < len(values) {
				value = values[i]
			}
			pairs = append(pairs, place, quoted(value))
		}
		return strings.NewReplacer(pairs...).Replace(text)
	}
	out := lines{ID: "how-" + strings.ReplaceAll(action, ".", "-"), Curfew: fill(way.command, quote)}
	if way.many {
		out.ID += "-" + strings.Join(values, "-")
	}
	out.Curl = `curl -H "Authorization: Bearer $TOKEN"`
	if way.method != "GET" {
		out.Curl += " -X " + way.method
	}
	if way.body != "" {
		out.Curl += " --json " + quote(fill(way.body, jsonString))
	}
	out.Curl += " " + quote(strings.TrimSuffix(api, "/")+fill(way.path, url.PathEscape))
	return out, nil
}

// howList are the lines for a list with its filter.
func howList(api, list string, v url.Values) lines {
	out := lines{ID: "how-list"}
	at := address(strings.TrimSuffix(api, "/")+"/admin/"+list, v)
	out.Curl = `curl -H "Authorization: Bearer $TOKEN" ` + quote(string(at))
	switch list {
	case "devices":
		out.Curfew = "curfew device list" +
			flags(v, "username", "user", "client_id", "client", "status", "status", "ip", "ip", "q", "q")
	case "users":
		out.Curfew = "curfew user list" + flags(v, "prefix", "prefix")
	}
	return out
}

// howEnd are the lines for signing out what a filter selects.
func howEnd(api string, v url.Values) lines {
	return lines{ID: "how-end", Curl: `curl -H "Authorization: Bearer $TOKEN" -X DELETE ` +
		quote(string(address(strings.TrimSuffix(api, "/")+"/admin/devices", v)))}
}

// flags takes names of the API and of the command line in turn. What the command line lacks, it leaves out.
func flags(v url.Values, names ...string) (out string) {
	for i := 0; i+1 < len(names); i += 2 {
		if value := v.Get(names[i]); value != "" {
			out += " --" + names[i+1] + "=" + quote(value)
		}
	}
	return out
}

// jsonString is a string in a request's body.
func jsonString(s string) string {
	b, err := json.Marshal(s)
	if err != nil {
		return `""`
	}
	return string(b)
}

// quote makes one word of it, for a POSIX shell.
func quote(s string) string {
	plain := func(r rune) bool {
		return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' ||
			strings.ContainsRune("@%+=:,./_-", r)
	}
	if s != "" && strings.IndexFunc(s, func(r rune) bool { return !plain(r) }) < 0 {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}
