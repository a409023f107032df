package plain

import (
	"io"
	"os"

	"golang.org/x/term"

	"github.com/goipq/goipq/internal/output"
)

// TerminalWidth returns how many columns the terminal has that w is. It returns 0
// if w is no terminal, or one that cannot go back to the start of a line.
func TerminalWidth(w io.Writer) int {
	f := FileOf(w)
	if name := os.Getenv("TERM"); f == nil || name == "" || name == "dumb" {
		return 0
	}
	width, _, err := term.GetSize(int(f.Fd()))
	if err != nil {
		return 0
	}
	return width
}

// FileOf returns the file that w writes to, or nil if there is none.
func FileOf(w io.Writer) *os.File {
	switch w := w.(type) {
	case *os.File:
		return w
	case *output.Writer:
		return w.File()
	}
	return nil
}

// TextWidth returns how wide a text on w may be: no wider than the terminal, since
// that breaks lines within words.
func TextWidth(w io.Writer) int {
	const widest, narrowest = 100, 40
	if width := TerminalWidth(w); width > 0 {
		return min(max(width, narrowest), widest)
	}
	return widest
}
