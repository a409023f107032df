package main

import (
	"math"
	"slices"
)

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
	throughputRate  = "throughput_per_second" // of searches, which have no rounds
	batchSize       = "packets_per_recvmmsg"
	allocations     = "allocations_per_packet"
)

// A metric is what one row of the table says about a round.
type metric struct {
	name     string // in the JSON report
	label    string // in the table
	decimals int
	of       func(*round) float64
	loss     bool // made from kernelLost, so a guess where that is
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
	case p.churn():
		return onChurn
	case p.bulk():
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
	{"lost_per_second", "lost in the kernel/s", 0, func(r *round) float64 { return r.perSecond(r.kernelLost()) }, true, onAll},
	{lostShare, "lost in the kernel, %", 1, func(r *round) float64 { return 100 * ratio(r.kernelLost(), r.Sent) }, true, onPackets},
	{handlerDropRate, "dropped by the handler/s", 0, func(r *round) float64 { return r.perSecond(r.HandlerDropped) }, false, onAll},
	{cpuCost, "CPU ns per packet", 0, func(r *round) float64 { return ratio(uint64(r.CPU), r.decided()) }, false, onAll},
	{"cpu_user_ns_per_packet", "user ns per packet", 0, func(r *round) float64 { return ratio(uint64(r.CPUUser), r.decided()) }, false, onAll},
	{"kernel_ns_per_packet", "kernel ns per packet", 0, func(r *round) float64 { return ratio(uint64(r.Machine.System+r.Machine.SoftIRQ), r.packets()) }, false, onPackets | withoutQueue},
	{loadCost, "sender ns per packet", 0, func(r *round) float64 { return ratio(uint64(r.LoadCPU), r.Sent) }, false, onPackets | withoutQueue},
	{allCost, "all CPU ns per arrived", 0, func(r *round) float64 { return ratio(uint64(r.CPU+r.LoadCPU), r.Arrived) }, false, onAll | withoutQueue | besideBypass},
	{batchSize, "packets per recvmmsg", 1, func(r *round) float64 { return ratio(r.Received, r.Batches) }, false, onAll},
	{"verdicts_per_write", "verdicts per write", 1, func(r *round) float64 { return ratio(r.Verdicts, r.Writes) }, false, onAll},
	{allocations, "allocations per packet", 3, func(r *round) float64 { return ratio(r.Mallocs, r.decided()) }, false, onAll},
}

// metricNamed returns the metric of one of the names above.
func metricNamed(name string) metric {
	return metrics[slices.IndexFunc(metrics, func(x metric) bool { return x.name == name })]
}

// rows are the metrics that the table of a run without a sweep shows.
func (p *parameters) rows() []metric {
	var rows []metric
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

func (r *round) ofUnqueued() float64 {
	if r.OfUnqueued == 0 {
		return math.NaN()
	}
	return 100 * r.OfUnqueued
}
