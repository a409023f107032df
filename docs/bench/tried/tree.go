package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// tree makes the other tree in dir.
func (o *other) tree(dir string) (string, error) {
	tree, err := os.MkdirTemp(dir, "tree")
	if err != nil {
		return "", err
	}
	commit := o.commit
	if commit == "" {
		commit = "HEAD"
	}
	archive := exec.Command("sh", "-c", `git archive "$1" | tar -x -C "$2"`, "sh", commit, tree)
	if text, err := archive.CombinedOutput(); err != nil {
		return "", fmt.Errorf("git archive %s: %w: %s", commit, err, text)
	}
	for _, e := range o.edits {
		if err := e.apply(tree); err != nil {
			return "", err
		}
	}
	return tree, nil
}

func (e *edit) apply(tree string) error {
	name := filepath.Join(tree, filepath.FromSlash(e.file))
	text, err := os.ReadFile(name)
	if err != nil {
		return err
	}
	if n := strings.Count(string(text), e.from); n != 1 {
		return fmt.Errorf("%s has %q %d times, want once", e.file, e.from, n)
	}
	return os.WriteFile(name, []byte(strings.Replace(string(text), e.from, e.to, 1)), 0o666)
}
