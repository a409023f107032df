package goipq_test

import (
	"maps"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

var (
	testFunc = regexp.MustCompile(`(?m)^func ((?:Test|Fuzz|Benchmark)[A-Z]\w*)\(`)
	testName = regexp.MustCompile(`\b(?:Test|Fuzz|Benchmark)[A-Z]\w*`)
	// [TestX](../folder/file_test.go)
	testLink = regexp.MustCompile(`\[((?:Test|Fuzz|Benchmark)[A-Z]\w*)\]\(([^)]*)\)`)
)

// What the documents name as tests are tests, and where they are said to be.
func TestDocumentsNameTests(t *testing.T) {
	where := map[string][]string{} // the files of each
	for name, source := range goFiles(t) {
		if strings.HasSuffix(name, "_test.go") {
			for _, m := range testFunc.FindAllSubmatch(source, -1) {
				where[string(m[1])] = append(where[string(m[1])], name)
			}
		}
	}
	documents, err := filepath.Glob("docs/*.md")
	if err != nil {
		t.Fatal(err)
	}
	links := 0
	for _, name := range documents {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		named := map[string]bool{}
		for _, n := range testName.FindAllString(string(text), -1) {
			named[n] = true
		}
		for _, n := range slices.Sorted(maps.Keys(named)) {
			if where[n] == nil {
				t.Errorf("%s names %s, which is no test", name, n)
			}
		}
		for _, m := range testLink.FindAllStringSubmatch(string(text), -1) {
			links++
			if file := path.Join("docs", m[2]); !slices.Contains(where[m[1]], file) {
				t.Errorf("%s links %s to %s, but it is in %q", name, m[1], file, where[m[1]])
			}
		}
	}
	if links == 0 {
		t.Error("no document links to a test")
	}
}

// Files that the documents for developers name are there.
func TestDocumentsNameFiles(t *testing.T) {
	fileName := regexp.MustCompile("`([\\w./-]+\\.(?:go|md|txt|sh))`")
	named := 0
	for _, document := range []string{"docs/architecture.md", "CONTRIBUTING.md"} {
		text, err := os.ReadFile(document)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range fileName.FindAllStringSubmatch(string(text), -1) {
			if strings.Contains(m[1], "_x.") { // an example
				continue
			}
			named++
			found := false
			for _, folder := range []string{".", "ipq", "internal/zerocopy"} {
				_, err := os.Stat(path.Join(folder, m[1]))
				found = found || err == nil
			}
			if !found {
				t.Errorf("%s names %s, which is no file", document, m[1])
			}
		}
	}
	if named < 20 {
		t.Errorf("%d files are named", named)
	}
}
