package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// markdown writes the table as GitHub reads it.
func (t *pageTable) markdown() string {
	var text strings.Builder
	line := func(cells []string) {
		fmt.Fprintf(&text, "| %s |\n", strings.Join(cells, " | "))
	}
	line(t.Head)
	rule := make([]string, len(t.Head))
	for i := range rule {
		rule[i] = "---:"
	}
	rule[0] = "---"
	line(rule)
	for _, row := range t.Rows {
		cells := make([]string, len(row))
		for i, c := range row {
			cells[i] = c.Text
			if c.Below != "" {
				cells[i] += "<br><sub>" + c.Below + "</sub>"
			}
		}
		line(cells)
	}
	return text.String()
}

// A sampled is what docs/bench/profile.sh writes: where a consumer's CPU time
// goes.
type sampled struct {
	Kind      string      `json:"kind"`
	Parts     []timeShare `json:"parts"`     // goipq's own, with all that they call
	Functions []timeShare `json:"functions"` // of kernel and program, without
}

type timeShare struct {
	Function string  `json:"function"`
	Percent  float64 `json:"percent"`
}

// profile is a table of a profile: "parts" or "functions".
func (q *quoter) profile(name, which string) (string, error) {
	text, err := os.ReadFile(filepath.Join(q.folder, name))
	if err != nil {
		return "", err
	}
	var p sampled
	if err := json.Unmarshal(text, &p); err != nil || p.Kind != "profile" {
		return "", fmt.Errorf("%s is not a profile of docs/bench/profile.sh: %w", name, err)
	}
	shares := p.Parts
	if which == "functions" {
		shares = p.Functions
	}
	t := pageTable{Head: []string{"function", "% of its CPU time"}}
	for _, s := range shares {
		t.Rows = append(t.Rows, []pageCell{{Text: "`" + s.Function + "`"}, {Text: fixed(s.Percent, 1)}})
	}
	return strings.TrimRight(t.markdown(), "\n"), nil
}
