package report

import (
	"fmt"

	"github.com/aclements/go-moremath/stats"
)

// A Comparison is how two documents are compared.
type Comparison struct {
	Alpha     float64 // a difference is significant below it
	Threshold float64 // in percent: less is not called slower
}

// Usable says why a document's figures are worth nothing.
func (d *Document) Usable() error {
	switch {
	case d.Run == nil:
		return nil
	case !d.Run.Books.Balanced:
		return fmt.Errorf("%s is not to be relied on: its books do not balance", d.Path)
	case d.Run.Kind == KindSoak:
		return fmt.Errorf("%s is a soak, which has no rounds to compare", d.Path)
	}
	return nil
}

// A Row is one figure of both documents.
type Row struct {
	Before, After Series
	P             float64 // how likely such values are if nothing differs
	Verdict       string
}

// The verdicts on a row.
const (
	IsSame   = "~"
	IsSlower = "SLOWER" // worse, in a figure that is judged
	isWorse  = "worse"
	isBetter = "better"
	differs  = "differs"
)

// Match pairs the figures that both documents have, and tests each pair.
func (c *Comparison) Match(before, after []Series) ([]Row, error) {
	byKey := make(map[string]Series)
	for _, s := range after {
		byKey[s.key()] = s
	}
	var rows []Row
	judged, able := 0, 0
	for _, b := range before {
		a, ok := byKey[b.key()]
		if !ok {
			continue
		}
		rows = append(rows, c.test(b, a))
		if b.judged {
			judged++
			if smallestP(len(b.Values), len(a.Values)) < c.Alpha {
				able++
			}
		}
	}
	switch {
	case judged == 0:
		return nil, fmt.Errorf("they have no figure of speed in common")
	case able == 0:
		b, a := len(rows[0].Before.Values), len(rows[0].After.Values)
		return nil, fmt.Errorf("%d and %d rounds can never differ with p < %g: measure more", b, a, c.Alpha)
	}
	return rows, nil
}

// smallestP is the p of the U test when all values of one sample are above all
// of the other: only 2 of the (m+n choose n) ways to mix them are as extreme.
func smallestP(m, n int) float64 {
	ways := 1.0
	for i := 1; i <= n; i++ {
		ways *= float64(m+i) / float64(i)
	}
	return min(1, 2/ways)
}

func (c *Comparison) test(before, after Series) Row {
	r := Row{Before: before, After: after, P: 1, Verdict: IsSame}
	// The test fails when all values are equal: then there is no difference.
	if u, err := stats.MannWhitneyUTest(before.Values, after.Values, stats.LocationDiffers); err == nil {
		r.P = u.P
	}
	if r.P >= c.Alpha {
		return r
	}
	worse := before.worse(before.Median(), after.Median())
	switch {
	case before.Better == 0:
		r.Verdict = differs
	case worse < 0:
		r.Verdict = isBetter
	case worse == 0, 100*worse < c.Threshold:
		// Significant, but too little to matter.
	case before.judged:
		r.Verdict = IsSlower
	default:
		r.Verdict = isWorse
	}
	return r
}
