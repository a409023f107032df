package main

import (
	"fmt"
	"io"
	"runtime"
	"slices"
	"strings"

	"github.com/goipq/goipq/internal/netlab"
)

// How a finding stands.
const (
	isFine    = "ok"
	isLimited = "limited"
	isMissing = "missing"
)

// A finding is what doctor says about one thing.
type finding struct {
	topic  string
	state  string
	text   string // a sentence
	change string // another: what to do about it; "" when there is nothing
	vital  bool   // without it goipq cannot work here at all
}

// doctor probes what goipq finds here, in private namespaces, and prints it.
// With the argument namespace, it tells only whether it may have one.
func doctor(args []string, stdout, stderr io.Writer) int {
	if asksForHelp(args, stdout, "doctor", "With namespace, it says only whether this user may have private namespaces.\n") {
		return exitOK
	}
	namespace := slices.Equal(args, []string{"namespace"})
	if len(args) > 0 && !namespace {
		return misuse(stderr, "doctor %s: the only argument it takes is namespace", args[0])
	}
	if runtime.GOOS != "linux" {
		return misuse(stderr, "netfilter queues are Linux's; this is %s", runtime.GOOS)
	}
	if err := netlab.Enter(); err != nil {
		return misuse(stderr, "%v", err)
	}
	if namespace {
		fmt.Fprintln(stdout, "This user may make private namespaces.")
		return exitOK
	}
	findings, err := examine()
	if err != nil {
		return misuse(stderr, "%v", err)
	}
	return printFindings(stdout, findings)
}

// printFindings prints a line for each finding, one for what to change about
// it, and the sum, and returns the exit status.
func printFindings(w io.Writer, findings []finding) int {
	const state, topics = 9, 26 // columns, up to the topic and up to its sentence
	width := textWidth(w) - topics
	paragraph := func(head, text string) {
		for _, line := range wrap(text, width) {
			fmt.Fprintf(w, "%-*s%s\n", topics, head, line)
			head = ""
		}
	}
	var vital []string
	for _, f := range findings {
		paragraph(fmt.Sprintf("%-*s%s", state, f.state, f.topic), f.text)
		if f.change != "" {
			paragraph(strings.Repeat(" ", state)+"  to change", f.change)
		}
		if f.vital && f.state == isMissing {
			vital = append(vital, f.topic)
		}
	}
	fmt.Fprintln(w)
	if len(vital) > 0 {
		fmt.Fprintf(w, "goipq cannot work here: see %s.\n", enumerate(vital))
		return exitUsage
	}
	limits := 0
	for _, f := range findings {
		if f.state != isFine {
			limits++
		}
	}
	if limits == 0 {
		fmt.Fprintln(w, "goipq works here, with all that it offers.")
	} else {
		fmt.Fprintf(w, "goipq works here, with %s limited or missing.\n", plural(limits, "thing"))
	}
	return exitOK
}

// enumerate returns for example "a, b and c".
func enumerate(words []string) string {
	text := ""
	for i, word := range words {
		switch {
		case i == 0:
		case i == len(words)-1:
			text += " and "
		default:
			text += ", "
		}
		text += word
	}
	return text
}
