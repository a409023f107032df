package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/goipq/goipq/internal/bench/report"
)

// searchAll makes all searches, or as many as it can until ctx ends.
func (r *runner) searchAll(ctx context.Context) error { return r.takeTurns(ctx, r.throughput) }

// throughput makes search n of a mode. One queue serves all its trials.
func (r *runner) throughput(ctx context.Context, p *plan, m *report.Mode, n int) error {
	o := &p.opts
	if m.Throughput == nil {
		m.Throughput = &report.Throughput{Resolution: o.Resolution / 100, Trial: o.Trial, Trials: o.Tries, Searches: []report.Search{}}
	}
	s, title, err := r.begin(p, m, n, func(*site) (*load, error) { return new(load), nil })
	if err != nil {
		return err
	}
	t := trials{r: r, p: p, s: s, title: fmt.Sprintf("search %d, %s", n, title)}
	f := finder{resolution: m.Throughput.Resolution, tries: o.Tries, offer: t.offer}
	found, err := f.find(ctx)
	found.Round, found.Noise = n, append(t.noise(), found.Spoiled()...)
	_, endErr := s.end()
	if err := errors.Join(err, endErr); err != nil {
		return err
	}
	if ctx.Err() == nil {
		m.Throughput.Searches = append(m.Throughput.Searches, found)
		r.show.searched(&found)
	}
	return nil
}

// trials are those of one search.
type trials struct {
	r     *runner
	p     *plan
	s     *session
	title string

	// The sums over all of their windows, to tell what disturbed them.
	window, user time.Duration
	machine      report.MachineCPU
}

func (ts *trials) noise() []string { return report.NoiseOf(ts.window, ts.machine, ts.user) }

// offer offers a rate for the time of a trial, waits until all packets have come to
// their end, and counts.
func (ts *trials) offer(ctx context.Context, target float64) (report.Trial, error) {
	s, o := ts.s, ts.p.opts
	o.Rate = target
	before := s.tally()
	err := s.site.mark()
	if err != nil {
		return report.Trial{}, err
	}
	s.load, err = ts.p.scenario.start(s.site, &o, ts.p.setup.Placement, ts.p.setup.SendBuffer)
	begin, beginErr := s.begin()
	if err = errors.Join(err, beginErr); err == nil {
		s.wait(ctx, o.Trial, nil)
	}
	end, endErr := s.finish()
	said, stopErr := s.load.stop()
	s.load = new(load)
	if err := errors.Join(err, endErr, stopErr); err != nil {
		return report.Trial{}, err
	}
	if err := s.awaitArrivals(before, said.sent); err != nil {
		return report.Trial{}, err
	}
	l := report.Life{Tally: s.tally().Minus(before), Queued: s.queue != nil, Counted: true, Routed: s.site.client != s.site.at}
	l.Sent, l.MissedTurns, l.Lag = said.sent, said.missed, said.lag
	if l.Ruled, l.Bypassed, l.Arrived, err = s.site.passed(); err != nil {
		return report.Trial{}, err
	}
	l.Lost = l.Losses()
	ts.r.report.Books.Enter(ts.title, &l)
	rd := between(begin, end)
	ts.window, ts.user, ts.machine = ts.window+rd.Window, ts.user+rd.User, ts.machine.Plus(rd.Machine)
	t := report.Trial{
		Target:   target,
		Offered:  said.rate,
		Sent:     l.Sent,
		Arrived:  l.Arrived,
		Verdicts: l.Verdicts,
		Lost:     l.Lost,
		Passed:   l.Sent > 0 && l.Arrived+l.HandlerDropped == l.Sent && l.Lost.InKernel() == 0,
		Lag:      said.lag,
	}
	ts.r.show.tried(&t)
	return t, nil
}

// awaitArrivals waits until all of the packets that were sent since before have come to
// their end, or, where some were lost that nobody counts, until no count changes any more.
func (s *session) awaitArrivals(before report.Tally, sent uint64) error {
	return await(1000, func() (now report.Tally, all bool, err error) {
		now = s.tally().Minus(before)
		now.Ruled, now.Bypassed, now.Arrived, err = s.site.passed()
		decided, went := true, now.Ruled
		if s.queue != nil {
			decided = now.Received+now.QueueDropped+now.SocketDropped == now.Ruled && now.Verdicts == now.Received
			went = now.Accepted
		}
		return now, decided && now.Ruled+now.Bypassed == sent && now.Arrived == went+now.Bypassed, err
	})
}
