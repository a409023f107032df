package main

import (
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/goipq/goipq/internal/bench/plain"
)

// A subcommand is what ipq-bench does instead of measuring. The first argument
// names it.
type subcommand struct {
	name  string
	usage string // one line, without the program's name
	does  string // for the usage
	// run takes the arguments behind the name and returns the exit status.
	run func(args []string, stdout, stderr io.Writer) int
}

// subcommands are in the order of the usage.
func subcommands() []subcommand {
	return []subcommand{
		{"doctor", "doctor [namespace]", "Says what this kernel, these limits and this user allow, and what to change.", seeDoctor},
		{"compare", compareUsage, "Compares two files of -json or peers: the medians, their ratio, and whether\n        it got slower. If so, the exit status is 1, for CI.", compare},
		{"peers", peersUsage, "Measures goipq beside libnetfilter_queue, go-nfqueue and bare loops in C, under\n        the same load. peers -h lists its flags.", runPeers},
		{"html", htmlUsage, "Makes one page, with plots, of files of -json or peers. It needs no other file.", makeHTML},
		{"svg", svgUsage, "Writes each plot of files of -json or peers to a file of its own.", makeSVG},
		{"markdown", markdownUsage, "Makes a page such as BENCHMARKS.md from a template that quotes files of -json\n        or peers.", makeMarkdown},
	}
}

// findSubcommand returns the subcommand that the arguments name.
func findSubcommand(args []string) (subcommand, bool) {
	for _, c := range subcommands() {
		if len(args) > 0 && args[0] == c.name {
			return c, true
		}
	}
	return subcommand{}, false
}

func printSubcommands(w io.Writer) {
	fmt.Fprint(w, "\nCommands instead of a run:\n")
	for _, c := range subcommands() {
		fmt.Fprintf(w, "  ipq-bench %s\n        %s\n", c.usage, c.does)
	}
}

// asksForHelp reports whether a subcommand is asked for help, and gives it.
// details are about its flags, or "".
func asksForHelp(args []string, w io.Writer, name, details string) bool {
	if !slices.ContainsFunc(args, func(a string) bool { return a == "-h" || a == "-help" || a == "--help" }) {
		return false
	}
	for _, c := range subcommands() {
		if c.name == name {
			fmt.Fprintf(w, "Usage: ipq-bench %s\n\n%s\n%s", c.usage, strings.Join(plain.Wrap(c.does, 90), "\n"), details)
		}
	}
	return true
}

// misuse says what is wrong with a subcommand's arguments, in one sentence.
func misuse(stderr io.Writer, format string, args ...any) int {
	fmt.Fprintln(stderr, "ipq-bench:", fmt.Sprintf(format, args...))
	return exitUsage
}
