package report

import (
	"math"
	"slices"

	"github.com/goipq/goipq/internal/peers"
)

// A Spread is one metric over the rounds of a mode.
type Spread struct {
	peers.Spread
	// Noisy says why the figure is not to be relied on; "" if it is.
	Noisy string `json:"noisy,omitempty"`
}

// SpreadOf returns the spread of values, of which there is at least one.
func SpreadOf(values []float64) Spread { return Spread{Spread: *peers.SpreadOf(values)} }

// setOfUnqueued compares each round with the unqueued one of the same number.
func setOfUnqueued(p *Parameters, modes []Mode) {
	i := slices.IndexFunc(modes, func(m Mode) bool { return m.Name == ModeUnqueued })
	if i < 0 {
		return
	}
	of := p.Main().Of
	bare := make(map[int]float64)
	for _, rd := range modes[i].Rounds {
		bare[rd.Round] = of(&rd)
	}
	for j := range modes {
		for k := range modes[j].Rounds {
			rd := &modes[j].Rounds[k]
			if base := bare[rd.Round]; j != i && base > 0 {
				rd.OfUnqueued = of(rd) / base
			}
		}
	}
}

// summarise returns the spread of each metric that means something in a mode, over
// the rounds in which it has a value. A metric without any value is left out.
func (p *Parameters) summarise(m *Mode) map[string]Spread {
	summary := make(map[string]Spread)
	for _, x := range metrics {
		if !p.measures(x, m.Name) {
			continue
		}
		var values []float64
		var noise [][]string
		for i := range m.Rounds {
			if v := x.Of(&m.Rounds[i]); !math.IsNaN(v) {
				values = append(values, v)
				noise = append(noise, m.Rounds[i].Noise)
			}
		}
		if len(values) > 0 {
			s := SpreadOf(values)
			s.Noisy = noiseIn(s, x.Decimals, noise)
			summary[x.Name] = x.summed(s)
		}
	}
	return summary
}
