package main

import (
	"flag"
	"fmt"
	"io"
	"math"
	"strings"

	"github.com/aclements/go-moremath/stats"
)

// comparison is how two documents are compared.
type comparison struct {
	alpha     float64 // a difference is significant below it
	threshold float64 // in percent: less is not called slower
}

// compare prints two reports' figures side by side. Its exit status is 1 when
// the second is slower, and 2 when they cannot be compared.
func compare(args []string, stdout, stderr io.Writer) int {
	if asksForHelp(args, stdout, "compare", compareDetails) {
		return exitOK
	}
	var c comparison
	fs := flag.NewFlagSet("compare", flag.ContinueOnError)
	fs.SetOutput(io.Discard)
	fs.Float64Var(&c.alpha, "alpha", 0.05, "")
	fs.Float64Var(&c.threshold, "threshold", 5, "")
	if err := fs.Parse(args); err != nil {
		return misuse(stderr, "compare: %v (usage: %s)", err, compareUsage)
	}
	switch {
	case fs.NArg() != 2:
		return misuse(stderr, "compare needs two files, an old one and a new one (usage: %s)", compareUsage)
	case !(c.alpha > 0 && c.alpha < 1):
		return misuse(stderr, "-alpha %v is not between 0 and 1", c.alpha)
	case !(c.threshold >= 0 && c.threshold < 100):
		return misuse(stderr, "-threshold %v is not between 0 and 100 percent", c.threshold)
	}
	var docs [2]document
	for i, path := range fs.Args() {
		var err error
		if docs[i], err = readDocument(path); err == nil {
			err = docs[i].usable()
		}
		if err != nil {
			return misuse(stderr, "%v", err)
		}
	}
	rows, err := c.match(docs[0].series(), docs[1].series())
	if err != nil {
		return misuse(stderr, "%s and %s cannot be compared: %v", fs.Arg(0), fs.Arg(1), err)
	}
	printDifferences(stdout, &docs[0], &docs[1])
	return c.print(stdout, rows)
}

const compareUsage = "compare [-alpha P] [-threshold PERCENT] old.json new.json"

const compareDetails = `
A figure of speed or cost is slower when it is worse by PERCENT or more (5 unless set)
and the Mann-Whitney U test over the rounds gives less than P (0.05 unless set).

Exit status: 0 nothing is slower; 1 something is; 2 the files cannot be compared;
3 nothing is slower, but the output could not be written.
`

// usable says why a document's figures are worth nothing.
func (d *document) usable() error {
	switch {
	case d.run == nil:
		return nil
	case !d.run.Books.Balanced:
		return fmt.Errorf("%s is not to be relied on: its books do not balance", d.path)
	case d.run.Kind == kindSoak:
		return fmt.Errorf("%s is a soak, which has no rounds to compare", d.path)
	}
	return nil
}

// A row is one figure of both documents.
type row struct {
	before, after series
	p             float64 // of values so far apart if nothing differs
	verdict       string
}

// The verdicts on a row. A difference in a figure that is neither better nor
// worse is "differs".
const (
	isSame   = "~"
	isSlower = "SLOWER" // worse, and judged
	isWorse  = "worse"
	isBetter = "better"
	differs  = "differs"
)

// match pairs the figures that both have and tests each pair.
func (c *comparison) match(before, after []series) ([]row, error) {
	byKey := make(map[string]series)
	for _, s := range after {
		byKey[s.key()] = s
	}
	var rows []row
	judged, able := 0, 0
	for _, b := range before {
		a, ok := byKey[b.key()]
		if !ok {
			continue
		}
		rows = append(rows, c.test(b, a))
		if b.judged {
			judged++
			if smallestP(len(b.values), len(a.values)) < c.alpha {
				able++
			}
		}
	}
	switch {
	case judged == 0:
		return nil, fmt.Errorf("they have no figure of speed in common")
	case able == 0:
		b, a := len(rows[0].before.values), len(rows[0].after.values)
		return nil, fmt.Errorf("%d and %d rounds can never differ with p < %g: measure more", b, a, c.alpha)
	}
	return rows, nil
}

// smallestP is the p of the U test when all values of one sample are above all
// of the other: 2 of the (m+n choose n) ways to mix them are so extreme.
func smallestP(m, n int) float64 {
	ways := 1.0
	for i := 1; i <= n; i++ {
		ways *= float64(m+i) / float64(i)
	}
	return min(1, 2/ways)
}

func (c *comparison) test(before, after series) row {
	r := row{before: before, after: after, p: 1, verdict: isSame}
	// It fails when all values are equal, and then there is no difference.
	if u, err := stats.MannWhitneyUTest(before.values, after.values, stats.LocationDiffers); err == nil {
		r.p = u.P
	}
	if r.p >= c.alpha {
		return r
	}
	worse := before.worse(before.median(), after.median())
	switch {
	case before.better == 0:
		r.verdict = differs
	case worse < 0:
		r.verdict = isBetter
	case worse == 0, 100*worse < c.threshold:
		// Significant, but too little to matter.
	case before.judged:
		r.verdict = isSlower
	default:
		r.verdict = isWorse
	}
	return r
}

// print prints the rows and what they come to, and returns the exit status.
func (c *comparison) print(w io.Writer, rows []row) int {
	labels, cells := []string{""}, [][]string{{"old", "new", "new/old", "p", ""}}
	group := ""
	var slower, notes, noise []string
	for _, r := range rows {
		b, a := r.before.median(), r.after.median()
		if r.before.group != group {
			group = r.before.group
			labels, cells = append(labels, group), append(cells, make([]string, 5))
		}
		mark := ""
		if r.before.noisy != "" || r.after.noisy != "" {
			mark = " !"
		}
		labels = append(labels, "  "+r.before.label)
		cells = append(cells, []string{
			fixed(b, r.before.decimals), fixed(a, r.before.decimals), proportion(b, a),
			fmt.Sprintf("%.3f", r.p), r.verdict + mark,
		})
		switch {
		case r.verdict == isSlower:
			slower = append(slower, fmt.Sprintf("%s, %s", group, r.before.label))
		case strings.HasSuffix(group, modeUnqueued) && r.verdict != isSame && r.before.better != 0:
			notes = append(notes, fmt.Sprintf("%s: %s changed, too: that is the machine, not goipq.", group, r.before.label))
		}
		for _, s := range []series{r.before, r.after} {
			if s.noisy != "" {
				noise = append(noise, fmt.Sprintf("%s, %s: %s", group, s.label, s.noisy))
			}
		}
	}
	pad(labels)
	appendGroup(labels, cells, "")
	for _, line := range labels {
		fmt.Fprintln(w, strings.TrimRight(line, " "))
	}
	fmt.Fprintln(w)
	width := textWidth(w)
	for _, note := range append(notes, marked(noise)...) {
		printField(w, width, "note", note)
	}
	if len(slower) > 0 {
		printField(w, width, "slower", fmt.Sprintf("significantly (Mann-Whitney, p < %g) and by %g %% or more: %s",
			c.alpha, c.threshold, strings.Join(slower, "; ")))
		return exitFailed
	}
	printField(w, width, "result", fmt.Sprintf("nothing is slower, significantly (Mann-Whitney, p < %g) and by %g %% or more",
		c.alpha, c.threshold))
	return exitOK
}

// proportion is after over before.
func proportion(before, after float64) string {
	if before == 0 {
		return "-"
	}
	return fixed(math.Abs(after/before), 3)
}
