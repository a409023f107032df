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

// Metrics that more than the table look at.
const (
	offeredRate     = "offered_per_second"
	arrivedRate     = "arrived_per_second"
	goodput         = "goodput_bits_per_second"
	connectionRate  = "connections_per_second"
	handlerDropRate = "handler_dropped_per_second"
	ofUnqueued      = "of_unqueued_percent"
	verdictRate     = "verdicts_per_second"
	lostShare       = "lost_percent"
	cpuCost         = "cpu_ns_per_packet"
	loadCost        = "load_cpu_ns_per_packet"
	allCost         = "all_cpu_ns_per_arrived"
	bypassedRate    = "bypassed_per_second"
	bypassedShare   = "bypassed_percent"
	connectionP50   = "connection_p50_us"
	connectionP99   = "connection_p99_us"
	latencyP50      = "latency_p50_us"
	latencyP99      = "latency_p99_us"
	latencyP999     = "latency_p999_us"
)

// A metric is what one row of the table says about a round.
type metric struct {
	name     string // in the JSON report
	label    string // in the table
	decimals int
	of       func(*round) float64
	loss     bool // made from tally.lost, so a guess where that is
	on       kinds
}

// kinds are where a metric means something: in which kind of scenario, and
// whether without a queue, too.
type kinds uint8

const (
	onPackets kinds = 1 << iota
	onBulk
	onChurn
	onTimed // packets that are timed, too
	withoutQueue
	besideUnqueued // only where the unqueued path is measured, too
	besideBypass   // only with a bypass

	onAll = onPackets | onBulk | onChurn
)

// kind is that of the report's scenario.
func (p *parameters) kind() kinds {
	switch {
	case p.Scenario == scenarioChurn:
		return onChurn
	case p.TCP:
		return onBulk
	}
	return onPackets
}

// measures reports whether a metric means something in a mode.
func (p *parameters) measures(x metric, mode string) bool {
	kind := p.kind()
	if p.Latency {
		kind |= onTimed
	}
	if x.on&kind == 0 || mode == modeUnqueued && x.on&withoutQueue == 0 {
		return false
	}
	if x.name == loadCost && p.Latency {
		return false // a timed flood takes all of a CPU
	}
	if x.on&besideBypass != 0 && p.Bypass == nil {
		return false
	}
	return x.on&besideUnqueued == 0 || slices.Contains(p.Modes, modeUnqueued)
}

var metrics = []metric{
	{offeredRate, "offered/s", 0, func(r *round) float64 { return r.perSecond(r.Sent) }, false, onPackets | withoutQueue},
	{"received_per_second", "received/s", 0, func(r *round) float64 { return r.perSecond(r.Received) }, false, onAll},
	{verdictRate, "verdicts/s", 0, func(r *round) float64 { return r.perSecond(r.Verdicts) }, false, onAll},
	{arrivedRate, "arrived/s", 0, func(r *round) float64 { return r.perSecond(r.Arrived) }, false, onAll | withoutQueue},
	{goodput, "goodput, Mbit/s", 0, func(r *round) float64 { return 8e-6 * r.perSecond(r.Bytes) }, false, onBulk | withoutQueue},
	{connectionRate, "connections/s", 0, func(r *round) float64 { return r.perSecond(r.Connections) }, false, onChurn | withoutQueue},
	{connectionP50, "connection, µs, median", 0, func(r *round) float64 { return r.Latency.us(median) }, false, onChurn | withoutQueue},
	{connectionP99, "connection, µs, 99 %", 0, func(r *round) float64 { return r.Latency.us(p99) }, false, onChurn | withoutQueue},
	{"failed_connections_per_second", "failed connections/s", 0, func(r *round) float64 { return r.perSecond(r.Failed) }, false, onChurn | withoutQueue},
	{latencyP50, "latency, µs, median", 1, func(r *round) float64 { return r.Latency.us(median) }, false, onTimed | withoutQueue},
	{"latency_p90_us", "latency, µs, 90 %", 1, func(r *round) float64 { return r.Latency.us(p90) }, false, onTimed | withoutQueue},
	{latencyP99, "latency, µs, 99 %", 1, func(r *round) float64 { return r.Latency.us(p99) }, false, onTimed | withoutQueue},
	{latencyP999, "latency, µs, 99.9 %", 1, func(r *round) float64 { return r.Latency.us(p999) }, false, onTimed | withoutQueue},
	{"latency_p9999_us", "latency, µs, 99.99 %", 1, func(r *round) float64 { return r.Latency.us(p9999) }, false, onTimed | withoutQueue},
	{"latency_max_us", "latency, µs, longest", 1, func(r *round) float64 { return r.Latency.us(longest) }, false, onTimed | withoutQueue},
	{ofUnqueued, "of unqueued, %", 1, func(r *round) float64 { return r.ofUnqueued() }, false, onAll | besideUnqueued},
	{bypassedRate, "bypassed/s", 0, func(r *round) float64 { return r.perSecond(r.Bypassed) }, false, onAll | besideBypass},
	{bypassedShare, "bypassed, %", 1, func(r *round) float64 { return 100 * ratio(r.Bypassed, r.decided()) }, false, onAll | besideBypass},
	{"lost_per_second", "lost in the kernel/s", 0, func(r *round) float64 { return r.perSecond(r.lost()) }, true, onAll},
	{lostShare, "lost in the kernel, %", 1, func(r *round) float64 { return 100 * ratio(r.lost(), r.Sent) }, true, onPackets},
	{handlerDropRate, "dropped by the handler/s", 0, func(r *round) float64 { return r.perSecond(r.HandlerDropped) }, false, onAll},
	{cpuCost, "CPU ns per packet", 0, func(r *round) float64 { return ratio(uint64(r.CPU), r.decided()) }, false, onAll},
	{"cpu_user_ns_per_packet", "user ns per packet", 0, func(r *round) float64 { return ratio(uint64(r.CPUUser), r.decided()) }, false, onAll},
	{"kernel_ns_per_packet", "kernel ns per packet", 0, func(r *round) float64 { return ratio(uint64(r.Machine.System+r.Machine.SoftIRQ), r.packets()) }, false, onPackets | withoutQueue},
	{loadCost, "sender ns per packet", 0, func(r *round) float64 { return ratio(uint64(r.LoadCPU), r.Sent) }, false, onPackets | withoutQueue},
	{allCost, "all CPU ns per arrived", 0, func(r *round) float64 { return ratio(uint64(r.CPU+r.LoadCPU), r.Arrived) }, false, onAll | withoutQueue | besideBypass},
	{"packets_per_recvmmsg", "packets per recvmmsg", 1, func(r *round) float64 { return ratio(r.Received, r.Batches) }, false, onAll},
	{"verdicts_per_write", "verdicts per write", 1, func(r *round) float64 { return ratio(r.Verdicts, r.Writes) }, false, onAll},
	{"allocations_per_packet", "allocations per packet", 3, func(r *round) float64 { return ratio(r.Mallocs, r.decided()) }, false, onAll},
}

// main is the metric that a scenario is judged by.
func (p *parameters) main() metric {
	name := arrivedRate
	switch p.kind() {
	case onBulk:
		name = goodput
	case onChurn:
		name = connectionRate
	}
	return metricNamed(name)
}

func (r *round) ofUnqueued() float64 {
	if r.OfUnqueued == 0 {
		return math.NaN()
	}
	return 100 * r.OfUnqueued
}

// compare sets the rounds' OfUnqueued.
func (rep *report) compare() {
	i := slices.IndexFunc(rep.Modes, func(m mode) bool { return m.Name == modeUnqueued })
	if i < 0 {
		return
	}
	of := rep.Parameters.main().of
	bare := make(map[int]float64)
	for _, rd := range rep.Modes[i].Rounds {
		bare[rd.Round] = of(&rd)
	}
	for j := range rep.Modes {
		for k := range rep.Modes[j].Rounds {
			rd := &rep.Modes[j].Rounds[k]
			if base := bare[rd.Round]; j != i && base > 0 {
				rd.OfUnqueued = of(rd) / base
			}
		}
	}
}

// packets is how many the round carried.
func (r *round) packets() uint64 {
	if n := r.decided(); n > 0 {
		return n
	}
	return r.Arrived
}

// decided is how many were decided, by the handler or the bypass.
func (t *tally) decided() uint64 { return t.Verdicts + t.Bypassed }

func (r *round) perSecond(n uint64) float64 { return float64(n) / r.Window.Seconds() }

// ratio is not a number when there is nothing to divide by.
func ratio(a, b uint64) float64 {
	if b == 0 {
		return math.NaN()
	}
	return float64(a) / float64(b)
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

// rows are the metrics that the table shows.
func (rep *report) rows() []metric {
	var rows []metric
	p := &rep.Parameters
	accepts := p.Handler == handleAccept && p.Bypass == nil && !slices.Contains(p.Modes, modeUnqueued)
	for _, x := range metrics {
		switch {
		case !slices.ContainsFunc(p.Modes, func(mode string) bool { return p.measures(x, mode) }):
		case accepts && (x.name == arrivedRate || x.name == handlerDropRate):
			// The same as verdicts, and none.
		default:
			rows = append(rows, x)
		}
	}
	return rows
}
