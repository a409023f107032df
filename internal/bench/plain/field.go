package plain

import (
	"fmt"
	"io"
	"strings"
)

// Field prints a label and, beside it, a text. What is wider than width
// goes on in the lines below.
func Field(w io.Writer, width int, label, text string) {
	const indent = 10
	for i, line := range Wrap(text, width-indent) {
		if i > 0 {
			label = ""
		}
		fmt.Fprintf(w, "%-*s%s\n", indent, label, line)
	}
}

// Wrap breaks a text at spaces into lines of at most width bytes, as far as its
// words allow.
func Wrap(text string, width int) []string {
	var lines []string
	line := ""
	for _, word := range strings.Fields(text) {
		switch {
		case line == "":
			line = word
		case len(line)+1+len(word) <= width:
			line += " " + word
		default:
			lines = append(lines, line)
			line = word
		}
	}
	return append(lines, line)
}
