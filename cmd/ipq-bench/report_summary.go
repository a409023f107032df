package main

import (
	"math"
	"slices"
)

// A spread is one metric over the rounds of a mode.
type spread struct {
	Median float64 `json:"median"`
	Min    float64 `json:"min"`
	Max    float64 `json:"max"`
	// Noisy says why the figure is not to be relied on; "" if it is.
	Noisy string `json:"noisy,omitempty"`
}

// spreadOf returns the spread of values, of which there is at least one.
func spreadOf(values []float64) spread {
	slices.Sort(values)
	n := len(values)
	return spread{
		Median: (values[(n-1)/2] + values[n/2]) / 2,
		Min:    values[0],
		Max:    values[n-1],
	}
}

// setOfUnqueued sets OfUnqueued of all rounds.
func setOfUnqueued(p *parameters, modes []mode) {
	i := slices.IndexFunc(modes, func(m mode) bool { return m.Name == modeUnqueued })
	if i < 0 {
		return
	}
	of := p.main().of
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

// summarise returns the spread of each metric that means something in a mode,
// over the rounds in which it has a value; without any it is left out.
func (p *parameters) summarise(m *mode) map[string]spread {
	summary := make(map[string]spread)
	for _, x := range metrics {
		if !p.measures(x, m.Name) {
			continue
		}
		var values []float64
		var noise [][]string
		for i := range m.Rounds {
			if v := x.of(&m.Rounds[i]); !math.IsNaN(v) {
				values = append(values, v)
				noise = append(noise, m.Rounds[i].Noise)
			}
		}
		if len(values) > 0 {
			s := spreadOf(values)
			s.Noisy = noiseIn(s, x.decimals, noise)
			summary[x.name] = s
		}
	}
	return summary
}
