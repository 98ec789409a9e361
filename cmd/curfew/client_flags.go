package main

import (
	"strconv"
	"strings"
	"time"

	"github.com/alecthomas/kong"

	"curfew/models"
)

// words is a list: the flag again and again, or one value separated by spaces. Nil: the flag was not given; empty: it
// was, with nothing in it.
type words []string

// Decode implements kong.MapperValue.
func (w *words) Decode(ctx *kong.DecodeContext) error {
	var text string
	if err := ctx.Scan.PopValueInto("list", &text); err != nil {
		return err
	}
	*w = append(append(words{}, *w...), strings.Fields(text)...)
	return nil
}

func (w words) change() *[]string {
	if w == nil {
		return nil
	}
	list := []string(w)
	return &list
}

// names is that for names without a comma in them, which may separate them too.
type names []string

// Decode implements kong.MapperValue.
func (n *names) Decode(ctx *kong.DecodeContext) error {
	var text string
	if err := ctx.Scan.PopValueInto("list", &text); err != nil {
		return err
	}
	*n = append(append(names{}, *n...), strings.FieldsFunc(text, func(r rune) bool { return r == ',' || r == ' ' })...)
	return nil
}

// serversOwn is what a flag says for the server's value.
const serversOwn = "default"

// ownSpan is a length of time that a client may have of its own.
type ownSpan struct {
	given bool
	value *models.Span // nil: the server's
}

func (o *ownSpan) change() **models.Span {
	if !o.given {
		return nil
	}
	return &o.value
}

// Decode implements kong.MapperValue.
func (o *ownSpan) Decode(ctx *kong.DecodeContext) error {
	var text string
	if err := ctx.Scan.PopValueInto("duration", &text); err != nil {
		return err
	}
	if o.given, o.value = true, nil; text == serversOwn {
		return nil
	}
	d, err := time.ParseDuration(text)
	if err != nil {
		return usage("%q is not a duration like 90s, 5m or 720h, nor %q", text, serversOwn)
	}
	o.value = (*models.Span)(&d)
	return nil
}

// ownCount is a number that a client may have of its own.
type ownCount struct {
	given bool
	value *int // nil: the server's
}

func (o *ownCount) change() **int {
	if !o.given {
		return nil
	}
	return &o.value
}

// Decode implements kong.MapperValue.
func (o *ownCount) Decode(ctx *kong.DecodeContext) error {
	var text string
	if err := ctx.Scan.PopValueInto("number", &text); err != nil {
		return err
	}
	if o.given, o.value = true, nil; text == serversOwn {
		return nil
	}
	n, err := strconv.Atoi(text)
	if err != nil {
		return usage("%q is not a whole number, nor %q", text, serversOwn)
	}
	o.value = &n
	return nil
}

// clientFlags are what a client is added with and what can be changed of it.
type clientFlags struct {
	RedirectURIs           words    `name:"redirect-uris" placeholder:"\"URI …\"" help:"Where a browser is sent back to with a code; compared to the letter. Lists: the flag again, or one value separated by spaces."`
	PostLogoutRedirectURIs words    `name:"post-logout-redirect-uris" placeholder:"\"URI …\"" help:"Where a browser is sent back to after a log-out."`
	Origins                words    `placeholder:"\"ORIGIN …\"" help:"Web origins whose pages may call Curfew, like https://app.example."`
	Resources              words    `placeholder:"\"URI …\"" help:"What it may ask tokens for (RFC 8707)."`
	PKCE                   *string  `name:"pkce" placeholder:"required|optional" help:"Whether codes need a PKCE challenge; optional is for confidential clients."`
	AccessTTL              ownSpan  `name:"access-ttl" placeholder:"5m" help:"How long its access tokens live; \"default\": as the server's. So with the next four."`
	RefreshTTL             ownSpan  `name:"refresh-ttl" placeholder:"720h" help:"How long its devices may stay unused."`
	DeviceMaxAge           ownSpan  `name:"device-max-age" placeholder:"2160h" help:"How long after its sign-in a device ends in any case; 0s: never."`
	MaxDevices             ownCount `name:"max-devices" placeholder:"10" help:"How many of its devices a user has; the longest unseen goes."`
	LostAnswer             ownSpan  `name:"lost-answer" placeholder:"10m" help:"How long a refresh whose answer was lost may be tried again."`
	BackchannelLogoutURI   *string  `name:"backchannel-logout-uri" placeholder:"URI" help:"Where it is told of sign-outs."`
}

// client is a new client with what the flags say.
func (f *clientFlags) client(c models.NewClient) models.NewClient {
	c.RedirectURIs, c.PostLogoutRedirectURIs, c.Origins = f.RedirectURIs, f.PostLogoutRedirectURIs, f.Origins
	c.Resources, c.MaxDevices, c.LostAnswer = f.Resources, f.MaxDevices.value, f.LostAnswer.value
	c.AccessTTL, c.RefreshTTL, c.DeviceMaxAge = f.AccessTTL.value, f.RefreshTTL.value, f.DeviceMaxAge.value
	if f.PKCE != nil {
		c.PKCE = *f.PKCE
	}
	if f.BackchannelLogoutURI != nil {
		c.BackchannelLogoutURI = *f.BackchannelLogoutURI
	}
	return c
}

// patch is what the flags change of a client: what was not given stays.
func (f *clientFlags) patch() models.ClientPatch {
	return models.ClientPatch{
		RedirectURIs: f.RedirectURIs.change(), PostLogoutRedirectURIs: f.PostLogoutRedirectURIs.change(),
		Origins: f.Origins.change(), Resources: f.Resources.change(), PKCE: f.PKCE,
		AccessTTL: f.AccessTTL.change(), RefreshTTL: f.RefreshTTL.change(), DeviceMaxAge: f.DeviceMaxAge.change(),
		MaxDevices: f.MaxDevices.change(), LostAnswer: f.LostAnswer.change(),
		BackchannelLogoutURI: f.BackchannelLogoutURI,
	}
}
