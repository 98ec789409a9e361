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

// how are the lines for an action: its request to the admin API and its command. Whatever comes from outside is quoted
// for the shell.
func how(api, action string, values ...string) (lines, error) {
	arg := func(i int) string {
		if i < len(values) {
			return values[i]
		}
		return ""
	}
	path := url.PathEscape(arg(0))
	request := func(method, address string, body ...string) string { return curl(api, method, address, body...) }
	out := lines{ID: "how-" + strings.ReplaceAll(action, ".", "-")}
	switch action {
	case "device.end":
		out.ID += "-" + arg(0)
		out.Curl = request("DELETE", "/admin/devices/"+path+"?wait=1s")
		out.Curfew = "curfew device revoke " + quote(arg(0))
	case "device.rename":
		out.Curl = request("PATCH", "/admin/devices/"+path, object("name", arg(1)))
		out.Curfew = "curfew device rename " + quote(arg(0)) + " " + quote(arg(1))
	case "everyone.end":
		out.Curl = request("DELETE", "/admin/devices?confirm=everyone&wait=1s")
		out.Curfew = "curfew revoke everyone"
	case "user.end":
		out.Curl = request("DELETE", "/admin/users/"+path+"/devices?wait=1s")
		out.Curfew = "curfew revoke user " + quote(arg(1))
	case "user.disable":
		out.Curl = request("PATCH", "/admin/users/"+path, `{"disabled":true}`)
		out.Curfew = "curfew user disable " + quote(arg(1))
	case "user.enable":
		out.Curl = request("PATCH", "/admin/users/"+path, `{"disabled":false}`)
		out.Curfew = "curfew user enable " + quote(arg(1))
	case "user.admin":
		out.Curl = request("PATCH", "/admin/users/"+path, `{"admin":true}`)
		out.Curfew = "curfew user admin --on " + quote(arg(1))
	case "user.no_admin":
		out.Curl = request("PATCH", "/admin/users/"+path, `{"admin":false}`)
		out.Curfew = "curfew user admin --off " + quote(arg(1))
	case "user.password":
		out.Curl = request("PATCH", "/admin/users/"+path, "@-")
		out.Curfew = "curfew user passwd --password-stdin " + quote(arg(1))
	case "user.delete":
		out.Curl = request("DELETE", "/admin/users/"+path+"?wait=1s")
		out.Curfew = "curfew user delete " + quote(arg(1))
	case "user.new":
		out.Curl = request("POST", "/admin/users", "@-")
		out.Curfew = "curfew user add --password-stdin NAME"
	case "client.new":
		out.Curl = request("POST", "/admin/clients", "@-")
		out.Curfew = "curfew client add ID --grants authorization_code,refresh_token"
	case "client.set":
		out.Curl = request("PATCH", "/admin/clients/"+path, "@-")
		out.Curfew = "curfew client set " + quote(arg(0))
	case "client.secret":
		out.Curl = request("POST", "/admin/clients/"+path+"/secret")
		out.Curfew = "curfew client secret " + quote(arg(0))
	case "client.end":
		out.Curl = request("DELETE", "/admin/clients/"+path+"/devices?wait=1s")
		out.Curfew = "curfew revoke client " + quote(arg(0))
	case "client.delete":
		out.Curl = request("DELETE", "/admin/clients/"+path+"?wait=1s")
		out.Curfew = "curfew client delete " + quote(arg(0))
	case "follower.forget":
		out.ID += fmt.Sprintf("-%s-%s", arg(0), arg(1))
		out.Curl = request("DELETE", "/admin/subscribers/"+path+"/"+url.PathEscape(arg(1)))
	case "clients":
		out.Curl, out.Curfew = request("GET", "/admin/clients"), "curfew client list"
	case "followers":
		out.Curl = request("GET", "/admin/subscribers")
	case "revocation":
		out.Curl = request("GET", "/admin/revocations/"+path)
	default:
		return out, fmt.Errorf("no lines for %q", action)
	}
	return out, nil
}

// curl is a request to the admin API.
func curl(api, method, address string, body ...string) string {
	line := `curl -H "Authorization: Bearer $TOKEN"`
	if method != "GET" {
		line += " -X " + method
	}
	if len(body) > 0 {
		line += " --json " + quote(body[0])
	}
	return line + " " + quote(strings.TrimSuffix(api, "/")+address)
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

func object(name, value string) string {
	b, err := json.Marshal(map[string]string{name: value})
	if err != nil {
		return "{}"
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
