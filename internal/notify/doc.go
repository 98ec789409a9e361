// Package notify tells outside apps what happened: clients with a back-channel logout URI by logout tokens (OpenID
// Connect Back-Channel Logout 1.0), webhooks by signed messages (Standard Webhooks).
//
// A [Notifier] follows the two logs of package models from each receiver's position; nothing is written for a notice,
// and nothing here is on the way of a sign-out or a refresh. Each receiver has a goroutine of its own on one node, so
// that one that hangs delays nobody; others take it over when its node is silent. The position is written after the
// answer: what ends in between is told twice, never not.
//
// A [Client] makes the requests. It reaches what an admin registered and nothing of this machine, however that is
// spelled, because it looks at the address at the moment of dialling; see docs/security.md.
package notify
