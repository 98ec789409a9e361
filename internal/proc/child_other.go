//go:build !linux

package proc

import (
	"os/exec"
	"syscall"
)

// Start runs a command. The channel is closed when it has ended; nobody else may call cmd.Wait. Only on Linux does the
// command also end when this process is killed.
func Start(cmd *exec.Cmd, _ syscall.Signal) (ended <-chan struct{}, err error) {
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	exited := make(chan struct{})
	go func() {
		_ = cmd.Wait()
		close(exited)
	}()
	return exited, nil
}
