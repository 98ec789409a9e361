//go:build unix

package models

import (
	"os"
	"strconv"
	"syscall"
	"time"
)

// hashPriority is the nice value of a process for password hashes: a tenth of a share where CPUs are short.
const hashPriority = 10

// lowerPriority is for the whole process, which gets a session of its own. On Linux each thread has its priority, and where the
// kernel shares its CPUs among sessions (sched_autogroup), that of the session is what counts. It is worth no failure.
func lowerPriority() {
	if _, err := syscall.Setsid(); err != nil {
		return
	}
	_ = syscall.Setpriority(syscall.PRIO_PGRP, 0, hashPriority)
	for range 5 { // the kernel takes one change in a tenth of a second, of all processes
		if os.WriteFile("/proc/self/autogroup", []byte(strconv.Itoa(hashPriority)), 0) == nil {
			break
		}
		time.Sleep(100 * time.Millisecond)
	}
}
