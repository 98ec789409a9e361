package admin

import (
	"bytes"
	"encoding/json"
	"math"
	"time"

	"curfew/models"
)

// nullable is a member of a change that may be null, which is not the same as not there.
type nullable[T any] struct {
	there bool
	value *T // nil: null
}

// UnmarshalJSON implements json.Unmarshaler.
func (n *nullable[T]) UnmarshalJSON(text []byte) error {
	n.there, n.value = true, nil
	if bytes.Equal(text, []byte("null")) {
		return nil
	}
	n.value = new(T)
	return json.Unmarshal(text, n.value)
}

// span is a number of seconds; one that no length of time can hold becomes the longest, which is out of any bounds.
func span(seconds *int64) *models.Span {
	if seconds == nil {
		return nil
	}
	most := int64(math.MaxInt64 / time.Second)
	s := models.Span(time.Duration(max(-most, min(*seconds, most))) * time.Second)
	return &s
}

// change is a nullable member of a [models.ClientPatch].
func change[T any](n nullable[T]) **T {
	if !n.there {
		return nil
	}
	return &n.value
}

func changeSpan(n nullable[int64]) **models.Span {
	if !n.there {
		return nil
	}
	s := span(n.value)
	return &s
}

// newClientBody is the body of POST /admin/clients.
type newClientBody struct {
	ID                     string   `json:"client_id"`
	Name                   string   `json:"name"`
	Public                 bool     `json:"public"`
	Grants                 []string `json:"grants"`
	Scopes                 []string `json:"scopes"`
	Introspect             bool     `json:"introspect"`
	RedirectURIs           []string `json:"redirect_uris"`
	PostLogoutRedirectURIs []string `json:"post_logout_redirect_uris"`
	Origins                []string `json:"origins"`
	Resources              []string `json:"resources"`
	PKCE                   string   `json:"pkce"`
	AccessTTL              *int64   `json:"access_ttl"`
	RefreshTTL             *int64   `json:"refresh_ttl"`
	DeviceMaxAge           *int64   `json:"device_max_age"`
	MaxDevices             *int     `json:"max_devices"`
	LostAnswer             *int64   `json:"lost_answer"`
	RefreshCookie          bool     `json:"refresh_cookie"`
	BackchannelLogoutURI   string   `json:"backchannel_logout_uri"`
}

func (b *newClientBody) client() models.NewClient {
	return models.NewClient{
		ID: b.ID, Name: b.Name, Public: b.Public, Grants: b.Grants, Scopes: b.Scopes, Introspect: b.Introspect,
		RedirectURIs: b.RedirectURIs, PostLogoutRedirectURIs: b.PostLogoutRedirectURIs, Origins: b.Origins,
		Resources: b.Resources, PKCE: b.PKCE, AccessTTL: span(b.AccessTTL), RefreshTTL: span(b.RefreshTTL),
		DeviceMaxAge: span(b.DeviceMaxAge), MaxDevices: b.MaxDevices, LostAnswer: span(b.LostAnswer),
		RefreshCookie: b.RefreshCookie, BackchannelLogoutURI: b.BackchannelLogoutURI,
	}
}

// clientPatchBody is the body of PATCH /admin/clients/{id}: what is not there stays as it is.
type clientPatchBody struct {
	Name                   *string          `json:"name"`
	Grants                 *[]string        `json:"grants"`
	Scopes                 *[]string        `json:"scopes"`
	Introspect             *bool            `json:"introspect"`
	RedirectURIs           *[]string        `json:"redirect_uris"`
	PostLogoutRedirectURIs *[]string        `json:"post_logout_redirect_uris"`
	Origins                *[]string        `json:"origins"`
	Resources              *[]string        `json:"resources"`
	PKCE                   *string          `json:"pkce"`
	AccessTTL              nullable[int64]  `json:"access_ttl"`
	RefreshTTL             nullable[int64]  `json:"refresh_ttl"`
	DeviceMaxAge           nullable[int64]  `json:"device_max_age"`
	MaxDevices             nullable[int]    `json:"max_devices"`
	LostAnswer             nullable[int64]  `json:"lost_answer"`
	RefreshCookie          *bool            `json:"refresh_cookie"`
	BackchannelLogoutURI   nullable[string] `json:"backchannel_logout_uri"`
}

func (b *clientPatchBody) patch() models.ClientPatch {
	p := models.ClientPatch{
		Name: b.Name, Grants: b.Grants, Scopes: b.Scopes, Introspect: b.Introspect, RedirectURIs: b.RedirectURIs,
		PostLogoutRedirectURIs: b.PostLogoutRedirectURIs, Origins: b.Origins, Resources: b.Resources, PKCE: b.PKCE,
		AccessTTL: changeSpan(b.AccessTTL), RefreshTTL: changeSpan(b.RefreshTTL),
		DeviceMaxAge: changeSpan(b.DeviceMaxAge), MaxDevices: change(b.MaxDevices), LostAnswer: changeSpan(b.LostAnswer),
		RefreshCookie: b.RefreshCookie,
	}
	if b.BackchannelLogoutURI.there {
		p.BackchannelLogoutURI = b.BackchannelLogoutURI.value
		if p.BackchannelLogoutURI == nil {
			p.BackchannelLogoutURI = new(string)
		}
	}
	return p
}
