// Package doctor finds out what goipq can do on this machine: what the kernel,
// its limits and this user allow. It tries each thing for real, each in a network
// namespace of its own, and says what to change.
package doctor

import (
	"fmt"
	"io"
	"strings"

	"github.com/goipq/goipq/internal/bench/plain"
)

// The states of a finding.
const (
	isFine    = "ok"
	isLimited = "limited"
	isMissing = "missing"
)

// A Finding is what doctor says about one thing.
type Finding struct {
	topic  string
	state  string
	text   string // a sentence
	change string // a sentence: what to do about it; "" when there is nothing
	vital  bool   // without it goipq cannot work here at all
}

// Print prints a line for each finding, a line for what to change about it, and what
// they come to. It reports whether goipq can work here at all.
func Print(w io.Writer, findings []Finding) bool {
	const state, topics = 9, 26 // columns, up to the topic and up to its sentence
	width := plain.TextWidth(w) - topics
	paragraph := func(head, text string) {
		for _, line := range plain.Wrap(text, width) {
			fmt.Fprintf(w, "%-*s%s\n", topics, head, line)
			head = ""
		}
	}
	var vital []string
	limits := 0
	for _, f := range findings {
		paragraph(fmt.Sprintf("%-*s%s", state, f.state, f.topic), f.text)
		if f.change != "" {
			paragraph(strings.Repeat(" ", state)+"  to change", f.change)
		}
		if f.vital && f.state == isMissing {
			vital = append(vital, f.topic)
		}
		if f.state != isFine {
			limits++
		}
	}
	fmt.Fprintln(w)
	switch {
	case len(vital) > 0:
		fmt.Fprintf(w, "goipq cannot work here: see %s.\n", plain.Enumerate(vital))
	case limits == 0:
		fmt.Fprintln(w, "goipq works here, with all that it offers.")
	default:
		fmt.Fprintf(w, "goipq works here, with %s limited or missing.\n", plain.Plural(limits, "thing"))
	}
	return len(vital) == 0
}
