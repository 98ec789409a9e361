package main

// levels: the one rule.
func levels() []*transcript {
	old := issued(-60)
	begin := func(id, comment string) *transcript { return feed(id, comment).open().at(1).beat().ask("ok", old) }
	all := []*transcript{
		begin("level-device", "a device is signed out: its tokens die, nobody else's").at(2).revoke("device", device).
			ask("revoked", old).ask("ok", of(old, device2, user, client)).ask("ok", own(-60, "api")),
		begin("level-user", "a user is signed out: tokens of all of the devices die, of other users' none").at(2).
			revoke("user", user).
			ask("revoked", old).ask("revoked", of(old, device2, user, client)).ask("ok", of(old, device2, user2,
			client)).ask("ok", own(-60, "api")),
		begin("level-client", "a client is signed out: tokens of all who use it die, and its own").at(2).
			revoke("client", client).
			ask("revoked", old).ask("revoked", of(old, device2, user2, client)).ask("revoked", own(-60, client)).
			ask("ok", of(old, device, user, "tv")),
		begin("level-everyone", "everyone is signed out, clients with tokens of their own too").at(2).
			revoke("everyone", "null").
			ask("revoked", old).ask("revoked", of(old, device2, user2, "tv")).ask("revoked", own(-60, "api")).
			ask("ok", issued(3)),
		begin("level-unknown", "a level that nobody knows ends nothing, and the stream goes on").at(2).
			revoke("planet", "earth").
			closed(false).ask("ok", old).applied(10),
		begin("level-case", "levels have a case").at(2).revoke("Device", device).revoke("EVERYONE", "null").ask("ok",
			old),
		begin("level-of-another", "an id counts at its own level only").at(2).
			revoke("device", user).revoke("user", device).revoke("client", user).revoke("user", client).
			revoke("device", client).revoke("client", device).ask("ok", old),
		begin("level-everyone-with-subject", "everyone is everyone, whatever the subject says").at(2).
			revoke("everyone", user2).ask("revoked", old),
		begin("level-device-named-like-its-user", "a device whose id is its user's too").at(2).revoke("device", user).
			ask("revoked", of(old, user, user, client)).ask("ok", old),
		begin("level-own-token-of-user-level", "a token without a device has a sub all the same").at(2).
			revoke("user", "api").
			ask("revoked", own(-60, "api")).ask("ok", old),
	}
	for _, l := range [][2]string{{"device", device}, {"user", user}, {"client", client}, {"everyone", "null"}} {
		at := micros(-5)
		all = append(all, begin("border-"+l[0],
			"the issue time must be above valid_from: a microsecond more is enough").at(2).
			event(10, l[0], l[1], at, micros(295)).
			ask("revoked", issued(-5)).ask("revoked", stamped(at-1)).ask("revoked", stamped(at)).ask("ok",
			stamped(at+1)).ask("ok", issued(2)))
	}
	return append(all, rest()...)
}

// rest: forms of ids, and events that come twice, in another order, or merged.
func rest() []*transcript {
	old := issued(-60)
	begin := func(id, comment string) *transcript { return feed(id, comment).open().at(1).beat().ask("ok", old) }
	var all []*transcript
	same := begin("border-seconds", "the whole-second iat does not matter, only iat_us").at(2)
	all = append(all, same.event(10, "user", user, micros(1)+500_000, micros(300)).ask("revoked",
		stamped(micros(1)+499_999)).ask("ok", stamped(micros(1)+500_001)))
	all = append(all,
		begin("border-future", "valid_from may lie ahead of the clock").at(2).event(10, "user", user, micros(3),
			micros(303)).
			ask("revoked", issued(2)).ask("ok", stamped(micros(3)+1)),
		begin("forms-of-ids", "ids that are no UUIDs, and two that differ in case").at(2).revoke("device", "tv").
			revoke("user", "anna").
			ask("ok", old).ask("revoked", of(old, "tv", user, client)).ask("revoked", of(old, device2, "anna",
			client)).ask("ok", of(old, "TV", "Anna", client)),
		begin("forms-of-uuids", "a UUID in upper case is another id").at(2).revoke("device",
			"0197A1B2-0001-7000-8000-00000000000A").
			ask("ok", of(old, "0197a1b2-0001-7000-8000-00000000000a", user, client)).ask("revoked", of(old,
			"0197A1B2-0001-7000-8000-00000000000A", user, client)),
		begin("forms-of-uuids-2", "nearly a UUID is another id").at(2).revoke("user",
			"0197a1b2-0000-7000-8000----000000001").
			ask("ok", old).ask("revoked", of(old, device, "0197a1b2-0000-7000-8000----000000001", client)),
		begin("forms-names", "names that objects of JavaScript have are ids like others").at(2).ask("ok", of(old,
			device, "constructor", "__proto__")).
			revoke("client", "__proto__").revoke("user", "constructor").ask("ok", old).ask("revoked", of(old, device,
			user, "__proto__")).ask("revoked", of(old, device, "constructor", client)),
		begin("forms-unicode", "an id outside ASCII").at(2).revoke("client", "bücher").ask("revoked", of(old, device,
			user, "bücher")).ask("ok", of(old, device, user, "bucher")),
		begin("duplicates", "an event twice changes nothing").at(2).revoke("device", device).event(10, "device",
			device, micros(2), micros(302)).
			ask("revoked", old).ask("ok", issued(3)).applied(10).entries(1),
		begin("older-after-newer", "an older event takes nothing back, and the position does not go back either").at(2).
			event(20, "user", user, micros(2), micros(302)).event(10, "user", user, micros(-30), micros(270)).
			ask("revoked", issued(1)).ask("ok", issued(3)).applied(20).entries(1),
		begin("older-everyone", "the same for everyone").at(2).event(20, "everyone", "null", micros(2), micros(302)).
			event(30, "everyone", "null", micros(-30), micros(270)).
			ask("revoked", issued(1)).ask("ok", issued(3)).applied(30),
		begin("older-client", "the same for a client").at(2).event(20, "client", client, micros(2), micros(302)).
			event(30, "client", client, micros(-30), micros(270)).
			ask("revoked", issued(1)).ask("ok", issued(3)),
		begin("merged", "events of one subject come merged into the newest: numbers have gaps").at(2).event(1000,
			"user", user, micros(2), micros(302)).
			ask("revoked", issued(1)).ask("ok", issued(3)).at(5).event(99_999, "user", user, micros(4), micros(304)).
			ask("revoked", issued(3)).ask("ok", issued(5)).applied(99_999).entries(1),
		begin("all-levels", "whichever level is the newest counts").at(2).event(10, "device", device, micros(-50),
			micros(250)).event(20, "user", user, micros(-40), micros(260)).
			event(30, "client", client, micros(-30), micros(270)).event(40, "everyone", "null", micros(-20),
			micros(280)).
			ask("revoked", issued(-45)).ask("revoked", issued(-35)).ask("revoked", issued(-25)).ask("revoked",
			issued(-20)).ask("ok", issued(-19)).entries(4),
		begin("seen-before", "what was accepted a moment ago is refused after the event, and another token of "+
			"the same user's lives").
			ask("ok", old).at(2).revoke("device", device).ask("revoked", old).ask("revoked", old).ask("ok", of(old,
			device2, user, client)),
		begin("valid-from-zero", "a valid_from that lies at or before 1970 ends nothing").at(2).event(10, "everyone",
			"null", 0, micros(300)).
			event(20, "everyone", "null", -5, micros(300)).event(20, "user", user, 0, micros(300)).closed(false).
			ask("ok", old).applied(20).entries(0),
	)
	return all
}

// stamped is a token with an issue time in microseconds.
func stamped(us int64) object { return issued(0).set("iat_us", number(us)) }

// expiry: an entry is forgotten when its tokens have expired by both clocks.
func expiry() []*transcript {
	long := issued(-4000).set("exp", number(now+1_000_000))
	begin := func(id, comment string) *transcript { return feed(id, comment).stale("accept").open().at(1).beat() }
	all := []*transcript{
		begin("expiry-forgets", "what ends no token any more is forgotten").at(2).revoke("device", device).
			revoke("user", user).revoke("client", client).revoke("everyone", "null").
			entries(4).cut().at(301).entries(4).ask("revoked", long).at(330).entries(0),
		begin("expiry-keeps-the-rest", "the others stay").at(2).event(10, "client", "tv", micros(2), micros(100)).
			event(20, "client", client, micros(2), micros(900)).
			cut().at(130).entries(1).ask("revoked", long),
		begin("expiry-renewed", "a newer event of the subject is kept for as long as itself").at(2).event(10, "user",
			user, micros(2), micros(100)).at(3).
			event(20, "user", user, micros(3), micros(500)).cut().at(130).entries(1).ask("revoked", long).at(530).
			entries(0),
		begin("expiry-older-last", "an older event makes no life shorter").at(2).event(20, "user", user, micros(2),
			micros(500)).event(10, "user", user, micros(-50), micros(100)).
			cut().at(130).entries(1).ask("revoked", long),
		begin("expiry-missing", "an event without expires_at is never forgotten").at(2).
			step(step{Event: "revocation", Data: []byte(`{"seq":10,"level":"user","subject":"` + user +
				`","valid_from":` + number(micros(2)) + `}`)}).
			cut().at(900_000).entries(1).ask("revoked", long),
		begin("expiry-server-clock-ahead",
			"the server's clock jumps a day ahead: nothing is forgotten before its time has passed here too").at(2).
			revoke("user", user).cut(),
		begin("expiry-server-clock-back",
			"the server's clock is set back an hour: nothing is forgotten before it is over there too").at(2).
			revoke("user", user).cut(),
		begin("expiry-own-clock-ahead", "this machine's clock is set a day ahead: nothing is forgotten for it").at(2).
			revoke("user", user).cut().
			at(3).setClock(86_400).entries(1).ask("revoked", long),
	}
	older := func(id, comment string) *transcript {
		t := begin(id, comment).at(2).event(20, "user", user, micros(2), micros(500)).event(10, "user", user,
			micros(-50), micros(100))
		return t.cut().at(3)
	}
	olderAhead := older("expiry-older-last-clock-ahead", "nor where the server's clock jumps a day ahead")
	olderAhead.skew = 86_400
	all = append(all, olderAhead.open().beat().cut().at(300).entries(1).ask("revoked", long).at(530).entries(0))
	olderBack := older("expiry-older-last-clock-back", "nor where it is set back five minutes")
	olderBack.skew = -300
	all = append(all, olderBack.open().beat().cut().at(600).entries(1).ask("revoked", long).at(830).entries(0))
	ahead, back := all[5], all[6]
	ahead.skew = 86_400
	ahead.at(4).open().beat().entries(1).ask("revoked", long).cut().at(200).entries(1).ask("revoked", long).at(340).
		entries(0)
	back.skew = -3600
	back.at(4).open().beat().cut().at(340).entries(1).ask("revoked", long).at(3900).entries(1).ask("revoked", long).
		at(3950).entries(0)
	return all
}
