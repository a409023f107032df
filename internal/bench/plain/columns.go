package plain

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

// Pad makes all lines as wide as the widest, and returns its width.
func Pad(lines []string) int {
	width := 0
	for _, l := range lines {
		width = max(width, Width(l))
	}
	for i, l := range lines {
		lines[i] = l + strings.Repeat(" ", width-Width(l))
	}
	return width
}

// Width is how many columns a text takes: one for each character.
func Width(text string) int { return utf8.RuneCountInString(text) }

// AppendGroup appends the rows to the lines, in columns aligned to the right.
// It returns the title as a rule above them; a title that is wider than they are
// widens the first column.
func AppendGroup(lines []string, rows [][]string, title string) string {
	widths := make([]int, len(rows[0]))
	for _, row := range rows {
		for c, cell := range row {
			widths[c] = max(widths[c], Width(cell))
		}
	}
	total := (len(widths) - 1) * len(columnGap)
	for _, w := range widths {
		total += w
	}
	if more := Width(title) - total; more > 0 {
		widths[0] += more
		total += more
	}
	for i, row := range rows {
		lines[i] += groupGap
		for c, cell := range row {
			if c > 0 {
				lines[i] += columnGap
			}
			lines[i] += strings.Repeat(" ", widths[c]-Width(cell)) + cell
		}
	}
	dashes := total - Width(title)
	return groupGap + strings.Repeat("-", dashes/2) + title + strings.Repeat("-", dashes-dashes/2)
}

// Table prints labels, one a line, and the rows beside them.
func Table(w io.Writer, labels []string, rows [][]string) {
	Pad(labels)
	AppendGroup(labels, rows, "")
	Lines(w, labels)
}

// Lines prints lines without the spaces at their ends.
func Lines(w io.Writer, lines []string) {
	for _, line := range lines {
		fmt.Fprintln(w, strings.TrimRight(line, " "))
	}
}
