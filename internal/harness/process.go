package harness

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"syscall"
	"time"

	"curfew/internal/proc"
)

// Process is a program that was started. It is killed when this process ends.
type Process struct {
	cmd     *exec.Cmd
	logPath string
	exited  <-chan struct{}
}

// Start runs a program whose output is appended to a file. A nil environment is this process's.
func Start(logPath string, env []string, program string, args ...string) (*Process, error) {
	file, err := os.OpenFile(logPath, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, err
	}
	defer file.Close() // the program has it by then
	p := &Process{cmd: exec.Command(program, args...), logPath: logPath}
	p.cmd.Env, p.cmd.Stdout, p.cmd.Stderr = env, file, file
	if p.exited, err = proc.Start(p.cmd, syscall.SIGKILL); err != nil {
		return nil, err
	}
	return p, nil
}

// PID is the process's number.
func (p *Process) PID() int { return p.cmd.Process.Pid }

// Exited is closed when the process has ended.
func (p *Process) Exited() <-chan struct{} { return p.exited }

// Signal sends one.
func (p *Process) Signal(sig syscall.Signal) error { return p.cmd.Process.Signal(sig) }

// Kill ends the process at once, also one that is stopped, and returns when it has ended.
func (p *Process) Kill() {
	if p == nil { // never started
		return
	}
	_ = p.Signal(syscall.SIGCONT)
	_ = p.Signal(syscall.SIGKILL)
	<-p.exited
}

// Stop ends the process as an operator does, and kills it when it has not ended after a while.
func (p *Process) Stop() {
	_ = p.Signal(syscall.SIGTERM)
	select {
	case <-p.exited:
	case <-time.After(20 * time.Second):
		p.Kill()
	}
}

// LogPath is the file with what the process has written.
func (p *Process) LogPath() string { return p.logPath }

// Log is what the process has written, or the end of it.
func (p *Process) Log(bytes int) string {
	text, _ := os.ReadFile(p.logPath)
	return string(text[max(0, len(text)-bytes):])
}

// WaitReady returns when GET /readyz at the address answers 200. It fails when the process ends before that, or the
// time is over.
func (p *Process) WaitReady(ctx context.Context, address string, limit time.Duration) error {
	expired := time.After(limit)
	for !Ready(ctx, address) {
		select {
		case <-p.exited:
			return fmt.Errorf("%s ended: %s", p.cmd.Path, p.Log(3000))
		case <-expired:
			return fmt.Errorf("%s is not ready after %s", p.cmd.Path, limit)
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(20 * time.Millisecond):
		}
	}
	return nil
}

// Ready is what /readyz says at an address, on a connection of its own.
func Ready(ctx context.Context, address string) bool {
	ctx, cancel := context.WithTimeout(ctx, 6*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+address+"/readyz", nil)
	if err != nil {
		return false
	}
	req.Close = true
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return false
	}
	res.Body.Close()
	return res.StatusCode == http.StatusOK
}

// FreeAddresses are loopback addresses on which nobody listens just now.
func FreeAddresses(n int) (addresses []string, err error) {
	var open []net.Listener
	defer func() {
		for _, l := range open {
			err = errors.Join(err, l.Close())
		}
	}()
	for range n {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return nil, err
		}
		open = append(open, l)
		addresses = append(addresses, l.Addr().String())
	}
	return addresses, nil
}
