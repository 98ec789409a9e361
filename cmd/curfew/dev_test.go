package main

import (
	"bufio"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"curfew/internal/need"
	"curfew/internal/testdb"
)

// startDev runs `curfew dev`, and gives back what it prints up to the admin's line, and a function that stops it.
func (b *box) startDev(data string, more ...string) (printed []string, stop func()) {
	b.t.Helper()
	cmd := b.command(append([]string{
		"dev", "--data", data, "--public-addr", "127.0.0.1:0", "--admin-addr",
		"127.0.0.1:0",
	}, more...)...)
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		b.t.Fatal(err)
	}
	var stderr strings.Builder
	cmd.Stderr = &stderr
	if err := cmd.Start(); err != nil {
		b.t.Fatal(err)
	}
	b.t.Cleanup(func() { _ = cmd.Process.Kill() })
	done := make(chan []string)
	go func() {
		var all []string
		for lines := bufio.NewScanner(stdout); lines.Scan(); {
			all = append(all, lines.Text())
			if strings.Contains(lines.Text(), "/admin/devices") {
				break
			}
		}
		done <- all
	}()
	select {
	case printed = <-done:
	case <-time.After(time.Minute):
		b.t.Fatal("curfew dev does not come up")
	}
	if len(printed) == 0 {
		_ = cmd.Wait()
		b.t.Fatalf("curfew dev: %s", stderr.String())
	}
	return printed, func() {
		b.t.Helper()
		if err := cmd.Process.Signal(syscall.SIGINT); err != nil {
			b.t.Fatal(err)
		}
		if err := cmd.Wait(); err != nil || stderr.Len() > 0 {
			b.t.Fatalf("curfew dev: %v %s", err, stderr.String())
		}
	}
}

// passwords are the lines that name them.
func passwords(printed []string) (lines []string) {
	for _, line := range printed {
		if strings.Contains(line, ", password ") {
			lines = append(lines, line)
		}
	}
	return lines
}

// linesToPaste are the commands, each with a line end behind its answer.
func linesToPaste(printed []string) (lines []string) {
	for _, line := range printed {
		if strings.Contains(line, "curl ") {
			lines = append(lines, line+"\necho")
		}
	}
	return lines
}

// checkModes: nobody else reads what is in the folder.
func checkModes(t *testing.T, data string) {
	t.Helper()
	for name, want := range map[string]os.FileMode{".": 0o700, "secret": 0o600, "demo.json": 0o600, "curfew.db": 0o600} {
		info, err := os.Stat(filepath.Join(data, name))
		if err != nil {
			t.Fatal(err)
		}
		if info.Mode().Perm() != want {
			t.Errorf("%s has the mode %o, want %o", name, info.Mode().Perm(), want)
		}
	}
}

// Ensure a newcomer can start it, paste what it prints, stop it and start it again.
func TestDev(t *testing.T) {
	b := newBox(t, testdb.SQLite(t))
	need.Program(t, "curl", "curl")
	data := filepath.Join(t.TempDir(), "new", "folder")
	var first []string
	for round, shell := range []string{"bash", "zsh"} {
		printed, stop := b.startDev(data)
		paste := linesToPaste(printed)
		if len(paste) != 5 {
			t.Fatalf("%d lines to paste: %q", len(paste), printed)
		}
		path, err := exec.LookPath(shell)
		if err != nil { // zsh is seldom on a server, and the second round is about the data
			path = need.Program(t, "bash", "curl")
		}
		sh := exec.CommandContext(t.Context(), path)
		sh.Stdin = strings.NewReader(strings.Join(paste, "\n"))
		out, err := sh.CombinedOutput()
		if err != nil {
			t.Fatalf("%s: %v: %s", path, err, out)
		}
		var answers []map[string]any
		for line := range strings.Lines(string(out)) {
			if line = strings.TrimSpace(line); line == "" {
				continue
			}
			var answer map[string]any
			if err := json.Unmarshal([]byte(line), &answer); err != nil {
				t.Fatalf("%v: %s", err, out)
			}
			answers = append(answers, answer)
		}
		if len(answers) != 5 {
			t.Fatalf("%d answers: %s", len(answers), out)
		}
		signIn, list, refresh, signOut, all := answers[0], answers[1], answers[2], answers[3], answers[4]
		if signIn["refresh_token"] == nil || refresh["refresh_token"] == nil ||
			signIn["refresh_token"] == refresh["refresh_token"] {
			t.Errorf("sign-in and refresh: %v %v", signIn, refresh)
		}
		if devices, _ := list["devices"].([]any); len(devices) != 1 {
			t.Errorf("my devices: %v", list)
		}
		if signOut["revocation"] == nil || signOut["count"] != 1.0 {
			t.Errorf("sign out everywhere: %v", signOut)
		}
		// demo's device, which is out, and the admin's: of this round and of the one before.
		if devices, _ := all["devices"].([]any); len(devices) != 2*(round+1) {
			t.Errorf("everybody's devices: %v", all)
		}
		if round == 0 {
			first = passwords(printed)
		} else if got := passwords(printed); len(got) != 2 || strings.Join(got, "\n") != strings.Join(first, "\n") {
			t.Errorf("the second start says %q, the first said %q", got, first)
		}
		stop()
	}
	checkModes(t, data)
	// New ones would not fit the database.
	for _, name := range []string{"demo.json", "secret"} {
		file := filepath.Join(data, name)
		if err := os.Rename(file, file+".away"); err != nil {
			t.Fatal(err)
		}
		b.refuse(1, "", []string{"dev", "--data", data, "--public-addr", "127.0.0.1:0", "--admin-addr", "127.0.0.1:0"}, name,
			"remove "+data)
		if err := os.Rename(file+".away", file); err != nil {
			t.Fatal(err)
		}
	}
	_, stop := b.startDev(data)
	stop()
	// What is in the environment may be a real database.
	if _, err := os.Stat(strings.TrimPrefix(strings.TrimPrefix(b.env[2], "CURFEW_DATABASE_URL="), "sqlite:")); err == nil {
		t.Error("it touched the database of the environment")
	}
}
