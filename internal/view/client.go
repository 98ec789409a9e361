package view

import (
	"strings"
	"time"

	"curfew/models"
)

// Client is a client as an admin sees it. What is null is the server's.
type Client struct {
	ID                     string        `json:"client_id"`
	Name                   string        `json:"name"`
	Public                 bool          `json:"public"`
	Grants                 []string      `json:"grants"`
	Scopes                 []string      `json:"scopes"`
	Introspect             bool          `json:"introspect"`
	RedirectURIs           []string      `json:"redirect_uris"`
	PostLogoutRedirectURIs []string      `json:"post_logout_redirect_uris"`
	Origins                []string      `json:"origins"`
	Resources              []string      `json:"resources"`
	PKCE                   string        `json:"pkce"`
	AccessTTL              *int64        `json:"access_ttl"` // seconds, like the next two and lost_answer
	RefreshTTL             *int64        `json:"refresh_ttl"`
	DeviceMaxAge           *int64        `json:"device_max_age"`
	MaxDevices             *int          `json:"max_devices"`
	LostAnswer             *int64        `json:"lost_answer"`
	RefreshCookie          bool          `json:"refresh_cookie"`
	BackchannelLogoutURI   *string       `json:"backchannel_logout_uri"`
	CreatedAt              models.Micros `json:"created_at"`
	UpdatedAt              models.Micros `json:"updated_at"`
}

// NewClient shows a client to an admin.
func NewClient(c *models.Client) Client {
	list := func(s string) []string { return append([]string{}, strings.Fields(s)...) }
	v := Client{
		ID: c.ID, Name: c.Name, Public: c.Public, Grants: list(c.Grants), Scopes: list(c.Scopes),
		Introspect: c.Introspect, RedirectURIs: list(c.RedirectURIs),
		PostLogoutRedirectURIs: list(c.PostLogoutRedirectURIs), Origins: list(c.Origins), Resources: list(c.Resources),
		PKCE: c.PKCE, AccessTTL: seconds(c.AccessTTL), RefreshTTL: seconds(c.RefreshTTL),
		DeviceMaxAge: seconds(c.DeviceMaxAge), MaxDevices: c.MaxDevices, LostAnswer: seconds(c.LostAnswer),
		RefreshCookie: c.RefreshCookie, CreatedAt: c.CreatedAt, UpdatedAt: c.UpdatedAt,
	}
	if c.BackchannelLogoutURI != "" {
		v.BackchannelLogoutURI = &c.BackchannelLogoutURI
	}
	return v
}

func seconds(s *models.Span) *int64 {
	if s == nil {
		return nil
	}
	n := int64(time.Duration(*s) / time.Second)
	return &n
}

// ClientSecret is a client's new secret, which is shown this once.
type ClientSecret struct {
	ID     string `json:"client_id"`
	Secret string `json:"client_secret,omitempty"` // a public client has none
}
