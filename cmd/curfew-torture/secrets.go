package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"curfew/internal/harness"
)

type secretsCommand struct {
	Duration time.Duration `default:"5s" help:"How long the busy run before the search is, on each database."`
	Seed     uint64        `default:"1" help:"Chooses what is done."`
	Binary   string        `help:"A built cmd/curfew instead of this tree's." type:"existingfile"`
}

// Run searches everything that is stored or said for everything that is secret.
func (c *secretsCommand) Run(ctx context.Context) error {
	binary, remove, err := harness.BuildProduct(ctx, c.Binary)
	if err != nil {
		return err
	}
	defer remove()
	found := 0
	for _, database := range []string{"postgres", "sqlite"} {
		n, err := c.search(ctx, binary, database)
		if err != nil {
			return err
		}
		found += n
	}
	if found > 0 {
		return fmt.Errorf("%d secrets were found", found)
	}
	return nil
}

func (c *secretsCommand) search(ctx context.Context, binary, database string) (found int, err error) {
	// Spans come as protobuf, in which text stands as it is.
	var traces bytes.Buffer
	var tracesLock sync.Mutex
	collector := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, q *http.Request) {
		tracesLock.Lock()
		defer tracesLock.Unlock()
		_, _ = traces.ReadFrom(q.Body)
	}))
	defer collector.Close()
	h, err := newHistory(ctx, historyConfig{
		Binary: binary, Database: database, Nodes: 2, Duration: c.Duration, Seed: c.Seed, Reuse: true,
		Rig: func(rc *rigConfig) { rc.Env["LOG_LEVEL"], rc.Traces = "debug", collector.URL },
	})
	if err != nil {
		return 0, err
	}
	defer h.close()
	h.drive(ctx)
	r := h.rig
	goWrong(ctx, r)
	places, err := r.everythingSaid(ctx)
	if err != nil {
		return 0, err
	}
	tracesLock.Lock()
	places["traces"] = bytes.Clone(traces.Bytes())
	tracesLock.Unlock()
	if !bytes.Contains(places["traces"], []byte("POST /oauth2/token")) {
		return 0, errors.New("no span of a token request came")
	}
	r.mu.Lock()
	places["error answers"] = bytes.Join(r.errors, []byte("\n"))
	index := newSecretIndex(r.secrets)
	secrets := len(r.secrets)
	r.mu.Unlock()
	size := 0
	for place, content := range places {
		size += len(content)
		for _, what := range index.in(content) {
			found++
			fmt.Printf("  FOUND in %s: %s\n", place, what)
		}
	}
	// The search itself is checked: a secret that is there is found.
	for secret, what := range r.secrets {
		if len(index.in([]byte("before "+secret+" behind"))) == 0 {
			return found, fmt.Errorf("the search does not find %s", what)
		}
		break
	}
	fmt.Printf("secrets, %s: %d secrets searched in %.1f MB (%d places: dump, debug logs, metrics, traces, %d error "+
		"answers): %d found\n",
		database, secrets, float64(size)/1e6, len(places), len(r.errors), found)
	return found, nil
}

// goWrong makes requests that fail, each with a secret in it.
func goWrong(ctx context.Context, r *rig) {
	for _, kv := range [][]string{
		{"grant_type", "password", "client_id", "nobody", "username", "nobody", "password", "wrong password of nobody"},
		{"grant_type", "password", "client_id", r.stranger, "username", "user-1", "password", "a wrong password \x01"},
		{
			"grant_type", "refresh_token", "client_id", r.stranger, "refresh_token",
			"curfew_rt_not-a-token-at-all-but-long-enough",
		},
		{"grant_type", "client_credentials", "client_id", "api", "client_secret", "not the client's secret at all"},
	} {
		r.token(ctx, r.nodes[0], "10.7.7.7", "", form(kv...))
		r.note(kv[len(kv)-1], "a wrong guess")
	}
	r.do(ctx, http.MethodGet, "http://"+r.nodes[0].Public+"/settings/devices?access_token=a-secret-in-a-query", "", nil)
	r.note("a-secret-in-a-query", "a secret in a query")
}

// everythingSaid stops the nodes; it is their metrics and logs, and a dump of the database.
func (r *rig) everythingSaid(ctx context.Context) (_ map[string][]byte, err error) {
	places := map[string][]byte{}
	for _, n := range r.nodes {
		a := r.do(ctx, http.MethodGet, "http://"+n.Admin+"/metrics", "", nil)
		if a.status != http.StatusOK {
			return nil, a.failure("metrics")
		}
		places[fmt.Sprintf("metrics of node %d", n.Number)] = a.body
		n.Stop() // its last words are logged too
		if places[fmt.Sprintf("log of node %d", n.Number)], err = os.ReadFile(n.LogPath()); err != nil {
			return nil, err
		}
	}
	if r.cluster != nil {
		name := r.url[strings.LastIndex(r.url[:strings.Index(r.url, "?")], "/")+1 : strings.Index(r.url, "?")]
		if places["pg_dump"], err = r.cluster.Command(ctx, "pg_dump", "--inserts", name).Output(); err != nil {
			return nil, fmt.Errorf("pg_dump: %w", err)
		}
	} else {
		files, _ := filepath.Glob(strings.TrimPrefix(r.url, "sqlite:") + "*")
		for _, file := range files {
			if places[filepath.Base(file)], err = os.ReadFile(file); err != nil {
				return nil, err
			}
		}
	}
	return places, nil
}

// secretIndex finds any of many secrets in one pass, by their first bytes.
type secretIndex struct {
	byStart map[[secretStart]byte][]secretPart
}

type secretPart struct{ text, what string }

const secretStart = 16

func newSecretIndex(secrets map[string]string) *secretIndex {
	x := &secretIndex{byStart: map[[secretStart]byte][]secretPart{}}
	add := func(text, what string) {
		if len(text) >= secretStart {
			key := [secretStart]byte([]byte(text[:secretStart]))
			x.byStart[key] = append(x.byStart[key], secretPart{text, what})
		}
	}
	for secret, what := range secrets {
		add(secret, what)
		if strings.Count(secret, ".") == 2 { // of an access token the signature is what is worth something
			add(secret[strings.LastIndexByte(secret, '.')+1:], "the signature of "+what)
		}
		if strings.HasPrefix(secret, "curfew_rt_") {
			add(secret[len(secret)-40:], "the end of "+what)
		}
	}
	return x
}

func (x *secretIndex) in(content []byte) (found []string) {
	for i := 0; i+secretStart <= len(content); i++ {
		for _, p := range x.byStart[[secretStart]byte(content[i:i+secretStart])] {
			if bytes.HasPrefix(content[i:], []byte(p.text)) && len(found) < 20 {
				found = append(found, fmt.Sprintf("%s at %d: …%.40q…", p.what, i, content[max(0, i-40):i]))
			}
		}
	}
	return found
}
