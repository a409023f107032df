package render

import (
	"fmt"
	"io"
	"time"

	"github.com/goipq/goipq/internal/bench/plain"
	"github.com/goipq/goipq/internal/bench/report"
)

// printSoak prints what the process held in each mode, and the books.
func printSoak(w io.Writer, rep *report.Report) {
	width := plain.TextWidth(w)
	if rep.Interrupted {
		fmt.Fprintln(w, "interrupted: this is what was seen so far")
	}
	for i := range rep.Soaks {
		k := &rep.Soaks[i]
		if i > 0 {
			fmt.Fprintln(w)
		}
		fmt.Fprintf(w, "%s, %v, %s\n", rep.Title(k.Mode), k.Duration.Round(time.Millisecond), plain.Plural(len(k.Samples), "sample"))
		names, rows := k.Table()
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
		plain.Field(w, width, label, rep.Title(k.Mode)+": "+k.Describe())
	}
	printBooks(w, width, &rep.Books)
}
