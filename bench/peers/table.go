//go:build linux

package main

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/goipq/goipq/internal/peers"
)

// printHeader says where the run is made, and who is missing.
func printHeader(w io.Writer, r *peers.Report) {
	m := &r.Machine
	fmt.Fprintf(w, "machine   Linux %s, %s, %d CPUs, %s, a system call takes %.0f ns\n", m.Kernel, m.CPU, m.CPUs, m.Go, m.SystemCall)
	fmt.Fprintf(w, "place     private network namespaces; the machine's own network is not touched\n")
	for _, name := range []string{"goipq", "go-nfqueue", "libnetfilter_queue", "cc"} {
		if v := r.Versions[name]; v != "" {
			fmt.Fprintf(w, "version   %s %s\n", name, v)
		}
	}
	for _, x := range r.Missing {
		fmt.Fprintf(w, "missing   %s, which needs %s:\n", x.Contestant, x.What)
		for get := range strings.SplitSeq(x.Get, "; ") {
			fmt.Fprintf(w, "            %s\n", get)
		}
	}
}

// printContest writes a line for each contestant: medians over the rounds, and
// ratios with their least and greatest.
func printContest(w io.Writer, c *peers.Contest) {
	fmt.Fprintf(w, "\n%s\n%s\n", c.Title, c.Load)
	if c.Shared {
		fmt.Fprintln(w, "A busy program takes half of the contestant's CPU, so that one flood suffices.")
	}
	fmt.Fprintln(w)
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	head := []string{"", unitName(c.Unit)}
	if !c.LessIsBetter {
		head = append(head, "CPU ns/packet")
	}
	if decides(c) {
		head = append(head, "decided")
	}
	for _, base := range c.Bases {
		head = append(head, "÷ "+base)
	}
	fmt.Fprintln(tw, strings.Join(head, "\t"))
	for i := range c.Contestants {
		fmt.Fprintln(tw, strings.Join(row(c, &c.Contestants[i]), "\t"))
	}
	tw.Flush()
	printNotes(w, c)
}

func row(c *peers.Contest, one *peers.Contestant) []string {
	cells := []string{one.Name, "-"}
	if one.Value != nil {
		number, _, _ := strings.Cut(amount(one.Value.Median, c.Unit), " ")
		cells[1] = fmt.Sprintf("%s ±%.0f %%", number, one.Value.Percent())
	}
	if !c.LessIsBetter {
		cells = append(cells, median(one.CPU, "%.0f"))
	}
	if decides(c) {
		cells = append(cells, median(one.Decided, "%.1f %%"))
	}
	for _, base := range c.Bases {
		cell := "-"
		if s, ok := one.Ratios[base]; ok {
			cell = fmt.Sprintf("%.2f (%.2f-%.2f)", s.Median, s.Min, s.Max)
		}
		cells = append(cells, cell)
	}
	return cells
}

func printNotes(w io.Writer, c *peers.Contest) {
	if names := c.Noisy(); len(names) > 0 {
		fmt.Fprintf(w, "Noisy: %s. Something else keeps this machine busy.\n", strings.Join(names, ", "))
	}
	for _, one := range c.Contestants {
		if one.Outran {
			fmt.Fprintf(w, "%s decided nearly all that was sent: it could carry more.\n", one.Name)
		}
		if one.FloodsWait {
			fmt.Fprintf(w, "%s shares its CPUs with the floods, which wait for it.\n", one.Name)
		}
		for _, r := range one.Rounds {
			if r.Disagreement != "" {
				fmt.Fprintf(w, "round %d, %s: %s\n", r.Round+1, one.Name, r.Disagreement)
			}
			if r.Said != "" {
				fmt.Fprintf(w, "round %d, %s says: %s\n", r.Round+1, one.Name, r.Said)
			}
		}
	}
}

// decides reports whether the contest tells how much of its load was decided.
func decides(c *peers.Contest) bool {
	return slices.ContainsFunc(c.Contestants, func(one peers.Contestant) bool { return one.Decided != nil })
}

// median is that of a quantity, if there is one.
func median(s *peers.Spread, format string) string {
	if s == nil {
		return "-"
	}
	return fmt.Sprintf(format, s.Median)
}

func unitName(unit string) string {
	if unit == "bits/s" {
		return "Gbit/s"
	}
	return unit
}

// amount is a value as people read it, with its unit.
func amount(v float64, unit string) string {
	if unit == "bits/s" {
		return fmt.Sprintf("%.2f %s", v/1e9, unitName(unit))
	}
	return fmt.Sprintf("%.0f %s", v, unit)
}
