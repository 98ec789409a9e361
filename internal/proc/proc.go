// Package proc reads what Linux says of processes and of the machine, for the commands that measure, and lowers a
// priority.
package proc

import (
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"time"
)

// tick is what /proc counts CPU time in: a hundredth of a second on every Linux.
const tick = 10 * time.Millisecond

// stat are the fields of /proc/PID/stat behind the name: state, parent, and so on. There are enough of them, or none.
func stat(pid int) []string {
	b, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "stat"))
	if err != nil {
		return nil
	}
	fields := strings.Fields(string(b[strings.LastIndexByte(string(b), ')')+1:]))
	if len(fields) < 15 {
		return nil
	}
	return fields
}

func sumTicks(fields []string) (sum time.Duration) {
	for _, f := range fields {
		n, _ := strconv.ParseInt(f, 10, 64)
		sum += time.Duration(n) * tick
	}
	return sum
}

// CPU is the time that a process has taken so far.
func CPU(pid int) time.Duration {
	f := stat(pid)
	if f == nil {
		return 0
	}
	return sumTicks(f[11:13])
}

// CPUOfTree is that of a process, its children, and those of its children that have ended.
func CPUOfTree(pid int) time.Duration {
	f := stat(pid)
	if f == nil {
		return 0
	}
	sum := sumTicks(f[11:15])
	for _, child := range Children(pid) {
		sum += CPU(child)
	}
	return sum
}

// Children are the processes that a process has started and that run.
func Children(pid int) (pids []int) {
	all, _ := filepath.Glob("/proc/[0-9]*")
	for _, dir := range all {
		child, _ := strconv.Atoi(filepath.Base(dir))
		if f := stat(child); f != nil && f[1] == strconv.Itoa(pid) {
			pids = append(pids, child)
		}
	}
	return pids
}

// MemoryOfTree is what a process and its children have in memory, or with peak the most that each has had, in MB. The
// pages of a program's file count once: the children run the same program and share them.
func MemoryOfTree(pid int, peak bool) float64 {
	name := "VmRSS"
	if peak {
		name = "VmHWM"
	}
	mb := Memory(pid, name)
	for _, child := range Children(pid) {
		mb += max(0, Memory(child, name)-Memory(child, "RssFile"))
	}
	return mb
}

// Memory is a line of /proc/PID/status, in MB.
func Memory(pid int, name string) float64 {
	b, _ := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "status"))
	for line := range strings.Lines(string(b)) {
		if value, ok := strings.CutPrefix(line, name+":"); ok {
			kb, _ := strconv.ParseFloat(strings.Fields(value)[0], 64)
			return kb / 1024
		}
	}
	return 0
}

// Stolen is the time that the machine's host gave to others while one of its CPUs had work, since it was started.
func Stolen() time.Duration {
	b, _ := os.ReadFile("/proc/stat")
	first, _, _ := strings.Cut(string(b), "\n")
	if f := strings.Fields(first); len(f) > 8 {
		return sumTicks(f[8:9])
	}
	return 0
}

// Machine describes what figures were taken on.
func Machine() string {
	model, ram := "unknown CPU", ""
	if b, err := os.ReadFile("/proc/cpuinfo"); err == nil {
		for line := range strings.Lines(string(b)) {
			if name, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(name) == "model name" {
				model = strings.TrimSpace(value)
				break
			}
		}
	}
	if b, err := os.ReadFile("/proc/meminfo"); err == nil {
		if f := strings.Fields(string(b)); len(f) > 1 {
			kb, _ := strconv.ParseFloat(f[1], 64)
			ram = strconv.FormatFloat(kb/(1<<20), 'f', 0, 64) + " GiB RAM"
		}
	}
	machine := strconv.Itoa(runtime.NumCPU()) + " CPUs (" + model + "), " + ram + ", " + runtime.Version()
	if b, err := os.ReadFile("/proc/sys/kernel/sched_autogroup_enabled"); err == nil &&
		strings.TrimSpace(string(b)) == "1" {
		machine += ", sched_autogroup" // priorities count within a session only
	}
	return machine
}
