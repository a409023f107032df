package main

import (
	"fmt"
	"io"
	"strings"
	"unicode/utf8"
)

// printTable prints a row for each metric and, for each mode, a group of
// columns: the median of its rounds, the least and the most or, where there are
// many modes, half of what lies between these two as a share of the median.
//
// With two modes it is some 80 columns wide, and 100 when there are figures of
// tens of millions everywhere.
func printTable(w io.Writer, rep *report) {
	lines := []string{""} // below the titles: the heads, then the metrics
	metrics := rep.rows()
	for _, x := range metrics {
		lines = append(lines, x.label)
	}
	compact := len(rep.Modes) > 2
	titles := strings.Repeat(" ", pad(lines))
	for i := range rep.Modes {
		m := &rep.Modes[i]
		rows := [][]string{{"median", "min", "max"}}
		if compact {
			rows = [][]string{{"median", "±"}}
		}
		for _, x := range metrics {
			rows = append(rows, m.cells(x, compact))
		}
		title := fmt.Sprintf(" %s, %s ", rep.title(m.Name), plural(len(m.Rounds), "round"))
		titles += groupGap + appendGroup(lines, rows, title)
	}
	fmt.Fprintln(w, strings.TrimRight(titles, " "))
	for _, line := range lines {
		fmt.Fprintln(w, strings.TrimRight(line, " "))
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
		width = max(width, columns(l))
	}
	for i, l := range lines {
		lines[i] = l + strings.Repeat(" ", width-columns(l))
	}
	return width
}

// columns is how wide a text is: all its characters are of one column.
func columns(text string) int { return utf8.RuneCountInString(text) }

// appendGroup appends the rows to the lines, in columns aligned to the right.
// It returns the title as a rule of the same width; a wider one widens the
// first column.
func appendGroup(lines []string, rows [][]string, title string) string {
	widths := make([]int, len(rows[0]))
	for _, row := range rows {
		for c, cell := range row {
			widths[c] = max(widths[c], columns(cell))
		}
	}
	total := (len(widths) - 1) * len(columnGap)
	for _, w := range widths {
		total += w
	}
	if more := columns(title) - total; more > 0 {
		widths[0] += more
		total += more
	}
	for i, row := range rows {
		lines[i] += groupGap
		for c, cell := range row {
			if c > 0 {
				lines[i] += columnGap
			}
			lines[i] += strings.Repeat(" ", widths[c]-columns(cell)) + cell
		}
	}
	dashes := total - columns(title)
	return strings.Repeat("-", dashes/2) + title + strings.Repeat("-", dashes-dashes/2)
}

// cells returns the cells of a metric, dashes without a round.
func (m *mode) cells(x metric, compact bool) []string {
	s, ok := m.Summary[x.name]
	switch {
	case !ok && compact:
		return []string{"-", ""}
	case !ok:
		return []string{"-", "-", "-"}
	}
	sign := ""
	if x.loss && m.guessed() {
		sign = "~"
	}
	if compact {
		return []string{sign + fixed(s.Median, x.decimals), s.wobble()}
	}
	return []string{
		sign + fixed(s.Median, x.decimals),
		sign + fixed(s.Min, x.decimals),
		sign + fixed(s.Max, x.decimals),
	}
}

// wobble is half of the range as a share of the median.
func (s spread) wobble() string {
	if s.Median == 0 {
		return ""
	}
	return fixed(50*(s.Max-s.Min)/s.Median, 0) + "%"
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
	if strings.HasSuffix(noun, "ch") {
		noun += "e"
	}
	return fmt.Sprintf("%d %ss", n, noun)
}
