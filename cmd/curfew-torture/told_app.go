package main

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"
)

// An app with OpenID Connect and back-channel logout in the histories: at their end some of its devices are signed out,
// by themselves and with their user, and a logout token must come for each, with its sid, and for nothing else. None of
// its ID tokens is an access token.

const (
	toldApp     = "told-app"
	toldUser    = "told-user"
	toldDevices = 4
)

func (r *receiver) registerApp(ctx context.Context) error {
	var made struct{}
	return r.h.rig.cli(ctx, "", &made, "client", "add", toldApp, "--public", "--grants", "password,refresh_token",
		"--scopes", "settings openid", "--backchannel-logout-uri", r.server.URL+"/logout", "--json")
}

func (r *receiver) takeLogout(w http.ResponseWriter, req *http.Request) {
	var c struct {
		Sub, Sid, Aud string
	}
	parts := strings.Split(req.PostFormValue("logout_token"), ".")
	text, err := base64.RawURLEncoding.DecodeString(parts[min(1, len(parts)-1)])
	if err == nil {
		err = json.Unmarshal(text, &c)
	}
	r.mu.Lock()
	if r.holding {
		r.held++
		r.mu.Unlock()
		<-req.Context().Done()
		return
	}
	defer r.mu.Unlock()
	if err != nil || c.Aud != toldApp || c.Sub == "" {
		r.broken = append(r.broken, fmt.Sprintf("no logout token of the app: %v, %s", err, text))
	}
	if !r.refused { // the first one is not taken, and must come again
		r.refused = true
		w.WriteHeader(http.StatusServiceUnavailable)
		return
	}
	r.sessions[c.Sid]++
	w.WriteHeader(http.StatusNoContent)
}

// signOutApp says what was wrong with the ID tokens of the app's devices, and with what the app was told of their end.
func (r *receiver) signOutApp(ctx context.Context) (wrong []string) {
	h, n := r.h, r.h.rig.nodes[0]
	password := "a password for those who are told"
	user, err := h.rig.createUser(ctx, n, toldUser, password)
	if err != nil {
		return []string{err.Error()}
	}
	var devices []string
	for range toldDevices {
		t, a := h.rig.signIn(ctx, n, "198.51.100.77", toldApp, toldUser, password, "")
		if a.status != http.StatusOK || t.ID == "" {
			return []string{fmt.Sprintf("no ID token for the app: %s", a)}
		}
		devices = append(devices, t.DeviceID)
		if active, a := h.rig.introspect(ctx, n, t.ID); active || a.status != http.StatusOK {
			wrong = append(wrong, fmt.Sprintf("introspection takes an ID token for an access token: %s", a))
		}
		a = h.rig.settings(ctx, n, "198.51.100.77", http.MethodGet, "/settings/devices", t.ID, "")
		if a.status != http.StatusUnauthorized {
			wrong = append(wrong, fmt.Sprintf("the settings take an ID token for an access token: %s", a))
		}
	}
	for i, path := range []string{"/admin/devices/" + devices[1], "/admin/users/" + user + "/devices"} {
		if h.Crash && i == 1 {
			wrong = append(wrong, r.awaitApp(ctx, devices[1:2])...) // what is held is the user's
			r.hold(true)
		}
		if a := h.rig.adminDo(ctx, n, http.MethodDelete, path, nil, nil); a.status != http.StatusOK {
			return append(wrong, fmt.Sprintf("DELETE %s: %s", path, a))
		}
	}
	if h.Crash {
		wrong = append(wrong, r.crash(ctx)...)
	}
	return append(wrong, r.awaitApp(ctx, devices)...)
}

func (r *receiver) hold(yes bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.holding = yes
}

// crash kills every node while the app has been asked and has not answered, and starts them again.
func (r *receiver) crash(ctx context.Context) (wrong []string) {
	for since := time.Now(); ; time.Sleep(20 * time.Millisecond) {
		r.mu.Lock()
		held := r.held
		r.mu.Unlock()
		if held > 0 {
			break
		}
		if time.Since(since) > 60*time.Second || ctx.Err() != nil {
			return []string{"the app was not asked"}
		}
	}
	for _, n := range r.h.rig.nodes {
		n.Kill()
	}
	r.hold(false)
	for _, n := range r.h.rig.nodes {
		if err := n.Start(); err != nil {
			return []string{err.Error()}
		}
	}
	for _, n := range r.h.rig.nodes {
		if err := n.WaitReady(ctx, n.Public, 60*time.Second); err != nil {
			wrong = append(wrong, err.Error())
		}
	}
	return wrong
}

// awaitApp waits until the app was told of all devices.
func (r *receiver) awaitApp(ctx context.Context, devices []string) (wrong []string) {
	for since, last := time.Now(), -1; ; time.Sleep(20 * time.Millisecond) {
		r.mu.Lock()
		told := 0
		for sid := range r.sessions {
			if !slices.Contains(devices, sid) {
				wrong = append(wrong, fmt.Sprintf("a logout token with the sid %q, which is no device that has ended", sid))
			} else {
				told++
			}
		}
		r.mu.Unlock()
		if told == len(devices) || len(wrong) > 0 {
			return wrong
		}
		if told != last {
			last, since = told, time.Now()
		}
		if time.Since(since) > 30*time.Second || ctx.Err() != nil {
			return []string{fmt.Sprintf("the app was told of %d of %d devices that have ended", told, len(devices))}
		}
	}
}
