package main

import "testing"

// sequential histories of the specification, each with the one word that makes it wrong.
func TestSpecification(t *testing.T) {
	signIn := func(rid int32) event {
		return event{operation{Action: actSignIn}, outcome{Verdict: done, RefreshID: rid}}
	}
	refresh := func(with, got int32) event {
		out := outcome{Verdict: done, RefreshID: got}
		if got == 0 {
			out = outcome{}
		}
		return event{operation{Action: actRefresh, RefreshID: with, SignIn: 1}, out}
	}
	late := func(e event) event { // from elsewhere, when clients race themselves no more
		e.in.From, e.in.Begun, e.in.End = elsewhere, 2*raceWindow, 2*raceWindow+1
		return e
	}
	patient := func(e event) event {
		e.in.LostAnswer = true
		return e
	}
	check := func(rid int32, alive verdict) event {
		return event{operation{Action: actCheck, RefreshID: rid}, outcome{Verdict: alive}}
	}
	act := func(a action) event { return event{operation{Action: a}, outcome{Verdict: done}} }
	stranger := event{
		operation{Action: actRefresh, RefreshID: 1, SignIn: 1, Stranger: true}, outcome{Verdict: done, RefreshID: 2},
	}
	password := event{operation{Action: actPassword, Next: 1}, outcome{Verdict: done, RefreshID: 9}}

	for _, tc := range []struct {
		name  string
		reuse bool
		legal bool
		steps []event
	}{
		{"a retry gets the same successor", true, true, []event{
			signIn(1), refresh(1, 2), refresh(1, 2), check(1, done),
			check(2, done),
		}},
		{"two successors", true, false, []event{signIn(1), refresh(1, 2), refresh(1, 3)}},
		{"a grandparent is a replay", true, true, []event{
			signIn(1), refresh(1, 2), refresh(2, 3), refresh(1, 0),
			check(3, refused), refresh(3, 0),
		}},
		{"a replay that did not kill", true, false, []event{
			signIn(1), refresh(1, 2), refresh(2, 3), refresh(1, 0),
			check(3, done),
		}},
		{"a grandparent that refreshes", true, false, []event{signIn(1), refresh(1, 2), refresh(2, 3), refresh(1, 3)}},
		{"without an interval every reuse kills", false, true, []event{
			signIn(1), refresh(1, 2), check(1, refused),
			refresh(1, 0), check(2, refused),
		}},
		{"without an interval a retry", false, false, []event{signIn(1), refresh(1, 2), refresh(1, 2)}},
		{
			"a token from before the sign-in kills nothing", true, true,
			[]event{signIn(1), signIn(2), refresh(1, 0), check(1, refused), check(2, done)},
		},
		{"a survivor of a sign-out", true, false, []event{signIn(1), act(actSignOutUser), check(1, done)}},
		{"a sign-in that was harmed", true, false, []event{act(actSignOutAll), signIn(1), check(1, refused)}},
		{"enabling brings nothing back", true, false, []event{signIn(1), act(actDisable), act(actEnable), check(1, done)}},
		{"an old password after its change", true, false, []event{{
			operation{Action: actSetPassword, Password: 1},
			outcome{Verdict: done},
		}, signIn(1)}},
		{"another client's token", true, false, []event{signIn(1), stranger}},
		{"a lost refresh is found again by its retry", true, true, []event{
			signIn(1),
			{operation{Action: actRefresh, RefreshID: 1, SignIn: 1}, outcome{Verdict: lost}},
			refresh(1, 2),
			refresh(2, 3),
		}},
		{"from elsewhere the predecessor gets a fresh successor, and the one before is a replay", true, true, []event{
			signIn(1), refresh(1, 2), late(refresh(1, 3)), check(2, refused), check(3, done), refresh(2, 0),
			check(3, refused),
		}},
		{"lock-step", true, false, []event{signIn(1), refresh(1, 2), late(refresh(1, 2))}},
		{"the one before lives on", true, false, []event{signIn(1), refresh(1, 2), late(refresh(1, 3)), check(2, done)}},
		{"a lost answer, found within the client's window", false, true, []event{
			signIn(1), patient(refresh(1, 2)), patient(refresh(1, 3)), patient(refresh(2, 0)), check(3, refused),
		}},
		{"a lost answer that logs out all the same", false, false, []event{
			signIn(1), patient(refresh(1, 2)), patient(refresh(1, 0)),
		}},
		{"an older token after a changed password", true, false, []event{signIn(1), password, check(1, done)}},
		{"the new token after a changed password", true, true, []event{signIn(1), password, check(9, done), refresh(1, 0), check(9, done)}},
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
			var records []record
			for i, e := range tc.steps {
				records = append(records, record{In: e.in, Out: e.out, Call: int64(2 * i), Return: int64(2*i + 1)})
			}
			if got := checkRecords(sp, records); (got == "Ok") != tc.legal {
				t.Fatalf("the checker says %s", got)
			}
		})
	}
}

type event struct {
	in  operation
	out outcome
}
