package main

import (
	"fmt"
	"io"
	"slices"
	"strings"
)

// sweepColumns are the figures that a sweep's table has, as far as they mean
// something: more do not fit.
var sweepColumns = []struct{ name, head string }{
	{ofUnqueued, "of unqueued, %"},
	{bypassedShare, "bypassed, %"},
	{lostShare, "lost, %"},
	{cpuCost, "CPU ns"},
	{allCost, "all CPU ns"},
	{"packets_per_recvmmsg", "batch"},
	{"allocations_per_packet", "allocs"},
	{latencyP50, "p50, µs"},
	{latencyP99, "p99, µs"},
	{latencyP999, "p99.9, µs"},
	{connectionP50, "p50, µs"},
	{connectionP99, "p99, µs"},
}

// printSweep prints a sweep as one table, the modes one below the other.
func printSweep(w io.Writer, rep *report) {
	width := textWidth(w)
	if rep.Interrupted {
		fmt.Fprintln(w, "interrupted: these are the figures so far")
	}
	points := rep.Sweep.Points
	main := points[0].Parameters.main()
	if main.name == arrivedRate && points[0].Parameters.Bypass == nil && !slices.Contains(points[0].Parameters.Modes, modeUnqueued) {
		main = metricNamed(verdictRate) // what is dropped was decided, too
	}
	lines := []string{rep.Sweep.Parameter}
	heads := []string{"mode", main.label, "±", ""}
	var names []string
	for _, c := range sweepColumns {
		if slices.ContainsFunc(points, func(pt point) bool { return pt.has(c.name) }) {
			names, heads = append(names, c.name), append(heads, c.head)
		}
	}
	rows := [][]string{heads}
	var noise []string
	for i, name := range points[0].Parameters.Modes {
		for j := range points {
			pt := &points[j]
			m := &pt.Modes[i]
			lines = append(lines, pt.Value)
			row := []string{pt.Parameters.title(name)}
			row = append(row, m.cells(main, true)...)
			s := m.Summary[main.name]
			mark := ""
			if s.Noisy != "" {
				mark = "!"
				noise = append(noise, pt.title(name)+": "+s.Noisy)
			}
			row = append(row, mark)
			for _, column := range names {
				row = append(row, m.cells(metricNamed(column), true)[0])
			}
			rows = append(rows, row)
		}
	}
	pad(lines)
	appendGroup(lines, rows, "")
	for _, line := range lines {
		fmt.Fprintln(w, strings.TrimRight(line, " "))
	}
	fmt.Fprintln(w)
	printField(w, width, "note", fmt.Sprintf("Medians of %s of %v for each value, which take turns; ± is half of what lies between "+
		"the least and the most. Costs are those of a packet.", plural(points[0].Parameters.Rounds, "round"), points[0].Parameters.Window))
	printNoise(w, width, noise)
	printBooks(w, width, &rep.Books)
}

// printNoise explains the marks, up to a few.
func printNoise(w io.Writer, width int, noise []string) {
	for _, text := range marked(noise) {
		printField(w, width, "note", text)
	}
}

// has reports whether a figure was measured at the point.
func (pt *point) has(name string) bool {
	return slices.ContainsFunc(pt.Modes, func(m mode) bool { _, ok := m.Summary[name]; return ok })
}

func metricNamed(name string) metric {
	return metrics[slices.IndexFunc(metrics, func(x metric) bool { return x.name == name })]
}
