package main

import "time"

// A machineCPU is what all CPUs of the machine did in a window, as /proc/stat
// counts it: in ticks of 10 ms, so that windows of less than a second tell
// little. Times are summed over the CPUs.
type machineCPU struct {
	User    time.Duration `json:"user_ns"`    // in processes, low priorities included
	System  time.Duration `json:"system_ns"`  // in their system calls
	SoftIRQ time.Duration `json:"softirq_ns"` // in interrupts of both kinds
	Idle    time.Duration `json:"idle_ns"`    // waiting for disks included
	Steal   time.Duration `json:"steal_ns"`   // taken by the hypervisor
}

func (c machineCPU) minus(before machineCPU) machineCPU {
	return machineCPU{
		User:    c.User - before.User,
		System:  c.System - before.System,
		SoftIRQ: c.SoftIRQ - before.SoftIRQ,
		Idle:    c.Idle - before.Idle,
		Steal:   c.Steal - before.Steal,
	}
}

// losses tell where packets ended before the far end. All but Handler are lost
// by the kernel.
type losses struct {
	// QueueFull counts those that came to a queue with no room (queue_dropped),
	// SocketFull those that did not fit into its socket's buffer
	// (queue_user_dropped).
	QueueFull  uint64 `json:"queue_full"`
	SocketFull uint64 `json:"socket_full"`
	Handler    uint64 `json:"handler"` // verdicts that drop
	// BeforeQueue counts what was sent and did not come to the rule,
	// BehindQueue what was accepted and did not arrive: links and backlogs
	// were full. Both are 0 for connections, whose senders count no packets.
	BeforeQueue uint64 `json:"before_queue"`
	BehindQueue uint64 `json:"behind_queue"`
	// Known is false where the kernel does not show its counters: QueueFull then
	// is what is missing.
	Known bool `json:"known"`
}

// A throughput is that of RFC 2544, section 26.1: the highest offered rate at
// which not one packet is lost, found by binary search.
type throughput struct {
	// Rate is the spread of the searches' results in packets a second, as sent.
	Rate spread `json:"rate_per_second"`
	// Resolution is how near to each other the lowest rate that lost packets
	// and the highest that did not have come, as a share of the former.
	Resolution float64       `json:"resolution"`
	Trial      time.Duration `json:"trial_ns"`
	// Trials is how many a rate gets: it passes when most of them lose nothing.
	Trials   int      `json:"trials"`
	Searches []search `json:"searches"` // one for each round
}

// A search is one binary search.
type search struct {
	Round int     `json:"round"`           // counted from 1
	Rate  float64 `json:"rate_per_second"` // its result
	// Limit is what kept the search from going higher: "loss", or "sender" when
	// more could not be sent, and the result is a lower bound.
	Limit  string   `json:"limit"`
	Noise  []string `json:"noise,omitempty"` // a sentence for each thing that disturbed it
	Trials []trial  `json:"trials"`          // in the order in which they were made
}

// The limits of a search.
const (
	limitLoss   = "loss"
	limitSender = "sender"
)

// A trial offers one rate for a time, then waits until all packets have come to
// their end, and counts.
type trial struct {
	Target float64 `json:"target_per_second"` // 0: as many as go
	// Offered is the rate at which packets were sent, by the senders' own
	// counts and clocks.
	Offered  float64 `json:"offered_per_second"`
	Sent     uint64  `json:"sent"`     // by the senders' own count
	Arrived  uint64  `json:"arrived"`  // by the kernel's count at the far end
	Verdicts uint64  `json:"verdicts"` // 0 without a queue
	Lost     losses  `json:"lost"`
	Passed   bool    `json:"passed"` // nothing was lost, except by the handler
	// Lag is the furthest that a packet was sent behind its time.
	Lag time.Duration `json:"lag_ns"`
	// Void says why the senders did not offer what they should; such trials were
	// made anew, unless there were several of a rate.
	Void string `json:"void,omitempty"`
}

// A percentile is one point of a latency's distribution.
type percentile struct {
	Percent float64       `json:"percent"`
	Time    time.Duration `json:"ns"`
}

// A sweep is a run over several values of one parameter, whose rounds take
// turns.
type sweep struct {
	Parameter string  `json:"parameter"` // the flag: "batch", "size", "handler" ...
	Numeric   bool    `json:"numeric"`   // all values are numbers
	Points    []point `json:"points"`    // in the order of the command line
}

// A point is one value of the swept parameter, and all that was measured with
// it: the same as a report without a sweep has.
type point struct {
	Value      string     `json:"value"`            // as the flag takes it
	Number     float64    `json:"number,omitempty"` // if the sweep is numeric
	Parameters parameters `json:"parameters"`
	Setup      setup      `json:"setup"`
	Modes      []mode     `json:"modes"`
}
