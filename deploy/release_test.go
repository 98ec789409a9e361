package deploy_test

import (
	"archive/tar"
	"compress/gzip"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
)

// Two builds of one tagged commit in two folders are equal to the byte, bear the tag's version, and hold what they are
// to hold.
func TestRelease(t *testing.T) {
	command := func(dir, name string, args ...string) string {
		t.Helper()
		cmd := exec.CommandContext(t.Context(), name, args...)
		cmd.Dir = dir
		cmd.Env = append(os.Environ(), "RELEASE_TARGETS="+runtime.GOOS+"/"+runtime.GOARCH,
			"GIT_CONFIG_COUNT=2", "GIT_CONFIG_KEY_0=user.name", "GIT_CONFIG_VALUE_0=t", "GIT_CONFIG_KEY_1=user.email", "GIT_CONFIG_VALUE_1=t@example.com")
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("%s %q: %v\n%s", name, args, err, out)
		}
		return string(out)
	}
	var sums [2]string
	first := t.TempDir()
	for i, dir := range []string{filepath.Join(first, "a"), filepath.Join(t.TempDir(), "somewhere", "else")} {
		command("..", "git", "clone", "--quiet", "--shared", ".", dir)
		command(dir, "git", "tag", "--force", "v9.8.7")
		command(dir, "deploy/release.sh")
		command(filepath.Join(dir, "dist"), "sha256sum", "--check", "--strict", "SHA256SUMS")
		sums[i] = read(t, filepath.Join(dir, "dist", "SHA256SUMS"))
	}
	archive := "curfew-v9.8.7-" + runtime.GOOS + "-" + runtime.GOARCH
	line := func(sums string) string {
		for l := range strings.Lines(sums) {
			if strings.HasSuffix(l, "  "+archive+".tar.gz\n") {
				return l
			}
		}
		t.Fatalf("no %s in %s", archive, sums)
		return ""
	}
	if line(sums[0]) != line(sums[1]) {
		t.Errorf("not reproducible:\n%s%s", sums[0], sums[1])
	}
	held := unpack(t, filepath.Join(first, "a", "dist", archive+".tar.gz"))
	for _, name := range []string{"curfew", "README.md", "deploy/curfew.service", "deploy/gate/nginx.conf", "deploy/kubernetes/curfew.yaml"} {
		if held[archive+"/"+name] == nil {
			t.Errorf("%s is not in the archive", name)
		}
	}
	for name := range held {
		if strings.HasSuffix(name, "_test.go") {
			t.Errorf("%s is in the archive", name)
		}
	}
	program := filepath.Join(t.TempDir(), "curfew")
	if err := os.WriteFile(program, held[archive+"/curfew"], 0o755); err != nil {
		t.Fatal(err)
	}
	if out := command(".", program, "version"); out != "v9.8.7\n" {
		t.Errorf("its version: %s", out)
	}
	// The packages of the other languages bear the version too, where there are any.
	if _, err := os.Stat("../verify/js/package.json"); err == nil && !strings.Contains(sums[0], "  curfew-verify-9.8.7.tgz\n") {
		t.Errorf("no npm package: %s", sums[0])
	}
	if _, err := os.Stat("../verify/python/pyproject.toml"); err == nil {
		for _, name := range []string{"curfew_verify-9.8.7-py3-none-any.whl", "curfew_verify-9.8.7.tar.gz"} {
			if !strings.Contains(strings.ReplaceAll(sums[0], "curfew-verify-9.8.7.tar", "curfew_verify-9.8.7.tar"), "  "+name+"\n") {
				t.Errorf("no %s: %s", name, sums[0])
			}
		}
	}
}

func unpack(t *testing.T, name string) map[string][]byte {
	t.Helper()
	f, err := os.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	held := map[string][]byte{}
	for r := tar.NewReader(z); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return held
		}
		if err != nil {
			t.Fatal(err)
		}
		if held[h.Name], err = io.ReadAll(r); err != nil {
			t.Fatal(err)
		}
	}
}
