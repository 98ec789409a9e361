package main

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"
)

// The files that are checked in are those that the source makes. If they are not: go generate ./verify
func TestUpToDate(t *testing.T) {
	files, err := generate()
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range files {
		got, err := os.ReadFile(filepath.Join("..", name))
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(got, want) {
			t.Errorf("%s is out of date: go generate ./verify", name)
		}
	}
}

// Each file is what its schema says, and the schema notices what is not.
func TestSchemas(t *testing.T) {
	files, err := generate()
	if err != nil {
		t.Fatal(err)
	}
	for name, content := range files {
		schema, err := jsonschema.NewCompiler().Compile(filepath.Join("..", strings.Replace(name, ".json",
			".schema.json", 1)))
		if err != nil {
			t.Fatal(err)
		}
		validate := func(content []byte) error {
			document, err := jsonschema.UnmarshalJSON(bytes.NewReader(content))
			if err != nil {
				t.Fatal(err)
			}
			return schema.Validate(document)
		}
		if err := validate(content); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		for _, change := range [][2]string{
			{`"verdict":"ok"`, `"verdict":"fine"`},
			{`"comment":`, `"remark":`},
			{`"at":1,`, `"at":1,"cut":true,`},
			{`"token":"`, `"authorization":["x"],"token":"`},
		} {
			if changed := bytes.Replace(content, []byte(change[0]), []byte(change[1]), 1); !bytes.Equal(changed,
				content) && validate(changed) == nil {
				t.Errorf("%s: %s instead of %s is taken", name, change[1], change[0])
			}
		}
	}
}

// No id is twice, in one file or in both, and each test says what it is about.
func TestIDs(t *testing.T) {
	files, err := generate()
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	for name, content := range files {
		var file struct {
			Tests []struct{ ID, Comment string }
		}
		if err := json.Unmarshal(content, &file); err != nil {
			t.Fatal(err)
		}
		for _, test := range file.Tests {
			if seen[test.ID] || test.Comment == "" {
				t.Errorf("%s: %q is twice, or has no comment", name, test.ID)
			}
			seen[test.ID] = true
		}
	}
}
