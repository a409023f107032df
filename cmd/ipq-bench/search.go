package main

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// usualTrials is about how many trials a search takes: the one at full speed,
// and one for each bit of a usual resolution.
const usualTrials = 8

// leastRate is where a search gives up, in packets a second: what loses packets
// at less than that is not slow but broken, or its machine is busy.
const leastRate = 100

// throughput measures search n of a mode.
func (r *runner) throughput(ctx context.Context, p *plan, m *mode, n int) error {
	if m.Throughput == nil {
		m.Throughput = &throughput{
			Resolution: p.opts.Resolution / 100,
			Trial:      p.opts.Trial,
			Trials:     p.opts.Tries,
			Searches:   []search{},
		}
	}
	at := r.sites[p.key(m.Name)]
	s, err := startSession(at, p.queueConfig(m.Name), p.handler, func() (*load, error) { return new(load), nil })
	if err != nil {
		return err
	}
	if s.queue != nil {
		p.setup.ReadBuffer = s.queue.Stats().ReadBuffer
	}
	title := r.title(p, m)
	r.show.begin(n, title, at.queued)
	b := prober{r: r, p: p, s: s, title: fmt.Sprintf("search %d, %s", n, title)}
	found, err := b.search(ctx)
	found.Round = n
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

// A prober makes the trials of one search, on one queue.
type prober struct {
	r     *runner
	p     *plan
	s     *session
	title string
	noise []string
}

// search returns the highest rate at which nothing is lost. It begins at full
// speed, which nothing can be above, and somewhat below what arrived then; after
// that, it halves what is left between the lowest rate that lost packets and the
// highest that did not, until they are as near as the resolution wants.
func (b *prober) search(ctx context.Context) (search, error) {
	found := search{Limit: limitLoss, Trials: []trial{}}
	flat, err := b.trial(ctx, 0)
	if err != nil || ctx.Err() != nil {
		return found, err
	}
	found.Trials = append(found.Trials, flat)
	if flat.Passed {
		found.Rate, found.Limit, found.Noise = flat.Offered, limitSender, b.noise
		return found, nil
	}
	resolution := b.p.opts.Resolution / 100
	const below = 0.9 // of what a flood gets through, an even load might
	low, high := 0.0, flat.Offered
	target := below * flat.Offered * ratio(flat.Arrived+flat.Lost.Handler, flat.Sent)
	for high-low > resolution*high && high > leastRate {
		if target <= low || target >= high {
			target = (low + high) / 2
		}
		passed, offered, trials, err := b.try(ctx, target)
		found.Trials = append(found.Trials, trials...)
		switch {
		case err != nil || ctx.Err() != nil:
			return found, err
		case !passed:
			high = target
		case offered < (1-resolution)*target:
			// The senders do not keep this rate, nor any above it.
			found.Rate, found.Limit, found.Noise = max(low, offered), limitSender, b.noise
			return found, nil
		default:
			low = offered
		}
		target = (low + high) / 2
	}
	found.Rate, found.Noise = low, b.noise
	return found, nil
}

// try makes trials of a rate until most of them have passed, or have not. It
// returns the least rate offered in those that have.
func (b *prober) try(ctx context.Context, target float64) (passed bool, offered float64, trials []trial, err error) {
	offered = target
	most := b.p.opts.Tries/2 + 1
	for good, bad := 0, 0; good < most && bad < most; {
		t, err := b.trial(ctx, target)
		if err != nil || ctx.Err() != nil {
			return false, 0, trials, err
		}
		trials = append(trials, t)
		if !t.Passed {
			bad++
			continue
		}
		good++
		passed = good == most
		offered = min(offered, t.Offered)
	}
	return passed, offered, trials, nil
}

// trial offers a rate for the time of a trial, waits until all of it is
// decided, and counts.
func (b *prober) trial(ctx context.Context, target float64) (trial, error) {
	s, o := b.s, b.p.opts
	o.Rate = target
	if err := s.site.mark(); err != nil {
		return trial{}, err
	}
	before := s.tally()
	var err error
	s.load, err = b.p.scenario.start(s.site, &o, b.p.setup.placement, b.p.setup.SendBuffer)
	begin, beginErr := s.begin()
	if err = errors.Join(err, beginErr); err == nil {
		s.wait(ctx, o.Trial, nil)
	}
	end, endErr := s.finish()
	said, stopErr := s.load.stop()
	s.load = new(load)
	if err := errors.Join(err, endErr, stopErr, s.settle()); err != nil {
		return trial{}, err
	}
	l := life{tally: s.tally().minus(before), Queued: s.queue != nil, Counted: true, Routed: s.site.client != s.site.at}
	l.Sent, l.MissedTurns = said.sent, said.missed
	if l.Ruled, l.Bypassed, l.Arrived, err = s.site.passed(); err != nil {
		return trial{}, err
	}
	l.Lost = l.losses()
	b.r.report.Books.enter(b.title, &l)
	rd := between(begin, end)
	b.noise = append(b.noise, rd.Noise...)
	t := trial{
		Target:   target,
		Offered:  said.rate,
		Sent:     l.Sent,
		Arrived:  l.Arrived,
		Verdicts: l.Verdicts,
		Lost:     l.Lost,
		Passed:   l.Sent > 0 && l.Arrived+l.HandlerDropped == l.Sent && l.Lost.inKernel() == 0,
		Lag:      said.lag,
	}
	b.r.show.tried(&t)
	return t, nil
}

// settle waits until all that was sent has come to its end: no count changes any
// more.
func (s *session) settle() error {
	const apart, longest = 5 * time.Millisecond, time.Second
	if err := s.site.settle(); err != nil || s.queue == nil {
		return err
	}
	before := s.tally()
	for end := time.Now().Add(longest); time.Now().Before(end); {
		time.Sleep(apart)
		now := s.tally()
		if now == before && now.Verdicts == now.Received {
			return nil
		}
		before = now
	}
	return nil
}
