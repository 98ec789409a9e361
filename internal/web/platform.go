package web

import (
	"strings"

	"github.com/mileusna/useragent"
)

// Platform is what a person would call the thing behind a user agent: "Firefox on Linux".
func Platform(userAgent string) string {
	ua := useragent.Parse(userAgent)
	name, on := ua.Name, ua.OS
	switch {
	case on == useragent.Android && ua.Device != "" && ua.Device != "K": // Chrome says K for every phone
		on = ua.Device
	case on == useragent.IOS && ua.Device != "":
		on = ua.Device
	}
	switch {
	case name == "" && on == "":
		return "Unknown device"
	case name == "":
		return on
	case on == "":
		// A program's own name, like curl or okhttp: as far as its version.
		name, _, _ = strings.Cut(name, "/")
		return name
	}
	return name + " on " + on
}
