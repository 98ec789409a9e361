package main

import (
	"fmt"
	"strings"
)

// streams: they end, and are opened again.
func streams() []*transcript {
	old := issued(-60)
	return []*transcript{
		feed("resume", "after a cut the next request resumes after what was applied; until its first heartbeat "+
			"the knowledge ages on").applied(0).open().at(1).revoke("client", "tv").beat().applied(10).
			at(5).cut().at(20).ask("ok", old).at(31).ask("stale", old).at(32).applied(10).open().ask("stale", old).
			at(33).revoke("user", user).applied(20).ask("revoked", old).
			ask("stale", issued(34)).beat().ask("ok", issued(34)).ask("revoked", old),
		feed("resume-missed", "what happened meanwhile is told by the next stream").stale("accept").open().at(1).
			beat().cut().at(5).ask("ok", old).at(6).open().event(10, "user", user, micros(3), micros(303)).
			beat().ask("revoked", old).ask("ok", issued(4)),
		feed("resume-doubled", "the next stream begins again from the beginning").open().at(1).revoke("device",
			device).revoke("user", user2).beat().cut().
			at(2).open().event(10, "device", device, micros(1), micros(301)).event(20, "user", user2, micros(1),
			micros(301)).beat().applied(20).entries(2).ask("revoked", old).
			ask("ok", of(old, device2, user, client)).ask("revoked", of(old, device2, user2, client)),
		feed("heartbeat-moves-position", "a heartbeat's seq is the position: numbers have gaps").open().at(1).
			step(step{Event: "heartbeat", Data: []byte(`{"seq":77,"time":` + number(micros(1)) + `}`)}).applied(77),
		feed("restored-backup", "a heartbeat with a lower seq: the log became shorter. The position follows, "+
			"what is known stays known").open().at(1).event(100, "user", user, micros(1), micros(301)).
			step(step{Event: "heartbeat", Data: []byte(`{"seq":100,"time":` + number(micros(1)) + `}`)}).applied(100).
			at(2).cut().at(3).open().
			step(step{Event: "heartbeat", Data: []byte(`{"seq":40,"time":` + number(micros(3)) + `}`)}).applied(40).
			closed(false).ask("revoked", old).entries(1),
		feed("cut-within-event", "half an event is none; the next stream begins afresh").open().at(1).beat().at(2).
			raw("event: revocation\ndata: "+eventJSON(10, "user", user, micros(2), micros(302))+"\n").
			cut().ask("ok", old).at(3).open().raw("\n").beat().ask("ok", old).applied(0),
		feed("cut-within-line", "half a line is none").open().at(1).beat().at(2).
			raw("event: revocation\ndata: {\"seq\":10,").cut().at(3).open().
			raw("\"level\":\"user\"}\n\n").beat().closed(false).ask("ok", old),
		feed("close-expired", "the server ends the stream; what is known stays").open().at(1).revoke("device",
			device).beat().
			step(step{Event: "close", Data: []byte(`{"reason":"token_expired"}`)}).closed(true).ask("revoked", old).
			ask("ok", of(old, device2, user, client)),
		feed("close-revoked", "an event that ends the follower's own token comes before the end").open().at(1).beat().
			revoke("everyone", "null").
			step(step{Event: "close", Data: []byte(`{"reason":"token_revoked"}`)}).closed(true).ask("revoked", old).
			ask("ok", issued(2)),
		feed("close-shutdown", "the server shuts down").open().at(1).beat().step(step{
			Event: "close",
			Data:  []byte(`{"reason":"shutting_down"}`),
		}).closed(true).ask("ok", old).
			at(2).open().beat().closed(false),
		feed("close-new", "a reason that nobody knows").open().at(1).beat().step(step{
			Event: "close",
			Data:  []byte(`{"reason":"x","y":[1]}`),
		}).closed(true),
	}
}

// wire: an event stream in the forms that the HTML standard has, section 9.2.6.
func wire() []*transcript {
	old := issued(-60)
	event := eventJSON(10, "user", user, micros(1), micros(301))
	beat := fmt.Sprintf(`{"seq":10,"time":%d}`, micros(1))
	whole := "event: revocation\ndata: " + event + "\n\nevent: heartbeat\ndata: " + beat + "\n\n"
	read := func(id, comment string, chunks ...string) *transcript {
		t := feed("wire-"+id, comment).open().at(1)
		for _, c := range chunks {
			t.raw(c)
		}
		return t.closed(false).applied(10).ask("revoked", old).ask("ok", issued(2))
	}
	with := func(end string) string { return strings.ReplaceAll(whole, "\n", end) }
	each := func(text string) (all []string) {
		for _, b := range []byte(text) {
			all = append(all, string(rune(b)))
		}
		return all
	}
	half := len(whole) / 2
	all := []*transcript{
		read("lf", "lines that end with LF", whole),
		read("crlf", "lines that end with CR LF", with("\r\n")),
		read("cr", "lines that end with CR", with("\r")),
		read("mixed", "all three in one event",
			"event: revocation\r\ndata: "+event+"\r\nid: 10\n\revent: heartbeat\rdata: "+beat+"\n\r\n"),
		read("bom", "a byte order mark at the beginning", "\ufeff"+whole),
		read("no-space", "no space after the colons", strings.ReplaceAll(strings.ReplaceAll(whole, "event: ",
			"event:"), "data: ", "data:")),
		read("comments", "comments, and fields that nobody knows",
			": hello\n:\nfoo: bar\nfoo\n"+strings.ReplaceAll(whole, "data: ",
				"id: 9\nretry: 100\n: between\nData: x\ndata: ")),
		read("data-lines", "data on several lines, which are joined by LF", strings.ReplaceAll(whole, `,"`,
			",\ndata: \"")),
		read("data-before-event", "the order of fields is free",
			"data: "+event+"\nevent: revocation\n\ndata: "+beat+"\nevent: heartbeat\n\n"),
		read("event-twice", "the last event field counts", "event: x\n"+strings.ReplaceAll(whole, "event: heartbeat",
			"event: revocation\nevent: heartbeat")),
		read("blank-lines", "blank lines between events", "\n\n\n"+strings.ReplaceAll(whole, "\n\n", "\n\n\n\n\n")),
		read("retry", "retry alone, with and without a number", "retry: 100\n\nretry: x\n\nretry\n\n"+whole),
		read("without-data", "an event without data is none", "event: close\n\nevent: revocation\n\nevent\n\n"+whole),
		read("kinds", "kinds that nobody knows, and none",
			"event: x\ndata: {\n\ndata: y\n\nevent: Heartbeat\ndata: z\n\nevent: heartbeat \ndata: "+
				"z\n\ndata\n\ndata:\n\n"+whole),
		read("kind-reset", "a blank line ends the kind too", "event: close\n\ndata: {\"reason\":\"x\"}\n\n"+whole),
		read("id-only", "an id alone is no event", "id: 99\n\n"+whole),
		read("value-with-colon", "a value goes on after its second colon", "x: a: b:: c\n"+whole),
		read("unknown-members", "members that nobody knows", strings.ReplaceAll(whole, `{"seq"`,
			`{"x":[{"y":null}],"seq"`)),
		read("white-space", "white space of JSON", strings.ReplaceAll(whole, `{"seq":10,`, "{ \"seq\"\t: 10 ,  ")),
		read("split-lf", "byte by byte", each(whole)...),
		read("split-crlf", "byte by byte, CR and LF apart", each(with("\r\n"))...),
		read("split-cr", "byte by byte", each(with("\r"))...),
		read("split-half", "in the middle of a line", whole[:half], whole[half:]),
		read("split-after-cr", "a chunk ends with the CR of CR LF: the line is complete, and the LF is no line "+
			"of its own", "event: revocation\r", "\ndata: "+event+"\r", "\n\r", "\nevent: heartbeat\r\ndata: "+beat+"\r\n\r", "\n"),
		read("at-once-cr", "the CR that ends an event ends it at once, though an LF might follow",
			strings.TrimSuffix(with("\r\n"), "\n")),
		feed("wire-bom-split", "a byte order mark in three chunks").open().at(1).bytes([]byte{0xef}, 0).
			bytes([]byte{0xbb}, 0).bytes([]byte{0xbf}, 0).raw(whole).applied(10).ask("revoked", old),
		feed("wire-bom-twice", "a second byte order mark is part of the line").open().at(1).raw("\ufeff\ufeff"+whole).
			applied(10).ask("ok", old),
		feed("wire-bom-later", "a byte order mark further on is part of the line").open().at(1).raw("\n\ufeff"+whole).
			applied(10).ask("ok", old),
		feed("wire-bom-each-stream", "each stream may begin with one").open().at(1).raw("\ufeff").cut().at(2).open().
			raw("\ufeff"+whole).ask("revoked", old),
	}
	wide := "event: revocation\ndata: " + eventJSON(10, "client", "bücher", micros(1), micros(301)) + "\n\n"
	cut := strings.IndexByte(wide, 0xc3) + 1
	return append(all, feed("wire-split-character", "a chunk ends within a character").open().at(1).beat().
		bytes([]byte(wide[:cut]), 0).bytes([]byte(wide[cut:]), 0).
		ask("revoked", of(old, device, user, "bücher")).ask("ok", old))
}

// garbage: what cannot be read ends the stream, and vouches for nothing.
func garbage() []*transcript {
	old := issued(-60)
	var all []*transcript
	bad := func(id, comment, text string) {
		all = append(all, feed("garbage-"+id, comment).open().at(1).beat().at(2).raw(text).closed(true).applied(0).
			at(30).ask("ok", old).at(31).ask("stale", old).
			open().beat().closed(false).ask("ok", old))
	}
	event := func(data string) string { return "event: revocation\ndata: " + data + "\n\n" }
	beat := func(data string) string { return "event: heartbeat\ndata: " + data + "\n\n" }
	bad("event-text", "an event that is no JSON", event("x"))
	bad("event-empty", "an event with empty data", event(""))
	bad("event-cut", "an event that is cut off", event(`{"seq":10,"level":"user"`))
	bad("event-array", "an event that is no object", event(`[]`))
	bad("event-number", "a number in the place of a level",
		event(`{"seq":10,"level":7,"subject":"x","valid_from":1,"expires_at":2}`))
	bad("event-subject", "a number in the place of a subject",
		event(`{"seq":10,"level":"user","subject":7,"valid_from":1,"expires_at":2}`))
	bad("event-valid-from", "a string in the place of a number",
		event(`{"seq":10,"level":"user","subject":"x","valid_from":"1","expires_at":2}`))
	bad("event-fraction", "microseconds are whole",
		event(`{"seq":10,"level":"user","subject":"x","valid_from":1.5,"expires_at":2}`))
	bad("event-endless", "a number beyond all",
		event(`{"seq":1e99,"level":"user","subject":"x","valid_from":1,"expires_at":2}`))
	bad("heartbeat-text", "a heartbeat that is no JSON", beat("x"))
	bad("heartbeat-endless", "a heartbeat with a number beyond all", beat(`{"seq":1e99}`))
	bad("heartbeat-no-time", "a heartbeat that says not when it was made", beat(`{"seq":10}`))
	bad("heartbeat-time-negative", "a heartbeat of before 1970", beat(`{"seq":10,"time":-5}`))
	bad("heartbeat-time-zero", "a heartbeat of 1970", beat(`{"seq":10,"time":0}`))
	bad("heartbeat-time-2-53", "a heartbeat of the year 2255", beat(`{"seq":10,"time":9007199254740992}`))
	bad("heartbeat-no-seq", "a heartbeat that says not how far it goes", beat(`{"time":`+number(micros(2))+`}`))
	bad("heartbeat-seq-string", "a position that is a string", beat(`{"seq":"10","time":`+number(micros(2))+`}`))
	bad("heartbeat-time-string", "a time that is a string", beat(fmt.Sprintf(`{"seq":10,"time":"%d"}`, micros(2))))
	block := "data: " + strings.Repeat("b", 1000) + "\n"
	all = append(all,
		feed("garbage-before-contact", "a heartbeat without a time, as the first").open().at(1).
			raw(beat(`{"seq":1}`)).closed(true).ask("stale", old),
		feed("garbage-far-future", "a heartbeat of the year 2112, as the first").open().at(1).
			raw(beat(`{"seq":1,"time":4503599627370496}`)).closed(true).ask("stale", old),
		feed("garbage-portal", "a page of somebody else's in the place of the stream").open().at(1).
			raw("<!doctype html>\n\n<html>\n<p>data: sign in</p>\n\n</html>\n").closed(false).ask("stale", old),
		feed("garbage-binary", "bytes that are no text").open().at(1).beat().bytes([]byte{
			0, 0xff, 0xfe, 0x80, '\n',
			0xc0, 0x0d, 0x0a, '\n',
		}, 0).closed(false).ask("ok", old),
		feed("garbage-after-event", "what came before it counts").open().at(1).beat().at(2).revoke("user", user).
			raw(event("x")).closed(true).ask("revoked", old).applied(10),
		feed("garbage-line-too-long", "a line of more than 64 KiB ends the stream").open().at(1).beat().at(2).
			bytes([]byte(strings.Repeat("a", 1024)), 65).closed(true).ask("ok", old),
		feed("garbage-comment-too-long", "a comment too").open().at(1).beat().at(2).raw(":").
			bytes([]byte(strings.Repeat("a", 1024)), 65).closed(true),
		feed("garbage-event-too-large", "an event of more than 64 KiB ends the stream").open().at(1).beat().at(2).
			raw("event: x\n").bytes([]byte(block), 70).closed(true).ask("ok", old),
		feed("large-event", "an event of half as much does not").open().at(1).beat().at(2).raw("event: x\n").
			bytes([]byte(block), 30).raw("\n").closed(false).
			revoke("user", user).ask("revoked", old),
		feed("large-stream", "a stream may be as long as it likes").open().at(1).beat().at(2).
			bytes([]byte("event: x\n"+block+"\n"), 200).closed(false).revoke("user", user).ask("revoked", old),
	)
	return all
}
