package render

import (
	"fmt"
	"io"
	"slices"

	"github.com/goipq/goipq/internal/bench/plain"
	"github.com/goipq/goipq/internal/bench/report"
)

// sweepColumns are the columns of a sweep's table, as far as they mean something
// and fit.
var sweepColumns = []struct{ name, head string }{
	{report.OfUnqueued, "% unqueued"},
	{report.BypassedShare, "% bypassed"},
	{report.LostShare, "lost, %"},
	{report.CPUCost, "CPU ns"},
	{report.AllCost, "all CPU ns"},
	{report.BatchSize, "batch"},
	{report.Allocations, "allocs"},
	{report.LatencyP50, "p50, µs"},
	{report.LatencyP99, "p99, µs"},
	{report.LatencyP999, "p99.9, µs"},
	{report.ConnectionP50, "p50, µs"},
	{report.ConnectionP99, "p99, µs"},
}

// dispensable are the columns that are left out first where there is no room. The
// report has them all.
var dispensable = []string{report.Allocations, report.BatchSize, report.LostShare, report.CPUCost}

// printSweep prints a sweep as one table, the modes one below the other.
func printSweep(w io.Writer, rep *report.Report) {
	width := plain.TextWidth(w)
	if rep.Interrupted {
		fmt.Fprintln(w, "interrupted: these are the figures so far")
	}
	points := rep.Sweep.Points
	var names []string
	for _, c := range sweepColumns {
		if slices.ContainsFunc(points, func(pt report.Point) bool { return has(&pt, c.name) }) {
			names = append(names, c.name)
		}
	}
	lines := sweepLines(rep.Sweep, names)
	for _, name := range dispensable {
		if plain.Width(slices.MaxFunc(lines, func(a, b string) int { return plain.Width(a) - plain.Width(b) })) <= width {
			break
		}
		names = slices.DeleteFunc(names, func(n string) bool { return n == name })
		lines = sweepLines(rep.Sweep, names)
	}
	plain.Lines(w, lines)
	fmt.Fprintln(w)
	plain.Field(w, width, "note", fmt.Sprintf("Medians of %s of %v for each value, which take turns; ± is half of what lies between "+
		"the least and the most. Costs are those of a packet.", plain.Plural(points[0].Parameters.Rounds, "round"), points[0].Parameters.Window))
	printNoise(w, width, noise(rep))
	printBooks(w, width, &rep.Books)
}

// sweepLines returns the table of the main figure and of those that are named.
func sweepLines(s *report.Sweep, names []string) []string {
	first := &s.Points[0].Parameters
	main := first.Shown()
	lines := []string{s.Parameter}
	heads := []string{"mode", main.Label, "±", ""}
	for _, c := range sweepColumns {
		if slices.Contains(names, c.name) {
			heads = append(heads, c.head)
		}
	}
	rows := [][]string{heads}
	for i, name := range first.Modes {
		for j := range s.Points {
			pt := &s.Points[j]
			m := &pt.Modes[i]
			lines = append(lines, pt.Value)
			row := append([]string{pt.Parameters.Title(name)}, cells(m, main, true)...)
			mark := ""
			if m.Summary[main.Name].Noisy != "" {
				mark = "!"
			}
			row = append(row, mark)
			for _, column := range names {
				row = append(row, cells(m, report.MetricNamed(column), true)[0])
			}
			rows = append(rows, row)
		}
	}
	plain.Pad(lines)
	plain.AppendGroup(lines, rows, "")
	return lines
}

// has reports whether a figure was measured at the point.
func has(pt *report.Point, name string) bool {
	return slices.ContainsFunc(pt.Modes, func(m report.Mode) bool { _, ok := m.Summary[name]; return ok })
}
