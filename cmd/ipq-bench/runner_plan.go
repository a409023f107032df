package main

import (
	"fmt"
	"math"
	"math/bits"
	"runtime"
	"time"

	"github.com/goipq/goipq/internal/bench/report"
	"github.com/goipq/goipq/internal/netlab"
	"github.com/goipq/goipq/ipq"
)

// usualSendBuffer is the kernel's default (net.core.wmem_default), for a flood that
// shares the consumer's CPU. The flood waits when 256 of its small packets are queued,
// as other senders do. Otherwise it would spend the consumer's CPU on packets that
// find the queue full.
const usualSendBuffer = 212992

// A plan is what is measured with one set of options: each value of a sweep has
// one, and a run without a sweep the only one.
type plan struct {
	opts     options
	value    string // the sweep's, such as "batch=8"
	scenario scenario
	handler  func() (ipq.Handler, error) // of a session
	procs    int                         // GOMAXPROCS

	params *report.Parameters
	setup  *report.Setup
	modes  []*report.Mode
}

// A siteKey tells networks apart.
type siteKey struct {
	queued       bool
	queues, size int
}

// newPlan prepares a plan for options that have been checked. The process may use the
// allowed CPUs, and procs of them at a time. The results go to pt.
func newPlan(o options, allowed []int, procs int, pt *report.Point) (*plan, error) {
	where := place(allowed, o.Queues)
	if o.Pin {
		if err := checkPin(where, o.Queues); err != nil {
			return nil, err
		}
	}
	// The runtime counted the CPUs before the floods got theirs.
	procs = min(procs, len(where.Consumer))
	if o.Workers == 0 {
		o.Workers = max(2, procs)
	}
	pt.Parameters = o.parameters()
	pt.Setup = report.Setup{
		Root:       netlab.Privileged(),
		Placement:  where,
		GOMAXPROCS: procs,
	}
	if where.Shared() {
		pt.Setup.SendBuffer = usualSendBuffer
	}
	p := &plan{
		opts:     o,
		value:    pt.Value,
		scenario: o.scenario(),
		handler:  o.forSessions(),
		procs:    procs,
		params:   &pt.Parameters,
		setup:    &pt.Setup,
	}
	pt.Modes = make([]report.Mode, len(o.Modes))
	for i, name := range o.Modes {
		pt.Modes[i] = report.Mode{Name: name, Rounds: []report.Round{}}
		p.modes = append(p.modes, &pt.Modes[i])
	}
	return p, nil
}

// enter makes the process run where the plan says.
func (p *plan) enter() error {
	if err := keepTo(p.setup.Consumer); err != nil {
		return err
	}
	runtime.GOMAXPROCS(p.procs)
	return nil
}

func (p *plan) key(mode string) siteKey {
	return siteKey{mode != report.ModeUnqueued, p.opts.Queues, p.opts.Size}
}

// parameters returns the options as the report has them.
func (o *options) parameters() report.Parameters {
	p := report.Parameters{
		Modes:       o.Modes,
		Duration:    o.Duration,
		Rounds:      o.Rounds,
		Soak:        o.Soak,
		Window:      o.window(),
		WarmUp:      o.warmUp(),
		Latency:     o.Latency,
		Rate:        o.Rate,
		Size:        o.Size,
		Flows:       o.flows(),
		Scenario:    o.Scenario,
		Handler:     o.Handler.String(),
		Bypass:      o.Bypass.percent(),
		IPv6:        o.IPv6,
		TCP:         o.tcp(),
		GSO:         o.gso(),
		IMIX:        o.IMIX,
		Queues:      o.Queues,
		MaxQueueLen: o.MaxQueueLen,
		Batch:       o.Batch,
		Workers:     o.Workers,
		BusyPoll:    o.BusyPoll,
		Pin:         o.Pin,
		Metrics:     o.Listen != "",
		Replies:     o.Replies,
	}
	if o.RFC2544 {
		p.Trial, p.Duration, p.Window, p.WarmUp = o.Trial, 0, 0, 0
	}
	return p
}

// queueConfig returns the configuration of a mode's queue.
func (p *plan) queueConfig(mode string) ipq.Config {
	o := &p.opts
	cfg := ipq.Config{
		Queues:      o.Queues,
		MaxQueueLen: o.MaxQueueLen,
		Workers:     o.Workers,
		BatchSize:   o.Batch,
		BusyPoll:    o.BusyPoll,
		PinCPU:      o.Pin,
		GSO:         o.gso(),
		ReadBuffer:  o.readBuffer(),
		Histograms:  o.Listen != "",
	}
	if mode == report.ModeInline {
		cfg.Workers = ipq.Inline
	}
	return cfg
}

// readBuffer is the size of a queue's socket buffer: 0, which is goipq's own choice,
// except for frames that are larger than goipq reckons with. For a packet the kernel
// charges 256 bytes, and the packet with a header of some 320 bytes, rounded up to a
// power of two: 8448 bytes for 4000, 16640 for 9000.
func (o *options) readBuffer() int {
	if o.Size <= usualMTU || o.tcp() {
		return 0
	}
	data := 1 << bits.Len(uint(o.Size+320-1))
	return min(o.MaxQueueLen*(data+256), math.MaxInt32)
}

// late says whether the sender of a paced flood was so late that it caught up with a
// burst that fills half of the queue.
func (o *options) late(lag time.Duration) []string {
	if burst := lag.Seconds() * o.Rate; o.tcp() || burst <= float64(o.MaxQueueLen)/2 {
		return nil
	}
	return []string{fmt.Sprintf("the sender was up to %v late", lag.Round(100*time.Microsecond))}
}
