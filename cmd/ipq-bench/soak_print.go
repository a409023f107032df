package main

import (
	"fmt"
	"io"
	"strings"
	"time"
)

// printSoak prints what the process held in each mode, and the books.
func printSoak(w io.Writer, rep *report) {
	width := textWidth(w)
	if rep.Interrupted {
		fmt.Fprintln(w, "interrupted: this is what was seen so far")
	}
	for i := range rep.Soaks {
		k := &rep.Soaks[i]
		if i > 0 {
			fmt.Fprintln(w)
		}
		fmt.Fprintf(w, "%s, %v, %s\n", rep.title(k.Mode), k.Duration.Round(time.Millisecond), plural(len(k.Samples), "sample"))
		k.printTable(w)
	}
	fmt.Fprintln(w)
	for i := range rep.Soaks {
		k := &rep.Soaks[i]
		label := "soak"
		if i > 0 {
			label = ""
		}
		verdict := fmt.Sprintf("%s: flat; resident memory came to %s under load, %s when idle, beside %s of buffers",
			rep.title(k.Mode), mebibytes(k.peak()), mebibytes(k.Idle.Resident), mebibytes(k.Buffers))
		if len(k.Samples) < fewest {
			verdict = rep.title(k.Mode) + ": too short to judge"
		}
		if len(k.Problems) > 0 {
			verdict = rep.title(k.Mode) + ": NOT FLAT: " + strings.Join(k.Problems, "; ")
		}
		printField(w, width, label, verdict)
	}
	printBooks(w, width, &rep.Books)
}

// printTable prints a row for each part of the usage: when idle, in each
// quarter of the run, and when all is over.
func (k *soak) printTable(w io.Writer) {
	rows := [][]string{{"idle", "2nd quarter", "3rd", "4th", "most", "closed"}}
	lines := []string{""}
	for _, c := range usageColumns {
		lines = append(lines, strings.TrimPrefix(c.name, "the "))
		row := []string{c.show(c.of(&k.Idle))}
		for n := 1; n < 4; n++ {
			if q := k.quarter(n); len(q) > 0 {
				row = append(row, c.show(middle(q, c.of)))
			} else {
				row = append(row, "-")
			}
		}
		var most uint64
		for i := range k.Samples {
			most = max(most, c.of(&k.Samples[i]))
		}
		rows = append(rows, append(row, c.show(most), c.show(c.of(&k.After))))
	}
	pad(lines)
	appendGroup(lines, rows, "")
	for _, line := range lines {
		fmt.Fprintln(w, strings.TrimRight(line, " "))
	}
}
