package render

import (
	"fmt"
	"io"
	"math"
	"slices"
	"strings"

	"github.com/goipq/goipq/internal/bench/plain"
	"github.com/goipq/goipq/internal/bench/report"
)

// Comparison prints which documents are compared, their figures side by
// side, and what the rows come to. It reports whether something is slower.
func Comparison(w io.Writer, before, after *report.Document, c *report.Comparison, rows []report.Row) bool {
	printDifferences(w, before, after)
	labels, cells := []string{""}, [][]string{{"old", "new", "new/old", "p", ""}}
	group := ""
	var slower, notes, noise []string
	for _, r := range rows {
		b, a := r.Before.Median(), r.After.Median()
		if r.Before.Group != group {
			group = r.Before.Group
			labels, cells = append(labels, group), append(cells, make([]string, 5))
		}
		mark := ""
		if r.Before.Noisy != "" || r.After.Noisy != "" {
			mark = " !"
		}
		labels = append(labels, "  "+r.Before.Label)
		cells = append(cells, []string{
			plain.Fixed(b, r.Before.Decimals), plain.Fixed(a, r.Before.Decimals), proportion(b, a),
			fmt.Sprintf("%.3f", r.P), r.Verdict + mark,
		})
		switch {
		case r.Verdict == report.IsSlower:
			slower = append(slower, fmt.Sprintf("%s, %s", group, r.Before.Label))
		case strings.HasSuffix(group, report.ModeUnqueued) && r.Verdict != report.IsSame && r.Before.Better != 0:
			notes = append(notes, fmt.Sprintf("%s: %s changed, too: that is the machine, not goipq.", group, r.Before.Label))
		}
		for _, s := range []report.Series{r.Before, r.After} {
			if s.Noisy != "" {
				noise = append(noise, fmt.Sprintf("%s, %s: %s", group, s.Label, s.Noisy))
			}
		}
	}
	plain.Table(w, labels, cells)
	fmt.Fprintln(w)
	width := plain.TextWidth(w)
	for _, note := range append(notes, marked(noise)...) {
		plain.Field(w, width, "note", note)
	}
	if len(slower) > 0 {
		plain.Field(w, width, "slower", fmt.Sprintf("significantly (Mann-Whitney, p < %g) and by %g %% or more: %s",
			c.Alpha, c.Threshold, strings.Join(slower, "; ")))
		return true
	}
	plain.Field(w, width, "result", fmt.Sprintf("nothing is slower, significantly (Mann-Whitney, p < %g) and by %g %% or more",
		c.Alpha, c.Threshold))
	return false
}

// proportion is the ratio of after to before.
func proportion(before, after float64) string {
	if before == 0 {
		return "-"
	}
	return plain.Fixed(math.Abs(after/before), 3)
}

// printDifferences says which documents are compared, and which of their settings
// differ.
func printDifferences(w io.Writer, before, after *report.Document) {
	width := plain.TextWidth(w)
	plain.Field(w, width, "old", before.Describe())
	plain.Field(w, width, "new", after.Describe())
	for _, d := range report.Differences(before, after) {
		plain.Field(w, width, "differs", d)
	}
	inBoth := func(of, other *report.Document, name string) {
		keys := make(map[string]bool)
		for _, s := range other.Series() {
			keys[s.Group] = true
		}
		var missing []string
		for _, s := range of.Series() {
			if !keys[s.Group] && !slices.Contains(missing, s.Group) {
				missing = append(missing, s.Group)
			}
		}
		if len(missing) > 0 {
			plain.Field(w, width, "only "+name, strings.Join(missing, "; "))
		}
	}
	inBoth(before, after, "old")
	inBoth(after, before, "new")
	fmt.Fprintln(w)
}
