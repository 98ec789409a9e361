package view

import (
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/mileusna/useragent"

	"curfew/models"
)

// Platform is what a person would call the thing behind a user agent: "Firefox on Linux". It is fit to be a device's
// name, whatever the user agent is.
func Platform(userAgent string) string {
	name := strings.TrimSpace(strings.Map(func(r rune) rune {
		if r == utf8.RuneError || !unicode.IsPrint(r) {
			return -1
		}
		return r
	}, platform(userAgent)))
	if utf8.RuneCountInString(name) > models.MaxName {
		name = strings.TrimSpace(string([]rune(name)[:models.MaxName]))
	}
	if name == "" {
		return "Unknown device"
	}
	return name
}

func platform(userAgent string) string {
	ua := useragent.Parse(userAgent)
	name, on := ua.Name, ua.OS
	switch {
	case on == useragent.Android && ua.Device != "" && ua.Device != "K": // Chrome says K for every phone
		on = ua.Device
	case on == useragent.IOS && ua.Device != "":
		on = ua.Device
	}
	switch {
	case name == "":
		return on
	case on == "":
		// A program's own name, like curl or okhttp: as far as its version.
		name, _, _ = strings.Cut(name, "/")
		return name
	}
	return name + " on " + on
}
