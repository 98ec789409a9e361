package models

import "slices"

// The built-in clients: their devices are the browsers that are signed in to our own pages. They are rows that the
// migration makes, so that the one rule needs no exception; nobody changes, deletes or authenticates as one.
const (
	ClientBrowser = "curfew"         // the sign-in page, and the user's own pages
	ClientConsole = "curfew-console" // the admin's pages
)

func builtIn(id string) bool { return slices.Contains([]string{ClientBrowser, ClientConsole}, id) }

func errBuiltIn(id string) error { return invalid("the client %q is built in: it stays as it is", id) }
