package render

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/goipq/goipq/internal/bench/plain"
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
	Functions []timeShare `json:"functions"` // of kernel and program, without what they call
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
	if json.Unmarshal(text, &p) != nil || p.Kind != "profile" {
		return "", fmt.Errorf("%s is not a profile of docs/bench/profile.sh", name)
	}
	shares := p.Parts
	if which == "functions" {
		shares = p.Functions
	}
	t := pageTable{Head: []string{"function", "% of its CPU time"}}
	for _, s := range shares {
		t.Rows = append(t.Rows, []pageCell{{Text: "`" + s.Function + "`"}, {Text: plain.Fixed(s.Percent, 1)}})
	}
	return strings.TrimRight(t.markdown(), "\n"), nil
}

// An attempt is one change in what docs/bench/tried writes. Its ratio is a figure
// with the change to that without: the median of the turns, and their quartiles.
type attempt struct {
	Change string `json:"change"`
	Kept   bool   `json:"kept"`
	Flags  string `json:"flags"`
	Figure string `json:"figure"`
	Ratio  struct {
		Median float64 `json:"median"`
		Low    float64 `json:"low"`
		High   float64 `json:"high"`
	} `json:"ratio"`
}

// tried is a table of changes and their effects.
func (q *quoter) tried(name string) (string, error) {
	text, err := os.ReadFile(filepath.Join(q.folder, name))
	if err != nil {
		return "", err
	}
	var file struct {
		Kind    string    `json:"kind"`
		Changes []attempt `json:"changes"`
	}
	if json.Unmarshal(text, &file) != nil || file.Kind != "tried" {
		return "", fmt.Errorf("%s is not a file of docs/bench/tried", name)
	}
	t := pageTable{Head: []string{"change", "`ipq-bench`", "figure", "with / without", "kept"}}
	for _, a := range file.Changes {
		kept := "no"
		if a.Kept {
			kept = "yes"
		}
		t.Rows = append(t.Rows, []pageCell{
			{Text: a.Change}, {Text: "`" + a.Flags + "`"}, {Text: strings.ReplaceAll(a.Figure, "_", " ")},
			{Text: plain.Fixed(a.Ratio.Median, 2), Below: plain.Fixed(a.Ratio.Low, 2) + " to " + plain.Fixed(a.Ratio.High, 2)}, {Text: kept},
		})
	}
	return strings.TrimRight(t.markdown(), "\n"), nil
}
