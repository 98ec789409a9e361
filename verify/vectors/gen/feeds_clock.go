package main

import "strconv"

func number(n int64) string { return strconv.FormatInt(n, 10) }

// freshness: how old the knowledge is, and what is done with a token then.
func freshness() []*transcript {
	old := issued(-60)
	all := []*transcript{
		feed("contact-reject", "before the first heartbeat nothing is known").ask("stale", old).open().ask("stale",
			old).at(1).raw(": comment\n\n").ask("stale", old).
			at(2).beat().ask("ok", old),
		feed("contact-accept", "before the first heartbeat, by an owner who accepts").stale("accept").ask("ok", old).
			open().ask("ok", old),
		feed("contact-introspect", "before the first heartbeat, introspection says").stale("introspect").
			introspect("active", "ok", old).introspect("inactive", "revoked", old).
			introspect("down", "unavailable", old).open().introspect("active", "ok", old).introspect("inactive",
			"revoked", old).introspect("down", "unavailable", old),
		feed("contact-event", "an event counts at once, before any heartbeat").stale("accept").open().at(1).
			revoke("user", user).ask("revoked", old).ask("ok", issued(2)),
		feed("contact-event-reject", "an event before any heartbeat: the dead are dead, the rest is not known").
			open().at(1).revoke("user", user).ask("revoked", old).ask("stale", issued(2)),
		feed("fresh", "fresh knowledge: introspection is not asked").stale("introspect").open().at(1).beat().
			introspect("down", "ok", old).introspect("inactive", "ok", old).
			at(2).revoke("user", user).introspect("active", "revoked", old),
		feed("bound", "the age counts from the request, since nobody knows when the first heartbeat was made").open().
			at(3).beat().cut().at(29.999).ask("ok", old).at(30).ask("ok", old).
			at(30.001).ask("stale", old),
		feed("bound-later-heartbeat", "and on by the times of the heartbeats").open().at(1).beat().at(11).beat().
			cut().at(40).ask("ok", old).at(40.001).ask("stale", old),
		feed("bound-silence", "heartbeats stop; comments are no sign of freshness").open().at(1).beat().at(10).
			raw(":\n\n").at(20).raw(":\n\n").at(29).raw(": here\n\n").ask("ok", old).
			at(31).ask("stale", old).raw(":\n\n").ask("stale", old).beat().closed(false).ask("ok", old),
		feed("bound-events-no-sign", "events are no sign of freshness").open().at(1).beat().at(15).revoke("client",
			"tv").at(30).revoke("client", "tv").at(31).ask("stale", old),
		feed("bound-short", "another bound").bound(3).open().at(0.5).beat().cut().at(3).ask("ok", old).at(3.01).
			ask("stale", old),
		feed("bound-long", "another bound").bound(600).open().at(1).beat().cut().at(600).ask("ok", old).at(601).
			ask("stale", old),
		feed("stale-accept", "stale, by an owner who accepts: the dead stay dead").stale("accept").open().at(1).
			beat().at(2).revoke("device", device).cut().
			at(100).ask("revoked", old).ask("ok", of(old, device2, user, client)),
		feed("stale-introspect", "stale, with introspection: the dead stay dead, whatever it says").
			stale("introspect").open().at(1).beat().at(2).revoke("device", device).cut().at(100).
			introspect("active", "revoked", old).introspect("down", "revoked", old).introspect("active", "ok",
			of(old, device2, user, client)).
			introspect("inactive", "revoked", of(old, device2, user, client)).introspect("down", "unavailable",
			of(old, device2, user, client)),
		feed("stale-reject", "stale, by an owner who rejects: the dead are dead, the rest is not known").open().at(1).
			beat().at(2).revoke("device", device).cut().
			at(100).ask("revoked", old).ask("stale", of(old, device2, user, client)).introspect("active", "stale",
			of(old, device2, user, client)),
		feed("stale-expired", "expiry comes before staleness").stale("introspect").open().at(1).beat().cut().at(400).
			introspect("active", "expired", old.set("exp", number(now+399))).introspect("active", "not_yet_valid",
			issued(412)).introspect("active", "ok", issued(410)),
		feed("stale-remembered", "an answer of introspection is not remembered").stale("introspect").
			introspect("inactive", "revoked", old).introspect("active", "ok", old).
			introspect("inactive", "revoked", old).introspect("down", "unavailable", old),
	}
	steady := feed("steady", "an hour of heartbeats: never stale").open()
	for at := 1.0; at < 3600; at += 15 {
		steady.at(at).beat()
	}
	return append(all, steady.closed(false).at(3610).ask("expired", old).ask("ok", issued(0).set("exp",
		number(now+7200))))
}

// clocks: heartbeats that are held up, and clocks that are set.
func clocks() []*transcript {
	old := issued(-60)
	begin := func(id, comment string) *transcript { return feed(id, comment).open().beat() }
	all := []*transcript{
		begin("late-held-up", "a heartbeat that was held up for a minute is a minute old when it comes").at(15).
			raw(":\n\n").at(30).raw(":\n\n").at(45).raw(":\n\n").at(60).raw(":\n\n").
			at(65).beatOf(5).closed(true).ask("stale", old).at(66).open().beat().ask("ok", old),
		begin("late-tolerated", "five seconds late is tolerated").at(10).beatOf(5).closed(false).at(35).ask("ok",
			old).at(35.001).ask("stale", old),
		begin("late-not-tolerated", "more than five seconds is not: a new stream is asked for. The heartbeat "+
			"counts, as old as it is").at(10.01).beatOf(5).closed(true).
			at(35).ask("ok", old).at(35.01).ask("stale", old),
		begin("late-short-bound", "with a short bound less is tolerated, but at least a second").bound(3).at(2).
			beatOf(1).closed(false).at(4).ask("ok", old).at(4.01).ask("stale", old),
		begin("late-short-bound-2", "with a short bound less is tolerated, but at least a second").bound(3).at(2.1).
			beatOf(1).closed(true),
		begin("late-middle-bound", "a third of the bound").bound(9).at(5).beatOf(2).closed(false),
		begin("late-middle-bound-2", "a third of the bound").bound(9).at(5.1).beatOf(2).closed(true),
		feed("late-first", "the first heartbeat came long after the request: it may be as old as that").open().at(4).
			beatOf(4).closed(false).at(15).ask("ok", old).
			at(19).raw(":\n\n").at(30).ask("ok", old).at(31).ask("stale", old),
		feed("late-long-past", "a stream that needs long for the past is followed by one that does not").open().
			at(10).revoke("client", "tv").at(20).revoke("client", "tv").
			at(30).beat().closed(true).at(31).open().beat().closed(false).at(60).ask("ok", old).at(62).ask("stale",
			old),
		begin("early-tolerated", "a server whose clock is a little fast makes nothing younger than now").at(10).
			beatOf(12).closed(false).at(20).beatOf(22).closed(false).cut().
			at(50).ask("ok", old).at(50.01).ask("stale", old),
		begin("early-jump", "the server's clock jumps ahead within a stream: only a new request can say what "+
			"time it is").at(10).beatOf(3610).closed(true).
			at(30).ask("ok", old).at(31).ask("stale", old),
		begin("early-jump-new-stream", "and the new stream is believed").at(10).beatOf(3610).closed(true).at(11).
			open().beatOf(3611).closed(false).ask("expired", old).
			ask("ok", issued(3600)).at(41).ask("ok", issued(3600)).at(42).ask("stale", issued(3600)),
		begin("server-set-back", "the server's clock is set back within a stream: that looks like heartbeats "+
			"that come late").at(10).beatOf(-3590).closed(true).ask("stale", old).
			at(11).open().beatOf(-3589).closed(false).ask("not_yet_valid", issued(0)).ask("ok", issued(-3600)),
		begin("judged-by-the-server", "tokens are judged by the server's clock").at(1).cut().at(2).open().beatOf(122).
			ask("expired", old.set("exp", number(now+122))).ask("ok", old.set("exp", number(now+123))).ask("ok",
			issued(132)).ask("not_yet_valid", issued(133)).
			cut().at(12).ask("expired", old.set("exp", number(now+132))).ask("ok", old.set("exp", number(now+133))),
		begin("judged-by-the-server-behind", "a server that is two minutes behind").at(2).cut().at(3).open().
			beatOf(-117).
			ask("ok", issued(-107)).ask("not_yet_valid", issued(-106)).ask("ok", issued(-200).set("exp",
			number(now-116))).ask("expired", issued(-200).set("exp", number(now-117))),
		feed("judged-before-contact", "before the first heartbeat by this machine's clock").stale("accept").ask("ok",
			old.set("exp", number(now+1))).at(1).ask("expired", old.set("exp", number(now+1))).
			setClock(60).ask("expired", old.set("exp", number(now+61))).ask("ok", old.set("exp", number(now+62))),
		begin("own-set-ahead", "this machine's clock is set an hour ahead, or it slept for an hour: the "+
			"knowledge is as old as that, until a new stream").at(2).setClock(3600).
			ask("stale", issued(3500)).at(3).open().beat().closed(false).ask("ok", old).at(33).ask("ok", old).
			at(33.5).ask("stale", old),
		begin("own-set-ahead-heartbeat", "a heartbeat that waited in a buffer meanwhile is late").at(2).
			setClock(3600).at(3).beatOf(2.5).closed(true).ask("stale", issued(3500)),
		begin("own-set-back", "this machine's clock is set back an hour: what is known becomes no younger").at(2).
			setClock(-3600).at(30).ask("ok", old).at(30.01).ask("stale", old),
		begin("own-set-back-heartbeat", "and the stream's heartbeats are not believed any more").at(2).
			setClock(-3600).at(3).beat().closed(true).at(30).ask("ok", old).at(31).ask("stale", old).
			open().beat().closed(false).ask("ok", old),
		begin("own-set-back-judged", "tokens go on being judged by the server's clock").at(2).setClock(-3600).at(10).
			ask("ok", issued(10)).ask("ok", old.set("exp", number(now+11))).
			ask("expired", old.set("exp", number(now+10))),
	}
	drift := begin("early-steady", "a server's clock that is brought forward in small steps: the stream stays, "+
		"and nothing becomes younger than it is")
	for n := 1.0; n <= 8; n++ {
		drift.at(10 * n).beatOf(12 * n)
	}
	return append(all, drift.closed(false).cut().at(110).ask("ok", old).at(110.01).ask("stale", old),
		begin("late-shortest-bound", "with the shortest bound a second is tolerated all the same").bound(1).at(1.9).
			beatOf(1).closed(false),
	)
}
