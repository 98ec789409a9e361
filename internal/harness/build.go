// Package harness builds the product, starts it and waits for it, for the programs that measure and torture it:
// cmd/curfew-bench and cmd/curfew-torture. A [Product] is an installation, a [Node] one `curfew serve` of it.
package harness

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// Tags are the build tags that the product is shipped with (Makefile, Dockerfile): without Gin's MessagePack, which
// nothing here uses and which takes longer to compile than anything else.
const Tags = "nomsgpack"

// Program is the package of the product's command.
const Program = "curfew/cmd/curfew"

// Root is the folder of go.mod.
func Root(ctx context.Context) (string, error) {
	out, err := exec.CommandContext(ctx, "go", "list", "-m", "-f", "{{.Dir}}", "curfew").Output()
	if err != nil {
		return "", fmt.Errorf("run it inside the module: %w", err)
	}
	return strings.TrimSpace(string(out)), nil
}

// Build compiles one of the module's commands into a file. overlay, if not empty, is a file for `go build -overlay`.
func Build(ctx context.Context, program, file, overlay string) error {
	args := []string{"build", "-tags", Tags, "-o", file}
	if overlay != "" {
		args = append(args, "-overlay", overlay)
	}
	text, err := exec.CommandContext(ctx, "go", append(args, program)...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("go build %s: %w\n%s", program, err, text)
	}
	return nil
}

// BuildProduct compiles the product into a folder of its own, unless it is given already built.
func BuildProduct(ctx context.Context, given string) (binary string, remove func(), err error) {
	if given != "" {
		return given, func() {}, nil
	}
	dir, err := os.MkdirTemp("", "curfew-build-")
	if err != nil {
		return "", nil, err
	}
	binary = filepath.Join(dir, "curfew")
	if err := Build(ctx, Program, binary, ""); err != nil {
		os.RemoveAll(dir)
		return "", nil, err
	}
	return binary, func() { os.RemoveAll(dir) }, nil
}

// Overlay writes a list for [Build]: the module's files and what stands in their places, "" for nothing at all.
func Overlay(file string, replace map[string]string) error {
	list, err := json.Marshal(map[string]any{"Replace": replace})
	if err != nil {
		return err
	}
	return os.WriteFile(file, list, 0o600)
}
