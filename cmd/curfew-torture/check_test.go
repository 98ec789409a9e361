package main

import (
	"math"
	"strings"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"
)

// An illegal history stays illegal while it shrinks, and what has nothing to do with it goes.
func TestShrink(t *testing.T) {
	sp := specification{reuse: true}
	var h []record
	clock := int64(0)
	add := func(in operation, out outcome) {
		h = append(h, record{In: in, Out: out, Call: clock, Return: clock + 5})
		clock += 10
	}
	for range 3 { // a life before
		add(operation{Action: actSignIn, Slot: 1}, outcome{Verdict: done, RefreshID: int32(clock + 1000)})
		add(operation{Action: actCheck, Slot: 1, RefreshID: int32(clock + 990)}, outcome{Verdict: done})
		add(operation{Action: actSignOutUser}, outcome{Verdict: done})
	}
	add(operation{Action: actSignIn}, outcome{Verdict: done, RefreshID: 1})
	add(operation{Action: actCheck, RefreshID: 1}, outcome{Verdict: done})
	add(operation{Action: actSignOut}, outcome{Verdict: done})
	add(operation{Action: actCheck, RefreshID: 1}, outcome{Verdict: done}) // the survivor
	add(operation{Action: actSignIn, Slot: 1}, outcome{Verdict: done, RefreshID: 9})
	if checkRecords(sp, h) != porcupine.Illegal {
		t.Fatal("the history is legal")
	}
	small := shrink(sp, h)
	if checkRecords(sp, small) != porcupine.Illegal || len(small) != 3 {
		t.Fatalf("shrunk to %d operations, want the sign-in, the sign-out and the survivor:\n%s", len(small), text(small))
	}
}

// A lost answer explains what may have happened, at any time since.
func TestCheckRecords_LostAnswer(t *testing.T) {
	sp := specification{reuse: true}
	h := []record{
		{In: operation{Action: actSignIn}, Out: outcome{Verdict: done, RefreshID: 1}, Call: 0, Return: 5},
		{In: operation{Action: actSignOut}, Out: outcome{Verdict: lost}, Call: 10, Return: math.MaxInt64},
		{In: operation{Action: actCheck, RefreshID: 1}, Out: outcome{Verdict: done}, Call: 20, Return: 25},
		{In: operation{Action: actCheck, RefreshID: 1}, Out: outcome{}, Call: 30, Return: 35},
	}
	if got := checkRecords(sp, h); got != porcupine.Ok {
		t.Fatalf("alive, then dead, after a sign-out without an answer: %s", got)
	}
	h[2], h[3] = h[3], h[2]
	h[2].Call, h[2].Return, h[3].Call, h[3].Return = 20, 25, 30, 35
	if got := checkRecords(sp, h); got != porcupine.Illegal {
		t.Fatalf("dead, then alive: %s", got)
	}
}

func TestSecretIndex(t *testing.T) {
	token := "curfew_rt_" + strings.Repeat("Ab3", 30)
	x := newSecretIndex(map[string]string{token: "a refresh token", "a password that is long": "a password"})
	if got := x.in([]byte("nothing to see here, and the curfew_rt_ prefix is no secret")); len(got) != 0 {
		t.Fatal(got)
	}
	for _, text := range []string{"x" + token + "y", "the end of it: " + token[30:], "log: a password that is long"} {
		if len(x.in([]byte(text))) == 0 {
			t.Fatalf("not found in %q", text)
		}
	}
}

func TestMannWhitney(t *testing.T) {
	var a, b, c []time.Duration
	for i := range 200 {
		a, b, c = append(a, time.Duration(1000+i*7%200)), append(b, time.Duration(1000+i*11%200)),
			append(c, time.Duration(1100+i*7%200))
	}
	if share, p := mannWhitney(a, b); share < 0.4 || share > 0.6 || p < 0.05 {
		t.Fatalf("the same distribution: share %.2f, p %.3g", share, p)
	}
	if share, p := mannWhitney(c, a); share < 0.8 || p > 1e-6 {
		t.Fatalf("another distribution: share %.2f, p %.3g", share, p)
	}
}
