package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/uuid"
	"golang.org/x/crypto/bcrypt"
)

type blockingCommand struct {
	SignIns int    `default:"40" help:"How often somebody signs in beside each attack."`
	Binary  string `help:"A built cmd/curfew instead of this tree's." type:"existingfile"`
}

// Run has one address, one account and one user do what they can to keep others out, within and beyond the limits that
// the product has by default. It fails when somebody else's right password is refused, not for a slow machine.
func (c *blockingCommand) Run(ctx context.Context) error {
	r, err := newRig(ctx, rigConfig{Binary: c.Binary, Database: "postgres", Nodes: 1, Env: map[string]string{
		"HASH_MEMORY": "", "HASH_TIME": "", "HASH_CONCURRENCY": "", "HASH_QUEUE": "", // the product's own
		"LIMIT_PER_ACCOUNT": "", "LIMIT_PER_ACCOUNT_ADDRESS": "", "LIMIT_PER_ADDRESS": "20", "LIMIT_PER_DEVICE": "",
		"LIMIT_SIGN_INS": "", "LIMIT_RENAMES": "", "LIMIT_CODES": "", "LIMIT_SUBSCRIBERS": strconv.Itoa(silentSubscribers),
	}})
	if err != nil {
		return err
	}
	defer r.Close()
	st, err := newStorm(ctx, r, 4, 0)
	if err != nil {
		return err
	}
	b := &blocking{overload: overload{storm: st, node: r.nodes[0]}, signIns: c.SignIns}
	if err := b.prepare(ctx); err != nil {
		return err
	}
	b.signInsBeside(ctx, "nothing else", 0, nil)
	b.signInsBeside(ctx, "one address over its limit", 150, func(thread, i int) answer {
		return b.attempt(ctx, "10.8.0.1", fmt.Sprintf("nobody-%d-%d", thread, i), "wrong")
	})
	b.signInsBeside(ctx, "hashes of bcrypt 12", 50, func(thread, i int) answer {
		username := fmt.Sprint("imported-", (thread+i)%importedUsers)
		return b.attempt(ctx, fmt.Sprintf("10.7.%d.%d", thread, i&255), username, "wrong")
	})
	b.signInsBeside(ctx, "one right password", 50, func(thread, i int) answer {
		return b.attempt(ctx, fmt.Sprintf("10.6.%d.%d", thread, i&255), "mallory", stormPassword)
	})
	if err := b.waits(ctx); err != nil {
		return err
	}
	for _, p := range b.wrong[:min(len(b.wrong), 10)] {
		fmt.Printf("  BROKEN: %s\n", p)
	}
	if len(b.wrong) > 0 {
		return errors.New("somebody was kept out by others")
	}
	return nil
}

const (
	importedUsers     = 40
	silentSubscribers = 2000
	waitsAtOnce       = 300
)

type blocking struct {
	overload
	signIns int
	victims int
}

// attempt is a sign-in, of whose answer only the status counts.
func (b *blocking) attempt(ctx context.Context, address, username, password string) answer {
	_, a := b.rig.signIn(ctx, b.node, address, stormClient, username, password, "")
	return a
}

func (b *blocking) prepare(ctx context.Context) error {
	hash, err := bcrypt.GenerateFromPassword([]byte(stormPassword), 12)
	if err != nil {
		return err
	}
	var csv strings.Builder
	for i := range importedUsers {
		fmt.Fprintf(&csv, "imported-%d,%s\n", i, hash)
	}
	if err := b.rig.cli(ctx, csv.String(), nil, "user", "import", "-"); err != nil {
		return err
	}
	for _, name := range []string{"mallory", "waiter"} {
		if _, err := b.rig.createUser(ctx, b.node, name, stormPassword); err != nil {
			return err
		}
	}
	return nil
}

// signInsBeside signs somebody in, again and again, while so many connections attack, and says what the two get.
func (b *blocking) signInsBeside(
	ctx context.Context, attack string, connections int, request func(thread, i int) answer,
) {
	b.victims++
	victim := fmt.Sprint("victim-", b.victims)
	if _, err := b.rig.createUser(ctx, b.node, victim, stormPassword); err != nil {
		b.wrong = append(b.wrong, err.Error())
		return
	}
	got := &tally{}
	var over atomic.Bool
	var wg sync.WaitGroup
	for thread := range connections {
		wg.Go(func() {
			for i := 0; !over.Load() && ctx.Err() == nil; i++ {
				a := request(thread, i)
				got.add(a)
				if a.status != http.StatusBadRequest {
					time.Sleep(100 * time.Millisecond) // the harness shares the CPUs with the server
				}
			}
		})
	}
	if connections > 0 {
		sleep(ctx, time.Second)
	}
	var took []time.Duration
	right := 0
	for range b.signIns {
		start := time.Now()
		a := b.attempt(ctx, "10.9.0."+strconv.Itoa(b.victims), victim, stormPassword)
		took = append(took, time.Since(start))
		if a.status == http.StatusOK {
			right++
		} else {
			b.wrong = append(b.wrong, fmt.Sprintf("%s: a right password elsewhere: %s", attack, a))
		}
		sleep(ctx, 20*time.Millisecond)
	}
	over.Store(true)
	wg.Wait()
	slices.Sort(took)
	fmt.Printf("%-28s %d of %d sign-ins of somebody else, p50 %s, max %s", attack+":", right, b.signIns,
		took[len(took)/2].Round(time.Millisecond), took[len(took)-1].Round(time.Millisecond))
	if connections > 0 {
		fmt.Printf("; the %d connections got %s", connections, got)
	}
	fmt.Println()
}

// tally counts answers by their status.
type tally struct {
	mu    sync.Mutex
	count map[int]int
}

func (t *tally) add(a answer) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.count == nil {
		t.count = map[int]int{}
	}
	t.count[a.status]++
}

func (t *tally) String() string {
	var parts []string
	for status, n := range t.count {
		what := strconv.Itoa(status)
		if status == 0 {
			what = "no answer"
		}
		parts = append(parts, fmt.Sprintf("%d × %s", n, what))
	}
	slices.Sort(parts)
	return strings.Join(parts, ", ")
}

// waits has one user wait for receipts as often as is let in, with one resource server that never says a word and then
// with two thousand, and measures what refreshes and introspections of others take.
func (b *blocking) waits(ctx context.Context) error {
	calm := b.measure(ctx, 2*time.Second)
	fmt.Printf("%-28s refresh and introspect %s\n", "nobody waits:", calm)
	own, a := b.rig.signIn(ctx, b.node, "10.9.1.1", stormClient, "waiter", stormPassword, "")
	gone := uuid.NewString() // signed out by the first; each further sign-out waits for the same event
	_, second := b.rig.signIn(ctx, b.node, "10.9.1.1", stormClient, "waiter", stormPassword, gone)
	if a.status != http.StatusOK || second.status != http.StatusOK {
		return errors.Join(a.failure("sign in"), second.failure("sign in"))
	}
	for _, silent := range []int{1, silentSubscribers} {
		if err := b.subscribe(ctx, silent); err != nil {
			return err
		}
		got := &tally{}
		var wg sync.WaitGroup
		for range waitsAtOnce {
			wg.Go(func() {
				a := b.rig.settings(ctx, b.node, "10.9.1.1", http.MethodDelete, "/settings/devices/"+gone+"?wait=5s",
					own.Access, "")
				got.add(a)
				if a.status != http.StatusOK && a.status != http.StatusTooManyRequests {
					b.mu.Lock()
					defer b.mu.Unlock()
					b.wrong = append(b.wrong, "a wait: "+a.String())
				}
			})
		}
		sleep(ctx, 500*time.Millisecond)
		m := b.measure(ctx, 2*time.Second)
		wg.Wait()
		fmt.Printf("%-28s refresh and introspect %s (p99 × %.1f); the waits got %s\n",
			fmt.Sprintf("%d waits, %d silent:", waitsAtOnce, silent), m, ratio(m, calm), got)
	}
	return nil
}

// subscribe makes so many resource servers known that then say nothing more.
func (b *blocking) subscribe(ctx context.Context, n int) error {
	api, a := b.rig.token(ctx, b.node, "127.0.0.1", basic(b.rig.api), form("grant_type", "client_credentials", "scope",
		"revocations"))
	if a.status != http.StatusOK {
		return a.failure("a token to follow the feed")
	}
	var failed atomic.Pointer[answer]
	var wg sync.WaitGroup
	names := make(chan int)
	for range 32 {
		wg.Go(func() {
			for i := range names {
				body, _ := json.Marshal(map[string]any{"subscriber": fmt.Sprint("silent-", i), "seq": 0})
				if a := b.rig.do(ctx, http.MethodPost, "http://"+b.node.Public+"/oauth2/revocations/ack", string(body),
					map[string]string{"Authorization": "Bearer " + api.Access, "Content-Type": "application/json"},
				); a.status != http.StatusNoContent {
					failed.Store(&a)
				}
			}
		})
	}
	for i := range n {
		names <- i
	}
	close(names)
	wg.Wait()
	if a := failed.Load(); a != nil {
		return a.failure("make a resource server known")
	}
	return nil
}
