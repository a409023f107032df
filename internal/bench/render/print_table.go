package render

import (
	"fmt"
	"io"
	"strings"

	"github.com/goipq/goipq/internal/bench/plain"
	"github.com/goipq/goipq/internal/bench/report"
)

// printFigures prints a row for each metric and, for each mode, a group of
// columns: the median of its rounds, the least and the most. Where there are more
// than two modes, it has half of that range instead, as a share of the median.
//
// With two modes it is some 80 columns wide, and 100 when all figures are tens of
// millions.
func printFigures(w io.Writer, rep *report.Report) {
	lines := []string{""} // below the titles: the heads, then the metrics
	metrics := rep.Parameters.Rows()
	for _, x := range metrics {
		lines = append(lines, x.Label)
	}
	compact := len(rep.Modes) > 2
	titles := strings.Repeat(" ", plain.Pad(lines))
	for i := range rep.Modes {
		m := &rep.Modes[i]
		rows := [][]string{{"median", "min", "max"}}
		if compact {
			rows = [][]string{{"median", "±"}}
		}
		for _, x := range metrics {
			rows = append(rows, cells(m, x, compact))
		}
		title := fmt.Sprintf(" %s, %s ", rep.Title(m.Name), plain.Plural(len(m.Rounds), "round"))
		titles += plain.AppendGroup(lines, rows, title)
	}
	plain.Lines(w, append([]string{titles}, lines...))
}

// cells returns the cells of a metric, dashes without a round.
func cells(m *report.Mode, x report.Metric, compact bool) []string {
	s, ok := x.In(m)
	switch {
	case !ok && compact:
		return []string{"-", ""}
	case !ok:
		return []string{"-", "-", "-"}
	}
	sign := ""
	if x.Loss && m.Guessed() {
		sign = "~"
	}
	if compact {
		return []string{sign + plain.Fixed(s.Median, x.Decimals), wobble(s)}
	}
	return []string{
		sign + plain.Fixed(s.Median, x.Decimals),
		sign + plain.Fixed(s.Min, x.Decimals),
		sign + plain.Fixed(s.Max, x.Decimals),
	}
}

// wobble is how well the median is known.
func wobble(s report.Spread) string {
	if s.Median == 0 {
		return ""
	}
	return plain.Fixed(s.Percent(), 0) + "%"
}
