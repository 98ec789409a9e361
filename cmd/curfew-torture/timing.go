package main

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"time"
)

type timingCommand struct {
	Samples int `default:"300" help:"Requests of each kind."`
}

// Run compares how long right and wrong guesses take. It reports, and asserts nothing: that is for a quiet machine and
// a person.
func (c *timingCommand) Run(ctx context.Context) error {
	r, err := newRig(ctx, rigConfig{Database: "postgres", Nodes: 1, Env: map[string]string{
		"HASH_MEMORY": "", "HASH_TIME": "", "LIMIT_PER_CLIENT": "1000000",
	}})
	if err != nil {
		return err
	}
	defer r.Close()
	n := r.nodes[0]
	if _, err := r.createUser(ctx, n, "anna", stormPassword); err != nil {
		return err
	}
	password := func(username string) func(i int) answer {
		return func(i int) answer {
			_, a := r.signIn(ctx, n, fmt.Sprintf("10.4.%d.%d", i>>8, i&255), r.stranger, username, "not the password", "")
			return a
		}
	}
	secret := func(id, secret string) func(i int) answer {
		return func(i int) answer {
			_, a := r.token(ctx, n, fmt.Sprintf("10.3.%d.%d", i>>8, i&255), basic(credentials{id, secret}),
				form("grant_type", "password"))
			return a
		}
	}
	for _, pair := range []struct {
		what string
		a, b func(i int) answer
	}{
		{"wrong password: known user, unknown user", password("anna"), password("bert")},
		{
			"client secret: wrong in its last character, in all", secret(r.api.ID, r.api.Secret[:len(r.api.Secret)-1]+"-"),
			secret(r.api.ID, strings.Repeat("x", len(r.api.Secret))),
		},
		{
			"client: known with a wrong secret, unknown", secret(r.api.ID, strings.Repeat("x", len(r.api.Secret))),
			secret("apj", strings.Repeat("x", len(r.api.Secret))),
		},
	} {
		var a, b []time.Duration
		for i := range c.Samples {
			first := rand.IntN(2) // in either order: collections of garbage come in step with requests
			for _, j := range []int{first, 1 - first} {
				ask := []func(int) answer{pair.a, pair.b}[j]
				start := time.Now()
				got := ask(i)
				took := time.Since(start)
				if got.err != nil || got.status >= 500 {
					return got.failure(pair.what)
				}
				if j == 0 {
					a = append(a, took)
				} else {
					b = append(b, took)
				}
			}
		}
		u, p := mannWhitney(a, b)
		fmt.Printf("%s: medians %s and %s, difference %s; probability that one of the first kind is slower: %.3f; p = %.3g\n",
			pair.what,
			median(a).Round(time.Microsecond), median(b).Round(time.Microsecond),
			(median(a) - median(b)).Round(time.Microsecond), u, p)
	}
	return nil
}

func median(d []time.Duration) time.Duration {
	s := slices.Sorted(slices.Values(d))
	return s[len(s)/2]
}

// mannWhitney gives the share of pairs in which a is greater than b (0.5 if nothing tells them apart), and the
// two-sided p-value of the rank test with the normal approximation.
func mannWhitney(a, b []time.Duration) (share, p float64) {
	type sample struct {
		d     time.Duration
		fromA bool
	}
	var all []sample
	for _, d := range a {
		all = append(all, sample{d, true})
	}
	for _, d := range b {
		all = append(all, sample{d, false})
	}
	slices.SortFunc(all, func(x, y sample) int { return int(x.d - y.d) })
	ranks := 0.0
	for i := 0; i < len(all); {
		j := i
		for j < len(all) && all[j].d == all[i].d {
			j++
		}
		for k := i; k < j; k++ {
			if all[k].fromA {
				ranks += float64(i+j+1) / 2 // ties share the mean rank
			}
		}
		i = j
	}
	n, m := float64(len(a)), float64(len(b))
	u := ranks - n*(n+1)/2
	z := (u - n*m/2) / math.Sqrt(n*m*(n+m+1)/12)
	return u / (n * m), math.Erfc(math.Abs(z) / math.Sqrt2)
}
