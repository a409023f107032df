package main

import (
	"fmt"
	"io"
)

// printResults prints the table, how to read it, and the books.
func printResults(w io.Writer, rep *report) {
	width := textWidth(w)
	if rep.Interrupted {
		fmt.Fprintln(w, "interrupted: these are the figures so far")
	}
	printTable(w, rep)
	fmt.Fprintln(w)
	for _, text := range rep.notes() {
		printField(w, width, "note", text)
	}
	b := &rep.Books
	if b.Balanced {
		printField(w, width, "books", "balanced: "+b.sum())
		return
	}
	printField(w, width, "books", "DO NOT BALANCE: "+b.sum())
	for _, p := range b.Problems {
		printField(w, width, "", p)
	}
}

func (b *books) sum() string {
	sign := ""
	if !b.LostKnown {
		sign = "~"
	}
	return fmt.Sprintf("%s sent, %s queued by the rule: %s received, %s decided, %s%s lost in the kernel",
		commas(b.Sent), commas(b.Ruled), commas(b.Received), commas(b.Verdicts), sign, commas(b.Lost))
}

// finish makes the summaries.
func (rep *report) finish(interrupted bool) {
	rep.Interrupted = interrupted
	for i := range rep.Modes {
		m := &rep.Modes[i]
		m.Summary = summarise(m.Rounds)
	}
}
