package main

import (
	"fmt"
	"io"
	"strings"
)

// printTable prints a row for each metric and, for each mode, a group of three
// columns: the median of its rounds, the least and the most.
//
// With two modes it is some 80 columns wide, and 100 when there are figures of
// tens of millions everywhere.
func printTable(w io.Writer, rep *report) {
	lines := []string{""} // below the titles: the heads, then the metrics
	for _, x := range metrics {
		lines = append(lines, x.label)
	}
	titles := strings.Repeat(" ", pad(lines))
	for i := range rep.Modes {
		m := &rep.Modes[i]
		rows := [][3]string{{"median", "min", "max"}}
		for _, x := range metrics {
			rows = append(rows, m.cells(x))
		}
		title := fmt.Sprintf(" %s, %s ", rep.title(m.Name), plural(len(m.Rounds), "round"))
		titles += groupGap + appendGroup(lines, rows, title)
	}
	fmt.Fprintln(w, strings.TrimRight(titles, " "))
	for _, line := range lines {
		fmt.Fprintln(w, line)
	}
}

const (
	groupGap  = "    "
	columnGap = "  "
)

// pad makes all lines as wide as the widest, and returns its width.
func pad(lines []string) int {
	width := 0
	for _, l := range lines {
		width = max(width, len(l))
	}
	for i, l := range lines {
		lines[i] = l + strings.Repeat(" ", width-len(l))
	}
	return width
}

// appendGroup appends the rows to the lines, in columns aligned to the right.
// It returns the title as a rule of the same width; a wider one widens the
// first column.
func appendGroup(lines []string, rows [][3]string, title string) string {
	var widths [3]int
	for _, row := range rows {
		for c, cell := range row {
			widths[c] = max(widths[c], len(cell))
		}
	}
	total := widths[0] + widths[1] + widths[2] + 2*len(columnGap)
	if more := len(title) - total; more > 0 {
		widths[0] += more
		total += more
	}
	for i, row := range rows {
		lines[i] += groupGap + fmt.Sprintf("%*s%s%*s%s%*s",
			widths[0], row[0], columnGap, widths[1], row[1], columnGap, widths[2], row[2])
	}
	dashes := total - len(title)
	return strings.Repeat("-", dashes/2) + title + strings.Repeat("-", dashes-dashes/2)
}

// cells returns the three cells of a metric, dashes without a round.
func (m *mode) cells(x metric) [3]string {
	s, ok := m.Summary[x.name]
	if !ok {
		return [3]string{"-", "-", "-"}
	}
	sign := ""
	if x.loss && m.guessed() {
		sign = "~"
	}
	return [3]string{
		sign + fixed(s.Median, x.decimals),
		sign + fixed(s.Min, x.decimals),
		sign + fixed(s.Max, x.decimals),
	}
}

// guessed reports whether the kernel did not tell what it dropped.
func (m *mode) guessed() bool {
	for i := range m.Rounds {
		if !m.Rounds[i].QueueKnown {
			return true
		}
	}
	return false
}

func plural(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}
