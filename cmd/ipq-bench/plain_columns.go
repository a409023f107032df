package main

import (
	"fmt"
	"io"
	"strings"
	"unicode/utf8"
)

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
// It returns the title as a rule above them; a title that is wider than they are
// widens the first column.
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
	return groupGap + strings.Repeat("-", dashes/2) + title + strings.Repeat("-", dashes-dashes/2)
}

// printTable prints labels, one a line, and the rows beside them.
func printTable(w io.Writer, labels []string, rows [][]string) {
	pad(labels)
	appendGroup(labels, rows, "")
	printLines(w, labels)
}

// printLines prints lines without the spaces at their ends.
func printLines(w io.Writer, lines []string) {
	for _, line := range lines {
		fmt.Fprintln(w, strings.TrimRight(line, " "))
	}
}
