package main

import "testing"

// sequential histories of codes, parents and children, each with the one word that makes it wrong.
func TestSpecification_Browser(t *testing.T) {
	browser := func(with, got int32) event {
		return event{operation{Action: actBrowser, RefreshID: with}, outcome{Verdict: done, RefreshID: got}}
	}
	page := func(cookie int32, v verdict) event {
		return event{operation{Action: actPage, RefreshID: cookie}, outcome{Verdict: v}}
	}
	ask := func(cookie int32, code int8) event {
		return event{operation{Action: actCode, RefreshID: cookie}, outcome{Verdict: done, Code: code}}
	}
	offline := func(e event) event {
		e.in.Offline = true
		return e
	}
	exchange := func(code int8, slot int, got int32) event {
		out := outcome{Verdict: done, RefreshID: got}
		if got == 0 {
			out = outcome{}
		}
		return event{operation{Action: actExchange, Code: code, Slot: slot}, out}
	}
	wrong := func(e event) event {
		e.in.Wrong = true
		return e
	}
	check := func(slot int, rid int32, v verdict) event {
		return event{operation{Action: actCheck, Slot: slot, RefreshID: rid}, outcome{Verdict: v}}
	}
	act := func(a action, slot int) event { return event{operation{Action: a, Slot: slot}, outcome{Verdict: done}} }
	signedIn := []event{browser(0, 1), ask(1, 1), exchange(1, 0, 5)}

	for _, tc := range []struct {
		name  string
		reuse bool
		legal bool
		steps []event
	}{
		{"a code once", true, true, append(signedIn[:3:3], check(0, 5, done), page(1, done))},
		{"a code twice", true, false, append(signedIn[:3:3], exchange(1, 1, 6))},
		{"a replay ends the device", true, true, append(signedIn[:3:3], exchange(1, 1, 0), check(0, 5, refused), page(1, done))},
		{"a replay that ends nothing", true, false, append(signedIn[:3:3], exchange(1, 1, 0), check(0, 5, done))},
		{"a replay of a sign-in that is over", true, true, append(
			signedIn[:3:3], ask(1, 2), exchange(2, 0, 6), exchange(1, 0, 0), check(0, 6, done),
		)},
		{"a wrong verifier spends nothing", true, true, []event{browser(0, 1), ask(1, 1), wrong(exchange(1, 0, 0)), exchange(1, 0, 5)}},
		{"a wrong verifier that will do", true, false, []event{browser(0, 1), ask(1, 1), wrong(exchange(1, 0, 5))}},
		{"a good code refused", true, false, []event{browser(0, 1), ask(1, 1), exchange(1, 0, 0)}},
		{"an orphan", true, false, append(signedIn[:3:3], act(actEndSession, 0), check(0, 5, done))},
		{"a child goes", true, true, append(signedIn[:3:3], act(actEndSession, 0), check(0, 5, refused), page(1, refused))},
		{"offline stays", true, true, []event{
			browser(0, 1), offline(ask(1, 1)), exchange(1, 0, 5), act(actEndSession, 0), check(0, 5, done),
			act(actSignOutUser, 0), check(0, 5, refused),
		}},
		{"a code of a session that is out", true, false, []event{browser(0, 1), ask(1, 1), act(actEndSession, 0), exchange(1, 0, 5)}},
		{"an app's end leaves the browser", true, true, append(
			signedIn[:3:3], ask(1, 2), act(actSignOutApp, 0), page(1, done), check(0, 5, refused), exchange(2, 0, 0),
		)},
		{"all but the current keeps its parent", true, true, append(signedIn[:3:3], act(actSignOutRest, 0), page(1, done), check(0, 5, done))},
		{"all but another ends both", true, true, append(signedIn[:3:3], act(actSignOutRest, 1), page(1, refused), check(0, 5, refused))},
		{"renewed", true, true, append(signedIn[:3:3], browser(1, 2), page(1, done), page(2, done), check(0, 5, done), browser(1, 2))},
		{"the cookie stays", true, false, []event{browser(0, 1), browser(1, 1)}},
		{"without its cookie it begins anew", false, true, append(
			signedIn[:3:3], browser(0, 2), page(1, refused), page(2, done), check(0, 5, refused),
		)},
		{"without its cookie it is taken over", false, false, append(signedIn[:3:3], browser(0, 2), check(0, 5, done))},
		{"an old cookie without an interval", false, false, []event{browser(0, 1), browser(1, 2), page(1, done)}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			sp, state, legal := specification{tc.reuse}, worldState{}, true
			for _, e := range tc.steps {
				var ok bool
				ok, state = sp.step(state, e.in, e.out)
				legal = legal && ok
			}
			if legal != tc.legal {
				t.Fatalf("legal %v, want %v; state at the end: %s", legal, tc.legal, describeState(state))
			}
		})
	}
}
