package password

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/rpc"
	"os"
	"os/exec"
	"runtime"
	"runtime/debug"
	"strconv"
	"sync"
	"sync/atomic"
	"time"
)

// worker computes password hashes in a process of its own, of a lower priority. A hash keeps a CPU busy for tens of
// milliseconds, which neither the kernel nor Go's scheduler interrupts soon for a refresh of the same priority, and its
// memory comes and goes 19 MiB at a time, which would keep the collector busy that everything else shares. The process
// is started again when it has died; it ends when its input does, so it does not outlive us.
type worker struct {
	command []string
	log     *slog.Logger

	mu      sync.Mutex
	current *connection // nil: to be started
	closed  bool
}

type connection struct {
	*rpc.Client
	process *exec.Cmd
}

// answerDeadline is when a process that does not answer is given up. The dearest hash takes a second of CPU.
const answerDeadline = time.Minute

// newWorker is a process of the command, with the number of hashes at a time as its last argument, that is started when
// it is first needed.
func newWorker(command []string, atATime int, log *slog.Logger) *worker {
	return &worker{command: append(command[:len(command):len(command)], strconv.Itoa(atATime)), log: log}
}

// startWorker starts it at once.
func startWorker(command []string, atATime int, log *slog.Logger) (*worker, error) {
	h := newWorker(command, atATime, log)
	_, err := h.connection()
	return h, err
}

// compute does what [computeKey] does. A process that has died is replaced once: what killed it may be what was asked
// for.
func (h *worker) compute(p *storedHash, password string) (key []byte, err error) {
	for range 2 {
		var c *connection
		if c, err = h.connection(); err != nil {
			break
		}
		call := c.Go("Hash.Compute", Request{Form: p.encode(), Password: password}, &key, make(chan *rpc.Call, 1))
		late := time.AfterFunc(answerDeadline, func() { _ = c.process.Process.Kill() })
		<-call.Done
		late.Stop()
		if err = call.Error; err == nil {
			return key, nil
		}
		if _, answered := errors.AsType[rpc.ServerError](err); answered {
			return nil, err
		}
		h.drop(c)
		h.log.Warn("the process for password hashes is gone; another one is started", "error", err)
	}
	return nil, fmt.Errorf("%w: %w", ErrUnavailable, err)
}

func (h *worker) connection() (*connection, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed {
		return nil, os.ErrClosed
	}
	if h.current != nil {
		return h.current, nil
	}
	cmd := exec.Command(h.command[0], h.command[1:]...)
	cmd.Env = []string{} // it needs none of our secrets
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	h.current = &connection{Client: rpc.NewClient(pipes{out, in}), process: cmd}
	return h.current, nil
}

// drop ends a process, once, and waits until it has ended.
func (h *worker) drop(c *connection) {
	h.mu.Lock()
	ours := h.current == c
	if ours {
		h.current = nil
	}
	h.mu.Unlock()
	if ours {
		_ = c.process.Process.Kill()
		_ = c.Close()
		_ = c.process.Wait()
	}
}

func (h *worker) close() {
	h.mu.Lock()
	h.closed = true
	c := h.current
	h.mu.Unlock()
	if c != nil {
		h.drop(c)
	}
}

// pipes are the two ends through which a process and its owner talk.
type pipes struct {
	io.ReadCloser
	in io.WriteCloser
}

func (p pipes) Write(b []byte) (int, error) { return p.in.Write(b) }

func (p pipes) Close() error { return errors.Join(p.in.Close(), p.ReadCloser.Close()) }

// Request asks the process for one hash: that of Password, with the algorithm, the cost and the salt of Form, a stored
// hash.
type Request struct{ Form, Password string }

// Serve computes the password hashes that a [Hasher] with [Config.Command] asks for, so many at a time, until in ends.
// It is for a process of its own, of which it sets how Go runs it; the priority is the caller's.
func Serve(in io.ReadCloser, out io.WriteCloser, atATime int) error {
	debug.SetGCPercent(-1) // Compute collects
	// More would have to be woken and stopped for each collection, and would wait for a CPU to be so.
	runtime.GOMAXPROCS(atATime)
	server := rpc.NewServer()
	if err := server.RegisterName("Hash", &service{slots: make(chan struct{}, atATime)}); err != nil {
		return err
	}
	server.ServeConn(pipes{in, out})
	return nil
}

type service struct {
	slots chan struct{}
	done  atomic.Int64
}

// Compute answers one [Request].
func (s *service) Compute(request Request, key *[]byte) error {
	p, err := parse(request.Form)
	if err != nil {
		return err
	}
	s.slots <- struct{}{}
	defer func() { <-s.slots }()
	*key, err = computeKey(p, request.Password)
	if s.done.Add(1)%int64(cap(s.slots)) == 0 {
		runtime.GC() // before the next one starts, which then finds this one's memory, and what of it the CPU's cache has
	}
	return err
}
