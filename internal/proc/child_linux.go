package proc

import (
	"os/exec"
	"runtime"
	"syscall"
)

// Start runs a command that gets a signal when this process ends, however it ends. The channel is closed when the
// command has ended; nobody else may call cmd.Wait.
func Start(cmd *exec.Cmd, atOurEnd syscall.Signal) (ended <-chan struct{}, err error) {
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{}
	}
	cmd.SysProcAttr.Pdeathsig = atOurEnd
	started, exited := make(chan error), make(chan struct{})
	go func() {
		// Linux sends the signal when the thread ends that started the command, so the thread stays.
		runtime.LockOSThread()
		err := cmd.Start()
		started <- err
		if err == nil {
			_ = cmd.Wait()
			close(exited)
		}
	}()
	return exited, <-started
}
