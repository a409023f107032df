package report

import (
	"math"
	"slices"
)

// The names of metrics that are looked up.
const (
	OfferedRate     = "offered_per_second"
	ArrivedRate     = "arrived_per_second"
	Goodput         = "goodput_bits_per_second"
	ConnectionRate  = "connections_per_second"
	handlerDropRate = "handler_dropped_per_second"
	OfUnqueued      = "of_unqueued_percent"
	VerdictRate     = "verdicts_per_second"
	LostShare       = "lost_percent"
	CPUCost         = "cpu_ns_per_packet"
	loadCost        = "load_cpu_ns_per_packet"
	AllCost         = "all_cpu_ns_per_arrived"
	bypassedRate    = "bypassed_per_second"
	BypassedShare   = "bypassed_percent"
	ConnectionP50   = "connection_p50_us"
	ConnectionP99   = "connection_p99_us"
	LatencyP50      = "latency_p50_us"
	LatencyP99      = "latency_p99_us"
	LatencyP999     = "latency_p999_us"
	ThroughputRate  = "throughput_per_second" // of searches, which have no rounds
	BatchSize       = "packets_per_recvmmsg"
	Allocations     = "allocations_per_packet"
)

// A Metric is what one row of the table says about a round.
type Metric struct {
	Name     string // in the JSON report; it ends in the unit that it has there
	Label    string // in the table, with the unit that people are told
	Decimals int
	Of       func(*Round) float64 // in the unit of the label
	Loss     bool                 // made from KernelLost, so a guess where that is
	on       kinds
}

// labelUnits are the units of labels in those of names, where they differ.
var labelUnits = map[string]float64{Goodput: 1e9}

// In is the spread of the metric over a mode's rounds, in the unit of the label.
// There is none where the metric had no value.
func (x Metric) In(m *Mode) (s Spread, ok bool) {
	s, ok = m.Summary[x.Name]
	if unit, differs := labelUnits[x.Name]; differs {
		s.Spread = s.Scaled(1 / unit)
	}
	return s, ok
}

// summed returns a spread in the unit of the name, for a summary.
func (x Metric) summed(s Spread) Spread {
	if unit, differs := labelUnits[x.Name]; differs {
		s.Spread = s.Scaled(unit)
	}
	return s
}

// kinds say where a metric means something: in which kind of scenario, and
// whether it does so without a queue.
type kinds uint8

const (
	onPackets kinds = 1 << iota
	onBulk
	onChurn
	onTimed // packets that are timed
	withoutQueue
	besideUnqueued // only where the unqueued path is measured as well
	besideBypass   // only with a bypass

	onAll = onPackets | onBulk | onChurn
)

// kind is that of the report's scenario.
func (p *Parameters) kind() kinds {
	switch {
	case p.Churn():
		return onChurn
	case p.Bulk():
		return onBulk
	}
	return onPackets
}

// measures reports whether a metric means something in a mode.
func (p *Parameters) measures(x Metric, mode string) bool {
	kind := p.kind()
	if p.Latency {
		kind |= onTimed
	}
	if x.on&kind == 0 || mode == ModeUnqueued && x.on&withoutQueue == 0 {
		return false
	}
	if x.Name == loadCost && p.Latency {
		return false // a timed flood spins, and takes all of its CPU
	}
	if x.on&besideBypass != 0 && p.Bypass == nil {
		return false
	}
	return x.on&besideUnqueued == 0 || slices.Contains(p.Modes, ModeUnqueued)
}

var metrics = []Metric{
	{OfferedRate, "offered/s", 0, func(r *Round) float64 { return r.PerSecond(r.Sent) }, false, onPackets | withoutQueue},
	{"received_per_second", "received/s", 0, func(r *Round) float64 { return r.PerSecond(r.Received) }, false, onAll},
	{VerdictRate, "verdicts/s", 0, func(r *Round) float64 { return r.PerSecond(r.Verdicts) }, false, onAll},
	{ArrivedRate, "arrived/s", 0, func(r *Round) float64 { return r.PerSecond(r.Arrived) }, false, onAll | withoutQueue},
	{Goodput, "goodput, Gbit/s", 2, func(r *Round) float64 { return 8e-9 * r.PerSecond(r.Bytes) }, false, onBulk | withoutQueue},
	{ConnectionRate, "connections/s", 0, func(r *Round) float64 { return r.PerSecond(r.Connections) }, false, onChurn | withoutQueue},
	{ConnectionP50, "connection, µs, median", 0, func(r *Round) float64 { return r.Latency.us(median) }, false, onChurn | withoutQueue},
	{ConnectionP99, "connection, µs, 99 %", 0, func(r *Round) float64 { return r.Latency.us(p99) }, false, onChurn | withoutQueue},
	{"failed_connections_per_second", "failed connections/s", 0, func(r *Round) float64 { return r.PerSecond(r.Failed) }, false, onChurn | withoutQueue},
	{LatencyP50, "latency, µs, median", 1, func(r *Round) float64 { return r.Latency.us(median) }, false, onTimed | withoutQueue},
	{"latency_p90_us", "latency, µs, 90 %", 1, func(r *Round) float64 { return r.Latency.us(p90) }, false, onTimed | withoutQueue},
	{LatencyP99, "latency, µs, 99 %", 1, func(r *Round) float64 { return r.Latency.us(p99) }, false, onTimed | withoutQueue},
	{LatencyP999, "latency, µs, 99.9 %", 1, func(r *Round) float64 { return r.Latency.us(p999) }, false, onTimed | withoutQueue},
	{"latency_p9999_us", "latency, µs, 99.99 %", 1, func(r *Round) float64 { return r.Latency.us(p9999) }, false, onTimed | withoutQueue},
	{"latency_max_us", "latency, µs, longest", 1, func(r *Round) float64 { return r.Latency.us(longest) }, false, onTimed | withoutQueue},
	{OfUnqueued, "of unqueued, %", 1, func(r *Round) float64 { return r.ofUnqueued() }, false, onAll | besideUnqueued},
	{bypassedRate, "bypassed/s", 0, func(r *Round) float64 { return r.PerSecond(r.Bypassed) }, false, onAll | besideBypass},
	{BypassedShare, "bypassed, %", 1, func(r *Round) float64 { return 100 * Ratio(r.Bypassed, r.decided()) }, false, onAll | besideBypass},
	{"lost_per_second", "lost in the kernel/s", 0, func(r *Round) float64 { return r.PerSecond(r.KernelLost()) }, true, onAll},
	{LostShare, "lost in the kernel, %", 1, func(r *Round) float64 { return 100 * Ratio(r.KernelLost(), r.Sent) }, true, onPackets},
	{handlerDropRate, "dropped by the handler/s", 0, func(r *Round) float64 { return r.PerSecond(r.HandlerDropped) }, false, onAll},
	{CPUCost, "CPU ns per packet", 0, func(r *Round) float64 { return Ratio(uint64(r.CPU), r.decided()) }, false, onAll},
	{"cpu_user_ns_per_packet", "user ns per packet", 0, func(r *Round) float64 { return Ratio(uint64(r.CPUUser), r.decided()) }, false, onAll},
	{"kernel_ns_per_packet", "kernel ns per packet", 0, func(r *Round) float64 { return Ratio(uint64(r.Machine.System+r.Machine.SoftIRQ), r.packets()) }, false, onPackets | withoutQueue},
	{loadCost, "sender ns per packet", 0, func(r *Round) float64 { return Ratio(uint64(r.LoadCPU), r.Sent) }, false, onPackets | withoutQueue},
	{AllCost, "all CPU ns per arrived", 0, func(r *Round) float64 { return Ratio(uint64(r.CPU+r.LoadCPU), r.Arrived) }, false, onAll | withoutQueue | besideBypass},
	{BatchSize, "packets per recvmmsg", 1, func(r *Round) float64 { return Ratio(r.Received, r.Batches) }, false, onAll},
	{"verdicts_per_write", "verdicts per write", 1, func(r *Round) float64 { return Ratio(r.Verdicts, r.Writes) }, false, onAll},
	{Allocations, "allocations per packet", 3, func(r *Round) float64 { return Ratio(r.Mallocs, r.decided()) }, false, onAll},
}

// MetricNamed returns the metric of one of the names above.
func MetricNamed(name string) Metric {
	return metrics[slices.IndexFunc(metrics, func(x Metric) bool { return x.Name == name })]
}

// Rows are the metrics that the table of a run without a sweep shows.
func (p *Parameters) Rows() []Metric {
	var rows []Metric
	accepts := p.Handler == HandleAccept && p.Bypass == nil && !slices.Contains(p.Modes, ModeUnqueued)
	for _, x := range metrics {
		switch {
		case !slices.ContainsFunc(p.Modes, func(mode string) bool { return p.measures(x, mode) }):
		case accepts && (x.Name == ArrivedRate || x.Name == handlerDropRate):
			// The same as verdicts, and none.
		default:
			rows = append(rows, x)
		}
	}
	return rows
}

func (r *Round) ofUnqueued() float64 {
	if r.OfUnqueued == 0 {
		return math.NaN()
	}
	return 100 * r.OfUnqueued
}
