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
	printBooks(w, width, &rep.Books)
}

func printBooks(w io.Writer, width int, b *books) {
	printField(w, width, "books", b.describe())
	for _, p := range b.Problems {
		printField(w, width, "", p)
	}
}

func (b *books) describe() string {
	if b.Balanced {
		return "balanced: " + b.sum()
	}
	return "DO NOT BALANCE: " + b.sum()
}

func (b *books) sum() string {
	sign := ""
	if !b.LostKnown {
		sign = "~"
	}
	text := ""
	if b.Sent > 0 || b.Ruled == 0 {
		text = commas(b.Sent) + " sent, "
	}
	text += fmt.Sprintf("%s queued by the rule: %s received, %s decided, %s%s lost in the kernel",
		commas(b.Ruled), commas(b.Received), commas(b.Verdicts), sign, commas(b.Lost))
	if b.Passed > 0 {
		text += fmt.Sprintf("; %s passed unqueued", commas(b.Passed))
	}
	if b.Bytes > 0 {
		text += fmt.Sprintf("; %s bytes of TCP arrived", commas(b.Bytes))
	}
	return text
}

// finish makes the summaries.
func (rep *report) finish(interrupted bool) {
	rep.Interrupted = interrupted
	rep.compare()
	for i := range rep.Modes {
		m := &rep.Modes[i]
		m.Summary = rep.Parameters.summarise(m)
	}
}
