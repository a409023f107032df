package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/goipq/goipq/internal/bench/benchtest"
)

func TestRenderRefuses(t *testing.T) {
	good := save(t, benchtest.Report(1000, 600))
	for want, args := range map[string][]string{
		"needs -o":        {good},
		"at least one":    {"-o", "f"},
		"not defined":     {"-x"},
		"no such file":    {"-o", filepath.Join(t.TempDir(), "f"), "none"},
		"has schema 1,":   {"-o", filepath.Join(t.TempDir(), "f"), save(t, map[string]int{"schema": 1})},
		"in its director": {"-o", filepath.Join(t.TempDir(), "none", "f"), good},
	} {
		var stdout, stderr strings.Builder
		status := makeHTML(args, &stdout, &stderr)
		if text := stderr.String(); status != exitUsage || !strings.Contains(text, want) || strings.Count(text, "\n") != 1 {
			t.Errorf("%v: exit status %d, %q, want %q", args, status, text, want)
		}
	}
}

func TestSVGFiles(t *testing.T) {
	report := save(t, benchtest.Report(1000, 600, 610))
	dir := filepath.Join(t.TempDir(), "new")
	var stdout, stderr strings.Builder
	if status := makeSVG([]string{"-o", dir, report}, &stdout, &stderr); status != exitOK || stdout.Len() == 0 {
		t.Fatalf("exit status %d: %s", status, stderr.String())
	}
	for name := range strings.Lines(stdout.String()) {
		if text, err := os.ReadFile(strings.TrimSpace(name)); err != nil || !strings.HasPrefix(string(text), "<svg ") {
			t.Errorf("%s: %v, %.60s", name, err, text)
		}
	}
}

func TestMarkdownRefuses(t *testing.T) {
	dir := t.TempDir()
	template := filepath.Join(dir, "template")
	if err := os.WriteFile(template, []byte(`{{nonsense}}`), 0o600); err != nil {
		t.Fatal(err)
	}
	for want, args := range map[string][]string{
		"needs -o, -svg":  nil,
		"not defined: -x": {"-x"},
		`"nonsense"`:      {"-o", filepath.Join(dir, "page.md"), "-svg", dir, template},
	} {
		var stdout, stderr strings.Builder
		status := makeMarkdown(args, &stdout, &stderr)
		if text := stderr.String(); status != exitUsage || !strings.Contains(text, want) || strings.Count(text, "\n") != 1 {
			t.Errorf("%v: exit status %d, %q, want %q", args, status, text, want)
		}
	}
}
