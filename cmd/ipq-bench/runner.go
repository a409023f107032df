package main

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"runtime/debug"
	"slices"
	"syscall"
	"time"

	"github.com/goipq/goipq/internal/flood"
	"github.com/goipq/goipq/internal/netlab"
	"github.com/goipq/goipq/ipq"
)

// usualSendBuffer is the kernel's default (net.core.wmem_default). A flood that
// shares the consumer's CPU has it: it waits when 256 of its small packets are
// queued, as other senders do, rather than spend the CPU that would decide them
// on packets that find the queue full.
const usualSendBuffer = 212992

// A runner measures all rounds into its report.
type runner struct {
	opts   options
	lab    *netlab.NS
	ruled  counted // by the rule that queues
	sunk   counted // by the rule where they arrive
	show   *progress
	report *report
}

// newRunner prepares everything that can go wrong before the first round.
func newRunner(opts options, show *progress) (*runner, error) {
	allowed, err := allowedCPUs()
	if err != nil {
		return nil, err
	}
	where := place(allowed, opts.Queues)
	if opts.Pin {
		if err := where.checkPin(opts.Queues); err != nil {
			return nil, err
		}
	}
	if err := keepTo(where.Consumer); err != nil {
		return nil, err
	}
	// The runtime has counted the CPUs when there were more.
	runtime.GOMAXPROCS(min(runtime.GOMAXPROCS(0), len(where.Consumer)))
	if opts.Workers == 0 {
		opts.Workers = max(2, runtime.GOMAXPROCS(0))
	}

	// Not the namespace that Enter made: there, the kernel shows its queues'
	// drop counters to root of the machine only.
	lab, err := netlab.New()
	if err != nil {
		return nil, err
	}
	r := &runner{opts: opts, lab: lab, show: show}
	if err := r.install(where.Fanout); err != nil {
		return nil, errors.Join(err, lab.Close())
	}
	r.report = r.newReport(len(allowed), where)
	return r, nil
}

// install puts the rules in place. Unless replies are asked for, what the
// consumer has accepted is dropped on its arrival: the kernel would answer
// within the consumer's own system call, and the answer costs as much CPU as
// everything else.
func (r *runner) install(fanout bool) (err error) {
	pings := netlab.Match{Family: syscall.AF_INET, EchoRequest: true}
	if r.opts.Replies {
		r.sunk.rules, err = r.lab.InstallCounter(netlab.Input, 0, pings)
	} else {
		r.sunk.rules, err = r.lab.InstallDrop(netlab.Input, 0, pings)
	}
	if err != nil {
		return err
	}
	r.ruled.rules, err = r.lab.InstallQueue(netlab.Rule{
		Hook:      netlab.Output,
		Match:     pings,
		Queues:    r.opts.Queues,
		FanoutCPU: fanout,
	})
	return err
}

func (r *runner) newReport(cpus int, where placement) *report {
	o := &r.opts
	rule := "nft queue expression"
	if r.ruled.rules.UsesTarget() {
		rule = "NFQUEUE target"
	}
	version := "unknown"
	if info, ok := debug.ReadBuildInfo(); ok {
		version = info.Main.Version
	}
	rep := &report{
		Schema: schema,
		Time:   time.Now().UTC(),
		Machine: machine{
			Kernel: kernelRelease(),
			Arch:   runtime.GOARCH,
			CPU:    cpuModel(),
			CPUs:   cpus,
			Go:     runtime.Version(),
			Goipq:  version,
		},
		Parameters: parameters{
			Modes:    o.Modes,
			Duration: o.Duration,
			Rounds:   rounds,
			Window:   o.window(),
			WarmUp:   o.warmUp(),
			Rate:     o.Rate,
			Size:     o.Size,
			Flows:    flows,
			Queues:   o.Queues,
			MaxLen:   o.MaxLen,
			Batch:    o.Batch,
			Workers:  o.Workers,
			BusyPoll: o.BusyPoll,
			Pin:      o.Pin,
			Replies:  o.Replies,
		},
		Setup: setup{
			Root:       netlab.Privileged(),
			Rule:       rule,
			placement:  where,
			GOMAXPROCS: runtime.GOMAXPROCS(0),
		},
		Books: newBooks(),
	}
	if where.shared() {
		rep.Setup.SendBuffer = usualSendBuffer
	}
	for _, name := range o.Modes {
		rep.Modes = append(rep.Modes, mode{Name: name, Rounds: []round{}})
	}
	return rep
}

func (r *runner) close() { r.lab.Close() }

// run measures all rounds, or as many as it can until ctx ends. That is not an
// error.
func (r *runner) run(ctx context.Context) error {
	r.show.start(r.report.Parameters.total())
	defer r.show.end()
	var order []*mode
	for i := range r.report.Modes {
		order = append(order, &r.report.Modes[i])
	}
	for n := 1; n <= rounds; n++ {
		for _, m := range order {
			if ctx.Err() != nil {
				return nil
			}
			if err := r.round(ctx, m, n); err != nil {
				return fmt.Errorf("round %d, %s: %w", n, m.Name, err)
			}
		}
		slices.Reverse(order) // so that no mode profits from its place
	}
	return nil
}

// round measures round n of a mode.
func (r *runner) round(ctx context.Context, m *mode, n int) error {
	s, err := startSession(r.lab, r.queueConfig(m.Name), r.floodConfigs())
	if err != nil {
		return err
	}
	r.report.Setup.ReadBuffer = s.queue.Stats().ReadBuffer
	title := r.report.title(m.Name)
	r.show.begin(n, title)
	rd, ok := s.measure(ctx, r.opts.warmUp(), r.opts.window(), r.show)
	life, err := s.end()
	if err != nil {
		return err
	}
	if life.Ruled, err = r.ruled.more(); err != nil {
		return err
	}
	if life.Arrived, err = r.sunk.more(); err != nil {
		return err
	}
	r.report.Books.enter(fmt.Sprintf("round %d, %s", n, title), &life)
	if ok {
		rd.Round, rd.Life = n, life
		m.Rounds = append(m.Rounds, rd)
		r.show.done(&rd)
	}
	return nil
}

// counted is a ruleset with what its counters stood at.
type counted struct {
	rules   *netlab.Ruleset
	packets uint64
}

// more returns how many packets were counted since it was last asked.
func (c *counted) more() (uint64, error) {
	counters, err := c.rules.Counters()
	if err != nil {
		return 0, err
	}
	before := c.packets
	c.packets = 0
	for _, counter := range counters {
		c.packets += counter.Packets
	}
	return c.packets - before, nil
}

func (r *runner) queueConfig(mode string) ipq.Config {
	cfg := ipq.Config{
		Queues:    r.opts.Queues,
		MaxLen:    r.opts.MaxLen,
		Workers:   r.opts.Workers,
		BatchSize: r.opts.Batch,
		BusyPoll:  r.opts.BusyPoll,
		PinCPU:    r.opts.Pin,
	}
	if mode == modeInline {
		cfg.Workers = ipq.Inline
	}
	return cfg
}

func (r *runner) floodConfigs() []flood.Config {
	var cfgs []flood.Config
	cpus := r.report.Setup.Flood
	for _, cpu := range cpus {
		cfgs = append(cfgs, flood.Config{
			Flows: flows,
			Size:  r.opts.Size,
			Rate:  r.opts.Rate / float64(len(cpus)),
			CPUs:  []int{cpu},
			// 0, all that it may take, where it has a CPU to itself.
			SendBuffer: r.report.Setup.SendBuffer,
		})
	}
	return cfgs
}
