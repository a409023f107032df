package render

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/goipq/goipq/internal/peers"
)

// Every number of BENCHMARKS.md, and every plot, is what the reports beside its
// template say.
func TestBenchmarksPage(t *testing.T) {
	t.Chdir("../../..")
	page, plots, err := Markdown("docs/bench/BENCHMARKS.md.tmpl", "BENCHMARKS.md", "docs/plots")
	if err != nil {
		t.Fatal(err)
	}
	plots["BENCHMARKS.md"] = page
	for name, want := range plots {
		if got, err := os.ReadFile(name); err != nil || !bytes.Equal(got, want) {
			t.Errorf("%s is not what its reports say (%v): sh docs/bench/measure.sh page", name, err)
		}
	}
	kept, err := filepath.Glob("docs/plots/*.svg")
	if err != nil || len(kept) != len(plots)-1 {
		t.Errorf("docs/plots has %d plots, the page shows %d: %v", len(kept), len(plots)-1, err)
	}
}

// What a template asks for and its reports do not have is named in one line.
func TestTemplateErrors(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	for text, want := range map[string]string{
		"{{tables \"none.json\"}}":               "no such file",
		"{{table \"peers.json\" \"nothing\"}}":   "has no table",
		"{{value \"peers.json\" \"a\" \"b\"}}":   "has no \"b\" of \"a\"",
		"{{profile \"peers.json\" \"parts\"}}":   "is not a profile",
		"{{tried \"peers.json\"}}":               "is not a file of docs/bench/tried",
		"{{plots \"peers.json\" \"no plot\"}}":   "has no plot",
		"{{nonsense}}":                           "not defined",
		"{{machine \"other.json\"}} and no more": "is not a report",
	} {
		write("peers.json", fmt.Sprintf(`{"kind": %q, "schema": %d}`, peers.Kind, peers.Schema))
		write("other.json", "{")
		_, _, err := Markdown(write("t", text), filepath.Join(dir, "page.md"), dir)
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: %v, want %q", text, err, want)
		}
	}
}
