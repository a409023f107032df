package peers

import (
	"slices"

	"github.com/aclements/go-moremath/stats"
)

// outran is how much of a load, in percent, may be decided by one that is
// overloaded by it.
const outran = 95

// MaxPercent is how well the median of a quantity must be known, in percent of it,
// to say something.
const MaxPercent = 10

// Noisy are the names of the contestants whose rounds differ so much that
// something else kept the machine busy.
func (c *Contest) Noisy() (names []string) {
	for _, one := range c.Contestants {
		if one.Value != nil && one.Value.Percent() > MaxPercent {
			names = append(names, one.Name)
		}
	}
	return names
}

// Summarise forms the ratios within each round, since a machine's mood lasts
// longer than one, and the spreads over the rounds.
func (c *Contest) Summarise() {
	values := make(map[string]map[int]float64) // of each base, by round
	for _, base := range c.Bases {
		values[base] = make(map[int]float64)
	}
	for _, one := range c.Contestants {
		for _, r := range one.Rounds {
			if of := values[one.Name]; of != nil {
				of[r.Round] = r.Value
			}
		}
	}
	for i := range c.Contestants {
		one := &c.Contestants[i]
		one.summarise(c.Bases, values)
		one.Outran = c.Mode == Saturated && !one.FloodsWait && one.Decided != nil && one.Decided.Median >= outran
	}
}

func (c *Contestant) summarise(bases []string, of map[string]map[int]float64) {
	var value, cpu, decided []float64
	ratios := make(map[string][]float64)
	for i := range c.Rounds {
		r := &c.Rounds[i]
		value = append(value, r.Value)
		if r.Packets > 0 && r.CPU > 0 {
			cpu = append(cpu, float64(r.CPU)/float64(r.Packets))
		}
		if r.Sent > 0 && r.Total > 0 {
			decided = append(decided, 100*float64(r.Total)/float64(r.Sent))
		}
		r.Ratios = make(map[string]float64)
		for _, base := range bases {
			if b := of[base][r.Round]; b > 0 {
				r.Ratios[base] = r.Value / b
				ratios[base] = append(ratios[base], r.Value/b)
			}
		}
	}
	c.Value, c.CPU, c.Decided = SpreadOf(value), SpreadOf(cpu), SpreadOf(decided)
	c.Ratios = make(map[string]Spread)
	for base, all := range ratios {
		c.Ratios[base] = *SpreadOf(all)
	}
}

// SpreadOf returns the spread of values, nil when there are none.
func SpreadOf(values []float64) *Spread {
	sorted := slices.Sorted(slices.Values(values))
	n := len(sorted)
	if n == 0 {
		return nil
	}
	s := &Spread{Median: (sorted[(n-1)/2] + sorted[n/2]) / 2, Min: sorted[0], Max: sorted[n-1]}
	const confidence = 0.95
	ci := stats.QuantileCI(n, 0.5, confidence)
	s.Low, s.High = sorted[max(ci.LoOrder, 1)-1], sorted[min(ci.HiOrder, n)-1]
	return s
}
