//go:build unix

package proc

import (
	"os"
	"strconv"
	"syscall"
	"time"
)

// LowerPriority gives the whole process a nice value and a session of its own. On Linux each thread has its priority,
// and where the kernel shares its CPUs among sessions (sched_autogroup), that of the session is what counts. It is
// worth no failure.
func LowerPriority(nice int) {
	if _, err := syscall.Setsid(); err != nil {
		return
	}
	_ = syscall.Setpriority(syscall.PRIO_PGRP, 0, nice)
	for range 5 { // the kernel takes one change in a tenth of a second, of all processes
		if os.WriteFile("/proc/self/autogroup", []byte(strconv.Itoa(nice)), 0) == nil {
			break
		}
		time.Sleep(100 * time.Millisecond)
	}
}
