package main

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// defaultData is the folder of `dev`, in the working directory.
const defaultData = "curfew-data"

const (
	dataFile   = "curfew.db"
	secretName = "secret"
)

// dataVariables lead to the data in a folder of `dev`.
func dataVariables(folder string) []string {
	return []string{
		prefix + "DATABASE_URL=sqlite:" + filepath.Join(folder, dataFile),
		prefix + "SECRET_FILE=" + filepath.Join(folder, secretName),
	}
}

// toolEnv is the environment of the tools. Where it names no data and no secret, they work on what `dev` keeps in the
// working directory, if there is such a folder, and say so.
func (p *program) toolEnv() []string {
	values, _ := curfewVariables(p.env)
	for _, name := range []string{"DATABASE_URL", "DATABASE_PASSWORD_FILE", "SECRET", "SECRET_FILE"} {
		if values[name] != "" {
			return p.env
		}
	}
	for _, name := range []string{dataFile, secretName} {
		if _, err := os.Stat(filepath.Join(defaultData, name)); err != nil {
			return p.env
		}
	}
	fmt.Fprintf(p.stderr, "curfew: %sDATABASE_URL is not set; this is about the data of `curfew dev` in %s\n", prefix,
		defaultData)
	return append(slices.Clone(p.env), dataVariables(defaultData)...)
}

// explainData says how the other commands find the data in a folder, and which variables of the environment dev leaves
// alone.
func explainData(w io.Writer, folder string, env []string) error {
	folder, err := filepath.Abs(folder)
	if err != nil {
		return err
	}
	line := "export"
	for _, pair := range dataVariables(folder) {
		name, value, _ := strings.Cut(pair, "=")
		line += " " + name + "=" + shellWord(value)
	}
	fmt.Fprintf(w, "Commands like `curfew device list` find this data after\n\n  %s\n\n", line)
	if values, _ := curfewVariables(env); len(values) > 0 {
		names := make([]string, 0, len(values))
		for name := range values {
			names = append(names, prefix+name)
		}
		slices.Sort(names)
		fmt.Fprintf(w, "Set, but not read here: %s.\n\n", strings.Join(names, ", "))
	}
	return nil
}

var plainWord = regexp.MustCompile(`^[A-Za-z0-9_./:@%+,-]+$`)

// shellWord quotes a word for a shell where it must be.
func shellWord(s string) string {
	if plainWord.MatchString(s) {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}

// serverVariables are those that a flag of dev sets. An error names the flag.
func (c *devCommand) serverVariables() (pairs []string, err error) {
	for _, flag := range []struct{ name, variable, value string }{
		{"access-ttl", "ACCESS_TTL", c.AccessTTL}, {"issuer", "ISSUER", c.Issuer},
	} {
		if flag.value == "" {
			continue
		}
		i := slices.IndexFunc(variables, func(v variable) bool { return v.name == flag.variable })
		if err := variables[i].set(&config{}, flag.value); err != nil {
			return nil, usage("--%s: %w; it must be %s", flag.name, err, variables[i].must)
		}
		pairs = append(pairs, prefix+flag.variable+"="+flag.value)
	}
	return pairs, nil
}
