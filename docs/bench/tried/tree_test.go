package main

import (
	"os"
	"path/filepath"
	"testing"
)

// The edits fit the tree as it is now.
func TestEditsFit(t *testing.T) {
	const root = "../../.."
	for _, c := range changes {
		tree := t.TempDir()
		for _, e := range c.other.edits {
			name := filepath.Join(tree, e.file)
			if _, err := os.Stat(name); err != nil { // its first edit
				text, err := os.ReadFile(filepath.Join(root, e.file))
				if err != nil {
					t.Fatal(err)
				}
				if err := os.MkdirAll(filepath.Dir(name), 0o777); err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(name, text, 0o666); err != nil {
					t.Fatal(err)
				}
			}
			if err := e.apply(tree); err != nil {
				t.Errorf("%s: %v", c.what, err)
			}
		}
	}
}

// Each change has one other side.
func TestChangesAreWhole(t *testing.T) {
	for _, c := range changes {
		others := 0
		for _, has := range []bool{c.other.edits != nil, c.other.commit != "", c.other.flags != ""} {
			if has {
				others++
			}
		}
		if others != 1 || c.what == "" || c.run == "" || c.figure == "" {
			t.Errorf("%+v", c)
		}
	}
}
