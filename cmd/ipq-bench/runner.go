package main

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/bits"
	"runtime"
	"runtime/debug"
	"slices"
	"time"

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
	opts     options
	scenario scenario
	handler  ipq.Handler
	sites    map[bool]*site // by whether there is a queue
	show     *progress
	report   *report
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
	r := &runner{
		opts:     opts,
		scenario: opts.scenario(),
		handler:  opts.Handler.handler(opts.Patterns),
		sites:    make(map[bool]*site),
		show:     show,
	}
	if err := r.build(where.Fanout); err != nil {
		return nil, errors.Join(err, r.close())
	}
	r.report = r.newReport(len(allowed), where)
	return r, nil
}

// build makes the networks that the modes need: one with a queue and one
// without, so that no rule changes between rounds.
func (r *runner) build(fanout bool) error {
	for _, mode := range r.opts.Modes {
		queued := mode != modeUnqueued
		if r.sites[queued] != nil {
			continue
		}
		s, err := r.scenario.build(&r.opts)
		if err != nil {
			return err
		}
		r.sites[queued] = s
		if err := s.install(queued, fanout, r.opts.Queues, r.opts.Bypass.on); err != nil {
			return err
		}
	}
	return nil
}

func (r *runner) newReport(cpus int, where placement) *report {
	o := &r.opts
	rule := ""
	if s := r.sites[true]; s != nil {
		rule = s.kind()
	}
	version := "unknown"
	if info, ok := debug.ReadBuildInfo(); ok {
		version = info.Main.Version
	}
	rep := &report{
		Schema: schema,
		Kind:   o.kind(),
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
			Rounds:   o.Rounds,
			Soak:     o.Soak,
			Window:   o.window(),
			WarmUp:   o.warmUp(),
			Rate:     o.Rate,
			Size:     o.Size,
			Flows:    o.flows(),
			Scenario: o.Scenario,
			Handler:  o.Handler.String(),
			Bypass:   o.Bypass.percent(),
			IPv6:     o.IPv6,
			TCP:      o.tcp(),
			GSO:      o.gso(),
			IMIX:     o.IMIX,
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

func (r *runner) close() error {
	var errs []error
	for _, s := range r.sites {
		errs = append(errs, s.close())
	}
	return errors.Join(errs...)
}

// run measures all rounds, or as many as it can until ctx ends. That is not an
// error.
func (r *runner) run(ctx context.Context) error {
	r.show.start(&r.report.Parameters)
	defer r.show.end()
	var order []*mode
	for i := range r.report.Modes {
		order = append(order, &r.report.Modes[i])
	}
	for n := 1; n <= r.opts.Rounds; n++ {
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
	at := r.sites[m.Name != modeUnqueued]
	cfg := r.queueConfig(m.Name)
	handler, err := at.shorten(&cfg, r.handler, r.opts.Bypass)
	if err != nil {
		return err
	}
	s, err := startSession(at, cfg, handler, func() (*load, error) {
		return r.scenario.start(at, &r.opts, r.report.Setup.placement, r.report.Setup.SendBuffer)
	})
	if err != nil {
		return err
	}
	if s.queue != nil {
		r.report.Setup.ReadBuffer = s.queue.Stats().ReadBuffer
	}
	title := r.report.title(m.Name)
	r.show.begin(n, title, at.queued)
	rd, ok, err := s.measure(ctx, r.opts.warmUp(), r.opts.window(), r.show)
	life, endErr := s.end()
	if err := errors.Join(err, endErr); err != nil {
		return err
	}
	life.Segmented = r.opts.tcp() && !r.opts.gso()
	r.report.Books.enter(fmt.Sprintf("round %d, %s", n, title), &life)
	if ok {
		rd.Round, rd.Life = n, life
		m.Rounds = append(m.Rounds, rd)
		r.show.done(&rd)
	}
	return nil
}

// queueConfig is where the queue of a mode is configured.
func (r *runner) queueConfig(mode string) ipq.Config {
	cfg := ipq.Config{
		Queues:     r.opts.Queues,
		MaxLen:     r.opts.MaxLen,
		Workers:    r.opts.Workers,
		BatchSize:  r.opts.Batch,
		BusyPoll:   r.opts.BusyPoll,
		PinCPU:     r.opts.Pin,
		GSO:        r.opts.gso(),
		ReadBuffer: r.opts.readBuffer(),
	}
	if mode == modeInline {
		cfg.Workers = ipq.Inline
	}
	return cfg
}

// readBuffer is the size of a queue's socket buffer: goipq's own choice, except
// for frames that are larger than it reckons with. The kernel charges the
// packet's data rounded up to a power of two (8448 bytes for 4000, 16640 for
// 9000), which holds its own header of some 320 bytes, too, and 256 beside it.
func (o *options) readBuffer() int {
	if o.Size <= usualMTU || o.tcp() {
		return 0
	}
	data := 1 << bits.Len(uint(o.Size+320-1))
	return min(o.MaxLen*(data+256), math.MaxInt32)
}
