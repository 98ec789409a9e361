package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"curfew/internal/harness"
	"curfew/internal/proc"
	"curfew/verify"
)

// The verifiers of the other languages run as processes and are asked line by line: verify/js/test/driver.js and
// verify/python/tests/driver.py say how. They follow the node whose address is the issuer's, as they would anywhere.

// driver is such a process. It is asked one thing at a time.
type driver struct {
	cmd    *exec.Cmd
	exited <-chan struct{}
	stderr strings.Builder
	mu     sync.Mutex
	in     io.WriteCloser
	out    *bufio.Reader
}

// driven is what a driver answers.
type driven struct {
	Seq       int64    `json:"seq"`
	Staleness *float64 `json:"staleness"` // in seconds; nil before the first contact
	Code      *string  `json:"code"`      // nil where the token is accepted
}

// newForeignServers starts a verifier of each other language, and waits until they follow the feed.
func newForeignServers(ctx context.Context, r *rig) (list []*resourceServer, err error) {
	defer func() {
		if err != nil {
			for _, rs := range list {
				rs.close()
			}
		}
	}()
	root, err := harness.Root(ctx)
	if err != nil {
		return nil, err
	}
	for _, language := range []struct {
		name     string
		folder   string
		command  []string
		settings map[string]string
	}{
		{"Node", "verify/js", []string{"node", "test/driver.js"}, map[string]string{
			"issuer": r.issuer, "clientId": r.api.ID, "clientSecret": r.api.Secret, "subscriber": "local-node",
			"whenStale": "reject",
		}},
		{"Python", "verify/python", []string{"python3", "-m", "tests.driver"}, map[string]string{
			"issuer": r.issuer, "client_id": r.api.ID, "client_secret": r.api.Secret, "subscriber": "local-python",
			"when_stale": "reject",
		}},
	} {
		d, err := startDriver(filepath.Join(root, language.folder), language.settings, language.command...)
		if err != nil {
			return list, fmt.Errorf("the verifier for %s: %w", language.name, err)
		}
		list = append(list, &resourceServer{
			name: language.name + "'s verifier", language: language.name, state: d.state, look: d.look, close: d.close,
		})
	}
	for _, rs := range list {
		if err := rs.waitApplied(ctx, 0, 30*time.Second); err != nil {
			return list, err
		}
	}
	return list, nil
}

func startDriver(folder string, settings map[string]string, command ...string) (*driver, error) {
	text, err := json.Marshal(settings)
	if err != nil {
		return nil, err
	}
	d := &driver{cmd: exec.Command(command[0], command[1:]...)}
	d.cmd.Dir, d.cmd.Stderr = folder, &d.stderr
	d.cmd.Env = append(os.Environ(), "VERIFIER="+string(text), "PYTHONDONTWRITEBYTECODE=1", "no_proxy=*")
	if d.in, err = d.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	// A pipe of our own: Wait would close the package's before the last answer is read.
	read, write, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer write.Close()
	d.cmd.Stdout, d.out = write, bufio.NewReader(read)
	if d.exited, err = proc.Start(d.cmd, syscall.SIGKILL); err != nil {
		return nil, errors.Join(err, read.Close())
	}
	return d, nil
}

func (d *driver) close() {
	d.in.Close()
	select {
	case <-d.exited:
	case <-time.After(5 * time.Second):
		_ = d.cmd.Process.Kill()
		<-d.exited
	}
}

func (d *driver) ask(line string) (answer driven, err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if _, err = io.WriteString(d.in, line+"\n"); err == nil {
		var text []byte
		if text, err = d.out.ReadBytes('\n'); err == nil {
			err = json.Unmarshal(text, &answer)
		}
	}
	if err == nil {
		return answer, nil
	}
	select {
	case <-d.exited:
		return answer, fmt.Errorf("it ended: %w: %s", err, d.stderr.String())
	case <-time.After(5 * time.Second):
		return answer, err
	}
}

func (d *driver) state() (seq int64, staleness time.Duration, err error) {
	answer, err := d.ask("state")
	if err != nil || answer.Staleness == nil {
		return answer.Seq, math.MaxInt64, err
	}
	return answer.Seq, time.Duration(*answer.Staleness * float64(time.Second)), nil
}

func (d *driver) look(_ context.Context, token string) (applied int64, err error) {
	answer, err := d.ask("verify " + token)
	switch {
	case err != nil:
		return 0, err
	case answer.Code == nil:
		return answer.Seq, nil
	case *answer.Code == verify.Code(verify.ErrRevoked):
		return answer.Seq, verify.ErrRevoked
	}
	return answer.Seq, errors.New(*answer.Code)
}
