package main

import (
	"flag"
	"io"

	"github.com/goipq/goipq/internal/bench/render"
	"github.com/goipq/goipq/internal/bench/report"
)

// compare prints two reports' figures side by side. Its exit status is 1 when
// the second is slower, and 2 when they cannot be compared.
func compare(args []string, stdout, stderr io.Writer) int {
	if asksForHelp(args, stdout, "compare", compareDetails) {
		return exitOK
	}
	var c report.Comparison
	fs := flag.NewFlagSet("compare", flag.ContinueOnError)
	fs.SetOutput(io.Discard)
	fs.Float64Var(&c.Alpha, "alpha", 0.05, "")
	fs.Float64Var(&c.Threshold, "threshold", 5, "")
	if err := fs.Parse(args); err != nil {
		return misuse(stderr, "compare: %v (usage: %s)", err, compareUsage)
	}
	switch {
	case fs.NArg() != 2:
		return misuse(stderr, "compare needs two files, an old one and a new one (usage: %s)", compareUsage)
	case !(c.Alpha > 0 && c.Alpha < 1):
		return misuse(stderr, "-alpha %v is not between 0 and 1", c.Alpha)
	case !(c.Threshold >= 0 && c.Threshold < 100):
		return misuse(stderr, "-threshold %v is not between 0 and 100 percent", c.Threshold)
	}
	var docs [2]report.Document
	for i, path := range fs.Args() {
		var err error
		if docs[i], err = report.Read(path); err == nil {
			err = docs[i].Usable()
		}
		if err != nil {
			return misuse(stderr, "%v", err)
		}
	}
	rows, err := c.Match(docs[0].Series(), docs[1].Series())
	if err != nil {
		return misuse(stderr, "%s and %s cannot be compared: %v", fs.Arg(0), fs.Arg(1), err)
	}
	if render.Comparison(stdout, &docs[0], &docs[1], &c, rows) {
		return exitFailed
	}
	return exitOK
}

const compareUsage = "compare [-alpha P] [-threshold PERCENT] old.json new.json"

const compareDetails = `
A figure of speed or cost is slower when it is worse by PERCENT or more (5 unless set)
and the Mann-Whitney U test over the rounds gives less than P (0.05 unless set).

Exit status: 0 nothing is slower; 1 something is; 2 the files cannot be compared;
3 nothing is slower, but the output could not be written.
`
