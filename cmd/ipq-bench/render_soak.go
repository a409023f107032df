package main

import (
	"fmt"
	"io"
	"time"

	"github.com/goipq/goipq/internal/bench/plain"
)

// printSoak prints what the process held in each mode, and the books.
func printSoak(w io.Writer, rep *report) {
	width := plain.TextWidth(w)
	if rep.Interrupted {
		fmt.Fprintln(w, "interrupted: this is what was seen so far")
	}
	for i := range rep.Soaks {
		k := &rep.Soaks[i]
		if i > 0 {
			fmt.Fprintln(w)
		}
		fmt.Fprintf(w, "%s, %v, %s\n", rep.title(k.Mode), k.Duration.Round(time.Millisecond), plain.Plural(len(k.Samples), "sample"))
		names, rows := k.table()
		plain.Table(w, append([]string{""}, names...),
			append([][]string{{"idle", "2nd quarter", "3rd", "4th", "most", "closed"}}, rows...))
	}
	fmt.Fprintln(w)
	for i := range rep.Soaks {
		k := &rep.Soaks[i]
		label := "soak"
		if i > 0 {
			label = ""
		}
		plain.Field(w, width, label, rep.title(k.Mode)+": "+k.describe())
	}
	printBooks(w, width, &rep.Books)
}
