package main

import (
	"fmt"
	"io"
	"math"
	"slices"
	"strings"

	"github.com/goipq/goipq/internal/bench/plain"
)

// printComparison prints which documents are compared, their figures side by
// side, and what the rows come to. It reports whether something is slower.
func printComparison(w io.Writer, before, after *document, c *comparison, rows []row) bool {
	printDifferences(w, before, after)
	labels, cells := []string{""}, [][]string{{"old", "new", "new/old", "p", ""}}
	group := ""
	var slower, notes, noise []string
	for _, r := range rows {
		b, a := r.before.median(), r.after.median()
		if r.before.group != group {
			group = r.before.group
			labels, cells = append(labels, group), append(cells, make([]string, 5))
		}
		mark := ""
		if r.before.noisy != "" || r.after.noisy != "" {
			mark = " !"
		}
		labels = append(labels, "  "+r.before.label)
		cells = append(cells, []string{
			plain.Fixed(b, r.before.decimals), plain.Fixed(a, r.before.decimals), proportion(b, a),
			fmt.Sprintf("%.3f", r.p), r.verdict + mark,
		})
		switch {
		case r.verdict == isSlower:
			slower = append(slower, fmt.Sprintf("%s, %s", group, r.before.label))
		case strings.HasSuffix(group, modeUnqueued) && r.verdict != isSame && r.before.better != 0:
			notes = append(notes, fmt.Sprintf("%s: %s changed, too: that is the machine, not goipq.", group, r.before.label))
		}
		for _, s := range []series{r.before, r.after} {
			if s.noisy != "" {
				noise = append(noise, fmt.Sprintf("%s, %s: %s", group, s.label, s.noisy))
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
			c.alpha, c.threshold, strings.Join(slower, "; ")))
		return true
	}
	plain.Field(w, width, "result", fmt.Sprintf("nothing is slower, significantly (Mann-Whitney, p < %g) and by %g %% or more",
		c.alpha, c.threshold))
	return false
}

// proportion is after over before.
func proportion(before, after float64) string {
	if before == 0 {
		return "-"
	}
	return plain.Fixed(math.Abs(after/before), 3)
}

// printDifferences says which documents are compared, and in what beside
// goipq's speed they differ.
func printDifferences(w io.Writer, before, after *document) {
	width := plain.TextWidth(w)
	plain.Field(w, width, "old", before.describe())
	plain.Field(w, width, "new", after.describe())
	for _, d := range differences(before, after) {
		plain.Field(w, width, "differs", d)
	}
	inBoth := func(of, other *document, name string) {
		keys := make(map[string]bool)
		for _, s := range other.series() {
			keys[s.group] = true
		}
		var missing []string
		for _, s := range of.series() {
			if !keys[s.group] && !slices.Contains(missing, s.group) {
				missing = append(missing, s.group)
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
