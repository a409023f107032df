package main

import (
	_ "embed"
	"errors"
	"io/fs"
	"os"
	"strings"
	"testing"
)

//go:embed main.go
var source string

// README.md shows this program, from its package clause on, as it is.
func TestReadme(t *testing.T) {
	block := "```go\n" + source[strings.Index(source, "package main\n"):] + "```\n"
	if n := strings.Count(block, "\n") - 2; n >= 40 {
		t.Errorf("the program has %d lines, want less than 40", n)
	}
	readme, err := os.ReadFile("../../README.md")
	if errors.Is(err, fs.ErrNotExist) {
		return // not in this tree, as where a compiled test runs elsewhere
	}
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(readme), block) {
		t.Errorf("README.md does not hold this block:\n%s", block)
	}
}
