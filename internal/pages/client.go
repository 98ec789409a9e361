package pages

import "time"

// ClientForm is a client as the form has it: what was typed, or what is stored. Empty lifetimes and numbers are the
// server's.
type ClientForm struct {
	ID                   string
	Name                 string
	Public               bool
	Grants               []string
	Scopes               string
	Introspect           bool
	RedirectURIs         []string
	PostLogoutURIs       []string
	Origins              []string
	Resources            []string
	PKCE                 string // required, optional
	AccessTTL            string // like 5m, as are the next three
	RefreshTTL           string
	DeviceMaxAge         string
	LostAnswer           string
	MaxDevices           string
	RefreshCookie        bool
	BackchannelLogoutURI string
}

// HasGrant tells whether a grant is among those of the form.
func (c ClientForm) HasGrant(grant string) bool {
	for _, g := range c.Grants {
		if g == grant {
			return true
		}
	}
	return false
}

// AllGrants are those that there are.
func (ClientForm) AllGrants() []string {
	return []string{"authorization_code", "refresh_token", "password", "client_credentials"}
}

// ClientRow is a client in the list.
type ClientRow struct {
	ID, Name string
	Public   bool
	Grants   []string
	Scopes   string
	Created  time.Time
	BuiltIn  bool
}

// ConsoleClients is /console/clients.
type ConsoleClients struct {
	Console
	Clients []ClientRow
	Next    string // cursor
}

func (p ConsoleClients) frame() frame { return p.page("console-clients", "clients") }

// ConsoleClientNew is /console/clients/new. Its form:
//
//	POST /console/clients    client_id, public (1), and the fields of [ConsoleClient]'s
type ConsoleClientNew struct {
	Console
	Client ClientForm
}

func (p ConsoleClientNew) frame() frame { return p.page("console-client-new", "clients") }

// ConsoleClient is /console/clients/ID. Its forms, below /console/clients/ID:
//
//	POST /         name, grants (several), scopes, introspect (1), redirect_uris, post_logout_redirect_uris, origins,
//	               resources (one a line), pkce, access_ttl, refresh_ttl, device_max_age, lost_answer, max_devices,
//	               refresh_cookie (1), backchannel_logout_uri
//	POST /secret
//	POST /end
//	POST /delete   confirm (the client's id)
//
// Secret is set in the one answer that made it.
type ConsoleClient struct {
	Console
	Client  ClientForm
	Secret  string
	Created time.Time
	Changed time.Time
	BuiltIn bool // may not be changed
}

func (p ConsoleClient) frame() frame { return p.page("console-client", "clients") }
