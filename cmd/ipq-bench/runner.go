package main

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"runtime/debug"
	"slices"

	"github.com/goipq/goipq/internal/bench/report"
	"github.com/goipq/goipq/internal/flood"
)

// A runner measures all rounds into its report.
type runner struct {
	opts     options
	plans    []*plan
	current  *plan
	sites    map[siteKey]*site
	show     *progress
	report   *report.Report
	exporter *exporter // nil without -listen
}

// newRunner prepares all that can fail, before the first round.
func newRunner(opts options, show *progress) (*runner, error) {
	allowed, err := flood.AllowedCPUs()
	if err != nil {
		return nil, err
	}
	r := &runner{
		opts:   opts,
		sites:  make(map[siteKey]*site),
		show:   show,
		report: report.New(opts.kind(), thisMachine(len(allowed))),
	}
	if err := r.prepare(allowed); err != nil {
		return nil, errors.Join(err, r.close())
	}
	return r, nil
}

// prepare makes the plans, and the networks that they need.
func (r *runner) prepare(allowed []int) error {
	procs := runtime.GOMAXPROCS(0)
	rep := r.report
	points := []report.Point{{}}
	if s := r.opts.Sweep; s != nil {
		points = s.points()
		rep.Sweep = &report.Sweep{Parameter: s.name, Numeric: s.numeric, Points: points}
	}
	for i := range points {
		o := r.opts
		if rep.Sweep != nil {
			o = r.opts.Sweep.options[i]
		}
		p, err := newPlan(o, allowed, procs, &points[i])
		if err != nil {
			return err
		}
		if rep.Sweep != nil {
			p.value = rep.Sweep.Parameter + "=" + p.value
		}
		r.plans = append(r.plans, p)
	}
	if err := r.enter(r.plans[0]); err != nil {
		return err
	}
	for _, p := range r.plans {
		if err := r.build(p); err != nil {
			return err
		}
	}
	rep.Parameters, rep.Setup, rep.Modes = points[0].Parameters, points[0].Setup, []report.Mode{}
	if rep.Sweep == nil {
		rep.Modes = points[0].Modes
		r.plans[0].params, r.plans[0].setup = &rep.Parameters, &rep.Setup
	}
	return nil
}

// enter makes p the current plan.
func (r *runner) enter(p *plan) error {
	if r.current == p {
		return nil
	}
	r.current = p
	return p.enter()
}

// build makes the networks that the modes need: those with a queue and those
// without, so that no rule changes between rounds.
func (r *runner) build(p *plan) error {
	for _, mode := range p.opts.Modes {
		key := p.key(mode)
		if r.sites[key] == nil {
			s, err := p.scenario.build(&p.opts)
			if err != nil {
				return err
			}
			r.sites[key] = s
			if err := s.install(key.queued, p.setup.Fanout, p.opts.Queues, p.opts.Bypass.on); err != nil {
				return err
			}
		}
		if key.queued {
			p.setup.Rule = r.sites[key].kind()
		}
	}
	return nil
}

// thisMachine is what the run is made on and with.
func thisMachine(cpus int) report.Machine {
	version := "unknown"
	if info, ok := debug.ReadBuildInfo(); ok {
		version = info.Main.Version
	}
	return report.Machine{
		Kernel: kernelRelease(),
		Arch:   runtime.GOARCH,
		CPU:    cpuModel(),
		CPUs:   cpus,
		Go:     runtime.Version(),
		Goipq:  version,
	}
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
func (r *runner) run(ctx context.Context) error { return r.takeTurns(ctx, r.round) }

// takeTurns calls measure for each round of each mode of each plan. All of them have
// a round before any has the next.
func (r *runner) takeTurns(ctx context.Context, measure func(ctx context.Context, p *plan, m *report.Mode, n int) error) error {
	type turn struct {
		p *plan
		m *report.Mode
	}
	var order []turn
	for _, p := range r.plans {
		for _, m := range p.modes {
			order = append(order, turn{p, m})
		}
	}
	r.show.start(&r.report.Parameters, r.opts.Rounds*len(order), r.report.Total())
	defer r.show.end()
	for n := 1; n <= r.opts.Rounds; n++ {
		for _, t := range order {
			if ctx.Err() != nil {
				return nil
			}
			if err := r.enter(t.p); err != nil {
				return err
			}
			if err := measure(ctx, t.p, t.m, n); err != nil {
				return fmt.Errorf("round %d, %s: %w", n, r.title(t.p, t.m), err)
			}
		}
		slices.Reverse(order) // so that no mode profits from its place
	}
	return nil
}

// title names a mode of a plan for people.
func (r *runner) title(p *plan, m *report.Mode) string {
	if p.value == "" {
		return p.params.Title(m.Name)
	}
	return p.value + ", " + p.params.Title(m.Name)
}

// begin starts the session of round n of a mode, and returns it with its title.
func (r *runner) begin(p *plan, m *report.Mode, n int, start func(*site) (*load, error)) (s *session, title string, err error) {
	at := r.sites[p.key(m.Name)]
	s, err = startSession(at, p.queueConfig(m.Name), p.handler, func() (*load, error) { return start(at) })
	if err != nil {
		return nil, "", err
	}
	r.exporter.show(s.queue)
	if s.queue != nil {
		p.setup.ReadBuffer = s.queue.Stats().ReadBuffer
	}
	title = r.title(p, m)
	r.show.begin(n, title, at.queued)
	return s, title, nil
}

// round measures round n of a mode.
func (r *runner) round(ctx context.Context, p *plan, m *report.Mode, n int) error {
	s, title, err := r.begin(p, m, n, func(at *site) (*load, error) {
		return p.scenario.start(at, &p.opts, p.setup.Placement, p.setup.SendBuffer)
	})
	if err != nil {
		return err
	}
	rd, ok, err := s.measure(ctx, p.opts.warmUp(), p.opts.window(), r.show)
	l, endErr := s.end()
	if err := errors.Join(err, endErr); err != nil {
		return err
	}
	l.Segmented = p.opts.tcp() && !p.opts.gso()
	r.report.Books.Enter(fmt.Sprintf("round %d, %s", n, title), &l)
	if ok {
		rd.Round, rd.Life = n, l
		rd.Noise = append(rd.Noise, p.opts.late(rd.Lag)...)
		m.Rounds = append(m.Rounds, rd)
		r.show.done(&rd)
	}
	return nil
}
