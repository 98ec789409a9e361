// Package revlog is a node's copy of the revocation log: one goroutine reads the log, anybody reads the copy.
//
// [Follow] starts a [Log]; [Log.Close] ends it. A reader is whoever remembers a sequence number: it asks [Log.After]
// for what came later, uses that, and waits for the channel it got until there is more. So a reader holds no queue,
// delays nobody, and a second one costs nothing. [Log.CatchUp] is for who must not miss a sign-out that was
// acknowledged before it asked, and [Log.Now] says whether the copy is fresh enough to claim that nothing is missing.
//
// The copy has the events that still matter: those that end tokens which have not expired.
package revlog
