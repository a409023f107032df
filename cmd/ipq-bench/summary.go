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

// Metrics that more than the table look at.
const (
	offeredRate = "offered_per_second"
	verdictRate = "verdicts_per_second"
	lostShare   = "lost_percent"
	cpuCost     = "cpu_ns_per_packet"
)

// A metric is what one row of the table says about a round.
type metric struct {
	name     string // in the JSON report
	label    string // in the table
	decimals int
	of       func(*round) float64
	loss     bool // made from tally.lost, so a guess where that is
}

var metrics = []metric{
	{offeredRate, "offered/s", 0, func(r *round) float64 { return r.perSecond(r.Sent) }, false},
	{"received_per_second", "received/s", 0, func(r *round) float64 { return r.perSecond(r.Received) }, false},
	{verdictRate, "verdicts/s", 0, func(r *round) float64 { return r.perSecond(r.Verdicts) }, false},
	{"lost_per_second", "lost in the kernel/s", 0, func(r *round) float64 { return r.perSecond(r.lost()) }, true},
	{lostShare, "lost in the kernel, %", 1, func(r *round) float64 { return 100 * ratio(r.lost(), r.Sent) }, true},
	{cpuCost, "CPU ns per packet", 0, func(r *round) float64 { return ratio(uint64(r.CPU), r.Verdicts) }, false},
	{"packets_per_recvmmsg", "packets per recvmmsg", 1, func(r *round) float64 { return ratio(r.Received, r.Batches) }, false},
	{"verdicts_per_write", "verdicts per write", 1, func(r *round) float64 { return ratio(r.Verdicts, r.Writes) }, false},
	{"allocations_per_packet", "allocations per packet", 3, func(r *round) float64 { return ratio(r.Mallocs, r.Verdicts) }, false},
}

func (r *round) perSecond(n uint64) float64 { return float64(n) / r.Window.Seconds() }

// ratio is not a number when there is nothing to divide by.
func ratio(a, b uint64) float64 {
	if b == 0 {
		return math.NaN()
	}
	return float64(a) / float64(b)
}

// summarise returns the spread of each metric over the rounds in which it has
// a value; without any it is left out.
func summarise(rounds []round) map[string]spread {
	summary := make(map[string]spread)
	for _, m := range metrics {
		var values []float64
		for i := range rounds {
			if v := m.of(&rounds[i]); !math.IsNaN(v) {
				values = append(values, v)
			}
		}
		if len(values) > 0 {
			summary[m.name] = spreadOf(values)
		}
	}
	return summary
}
