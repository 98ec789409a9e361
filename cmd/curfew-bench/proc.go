package main

import (
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"time"
)

// ticks is what /proc counts CPU time in: a hundredth of a second on every Linux.
const ticks = 10 * time.Millisecond

// statFields are those of /proc/PID/stat behind the name: state, ppid, and so on.
func statFields(pid string) []string {
	b, err := os.ReadFile(filepath.Join("/proc", pid, "stat"))
	if err != nil {
		return nil
	}
	_, rest, _ := strings.Cut(string(b), ") ")
	return strings.Fields(rest)
}

func sumTicks(fields []string) (sum time.Duration) {
	for _, f := range fields {
		n, _ := strconv.ParseInt(f, 10, 64)
		sum += time.Duration(n) * ticks
	}
	return sum
}

// cpuOf is the CPU time that a process has taken so far.
func cpuOf(pid int) time.Duration {
	f := statFields(strconv.Itoa(pid))
	if len(f) < 15 {
		return 0
	}
	return sumTicks(f[11:13])
}

// cpuOfTree is that of a process, its children, and those of its children that have ended.
func cpuOfTree(pid int) time.Duration {
	f := statFields(strconv.Itoa(pid))
	if len(f) < 15 {
		return 0
	}
	sum := sumTicks(f[11:15])
	all, _ := filepath.Glob("/proc/[0-9]*")
	for _, dir := range all {
		if f := statFields(filepath.Base(dir)); len(f) >= 15 && f[1] == strconv.Itoa(pid) {
			sum += sumTicks(f[11:13])
		}
	}
	return sum
}

// peakRSS is the most memory that a process has had, in MB.
func peakRSS(pid int) float64 {
	b, _ := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "status"))
	for line := range strings.Lines(string(b)) {
		if value, ok := strings.CutPrefix(line, "VmHWM:"); ok {
			kb, _ := strconv.ParseFloat(strings.Fields(value)[0], 64)
			return kb / 1024
		}
	}
	return 0
}

// machine describes what the figures were taken on.
func machine() string {
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
	return strconv.Itoa(runtime.NumCPU()) + " CPUs (" + model + "), " + ram + ", " + runtime.Version()
}
