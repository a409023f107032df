package render

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/goipq/goipq/internal/bench/report"
	"github.com/goipq/goipq/internal/peers"
)

// Every number of the pages, and every plot, is what the reports beside their
// templates say. No cell of a table is empty, and no link of a page leads nowhere.
func TestPages(t *testing.T) {
	t.Chdir("../../..")
	templates, err := filepath.Glob("docs/bench/*.md.tmpl")
	if err != nil || len(templates) == 0 {
		t.Fatalf("no templates: %v", err)
	}
	shown := make(map[string]bool)
	for _, tmpl := range templates {
		name := strings.TrimSuffix(tmpl, ".tmpl")
		if filepath.Base(name) == "BENCHMARKS.md" {
			name = "BENCHMARKS.md"
		}
		page, plots, err := Markdown(tmpl, name, "docs/plots")
		if err != nil {
			t.Error(err)
			continue
		}
		for plot := range plots {
			shown[plot] = true
		}
		plots[name] = page
		for file, want := range plots {
			if got, err := os.ReadFile(file); err != nil || !bytes.Equal(got, want) {
				t.Errorf("%s is not what its reports say (%v): sh docs/bench/measure.sh page", file, err)
			}
		}
		checkTables(t, name, string(page))
		for _, link := range regexp.MustCompile(`\]\(([^)#]+)`).FindAllStringSubmatch(string(page), -1) {
			if strings.HasPrefix(link[1], "https://") {
				continue
			}
			if _, err := os.Stat(filepath.Join(filepath.Dir(name), link[1])); err != nil {
				t.Errorf("%s has a dead link: %v", name, err)
			}
		}
	}
	kept, err := filepath.Glob("docs/plots/*.svg")
	if err != nil || len(kept) != len(shown) {
		t.Errorf("docs/plots has %d plots, the pages show %d: %v", len(kept), len(shown), err)
	}
}

// checkTables looks for cells without a figure, but for the one in the corner.
func checkTables(t *testing.T, name, page string) {
	t.Helper()
	for _, line := range strings.Split(page, "\n") {
		if !strings.HasPrefix(line, "|") {
			continue
		}
		for i, cell := range strings.Split(strings.Trim(line, "|"), "|") {
			if text := strings.TrimSpace(cell); i > 0 && (text == "" || text == "-" || strings.Contains(text, "!")) {
				t.Errorf("%s has the cell %q in %s", name, text, line)
			}
		}
	}
}

// A published table has three digits, how well each is known, and nothing that is
// not known well.
func TestFigureTables(t *testing.T) {
	rep := fullReport()
	dir := t.TempDir()
	write := func(name string, v any) {
		text, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("run.json", rep)
	noisy := *rep
	noisy.Modes = slices.Clone(rep.Modes)
	noisy.Modes[1].Rounds = slices.Clone(rep.Modes[1].Rounds)
	for i := range noisy.Modes[1].Rounds {
		noisy.Modes[1].Rounds[i].Arrived *= uint64(i + 1)
	}
	write("noisy.json", noisy)
	rival := contestants()
	write("peers.json", rival)
	for text, want := range map[string]string{
		`{{figures "run.json"}}`:               "Without a queue: ",
		`{{figures "noisy.json"}}`:             "Left out, since the rounds do not tell them well enough: arrived/s",
		`{{contest "peers.json" "saturated"}}`: "÷ ",
	} {
		tmpl := filepath.Join(dir, "t")
		if err := os.WriteFile(tmpl, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		page, _, err := Markdown(tmpl, filepath.Join(dir, "page.md"), dir)
		if err != nil || !strings.Contains(string(page), want) {
			t.Errorf("%s: %v, no %q in\n%s", text, err, want, page)
		}
		checkTables(t, text, string(page))
	}
	d := &report.Document{Run: &noisy}
	noisy.Finish(false)
	if all, kept := rateTitles(drawings(d)), rateTitles(drawings(published(d))); !strings.Contains(all, "inline: ") || strings.Contains(kept, "inline: ") || kept == "" {
		t.Errorf("of the bars %q those are published: %q", all, kept)
	}
	for x, want := range map[float64]string{265_432: "265k", 1_064_321: "1.06M", 1784: "1,780", 15_687: "15,700", 999.7: "1,000", 312.4: "312", 98.76: "98.8", 0.947: "0.95"} {
		if got := three(x); got != want {
			t.Errorf("%v is %q, want %q", x, got, want)
		}
	}
}

// rateTitles are the tooltips of the drawing of rates.
func rateTitles(all []drawing) string {
	for _, x := range all {
		if x.name == "rate" {
			return strings.Join(regexp.MustCompile("<title>[^<]*").FindAllString(string(x.svg(wideWidth, true)), -1), "\n")
		}
	}
	return ""
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
		"{{figures \"none.json\"}}":              "no such file",
		"{{figures \"peers.json\"}}":             "is a comparison with peers",
		"{{contest \"peers.json\" \"nothing\"}}": "has no contest",
		"{{command \"peers.json\"}}":             "no such file",
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
