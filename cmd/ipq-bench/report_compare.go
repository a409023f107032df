package main

import (
	"fmt"

	"github.com/aclements/go-moremath/stats"
)

// A comparison is how two documents are compared.
type comparison struct {
	alpha     float64 // a difference is significant below it
	threshold float64 // in percent: less is not called slower
}

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
