package main

import (
	"context"
	"errors"
	"time"

	"github.com/goipq/goipq/internal/bench/report"
	"github.com/goipq/goipq/ipq"
)

// A session is a queue that is served under a load, or the load alone.
type session struct {
	site   *site
	queue  *ipq.Queue // nil when there is none
	load   *load
	cancel context.CancelFunc
	done   chan struct{} // closed when the queue is no longer served
	runErr error         // why, once done is closed
}

// startSession opens the queue that cfg describes, if the site has a rule for
// one, serves it, and starts the load.
func startSession(at *site, cfg ipq.Config, handler func() (ipq.Handler, error), start func() (*load, error)) (*session, error) {
	s := &session{site: at, load: new(load), cancel: func() {}, done: make(chan struct{})}
	if at.queued {
		if err := s.serve(cfg, handler); err != nil {
			return nil, err
		}
	}
	err := errors.Join(at.mark(), at.open())
	if err == nil {
		s.load, err = start()
	}
	if err != nil {
		_, endErr := s.end()
		return nil, errors.Join(err, endErr)
	}
	return s, nil
}

func (s *session) serve(cfg ipq.Config, newHandler func() (ipq.Handler, error)) error {
	handler, err := newHandler()
	if err != nil {
		return err
	}
	if handler, err = s.site.shortcut.join(&cfg, handler); err != nil {
		return err
	}
	cfg.NetNS = s.site.at.FD()
	q, err := ipq.Open(cfg)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(context.Background())
	s.queue, s.cancel = q, cancel
	go func() {
		defer close(s.done)
		s.runErr = q.Run(ctx, handler)
	}()
	return nil
}

// end stops the load, and the queue once it has decided all that was sent. It returns
// all that happened.
func (s *session) end() (report.Life, error) {
	said, loadErr := s.load.stop()
	errs := []error{loadErr, s.site.shut(), s.site.awaitSent(said.sent)}
	var l report.Life
	if s.queue != nil {
		s.cancel()
		<-s.done
		st := s.queue.Stats()
		l.Refused = st.UnknownVerdicts + st.RefusedVerdicts
		l.Undecodable = st.Undecodable
	}
	l.Tally = s.tally()
	l.Sent, l.MissedTurns = said.sent, said.missed
	l.Lag, l.Untimed = said.lag, said.overflowed
	l.Delivery = s.load.delivered()
	l.BytesOut, l.BytesIn = said.bytesOut, said.bytesIn
	l.Orderly = said.orderly
	l.Queued, l.Counted = s.queue != nil, s.site.sent
	l.Routed = s.site.client != s.site.at
	var err error
	l.Ruled, l.Bypassed, l.Arrived, err = s.site.passed()
	l.Lost = l.Losses()
	errs = append(errs, err)
	if s.queue != nil {
		errs = append(errs, s.runErr, s.queue.Close())
	}
	return l, errors.Join(errs...)
}

// shortest is how much of a window must be over when a signal comes, for the window
// to count: as much as the shortest round has.
const shortest = minWindow

// loadPatience is how long a load may take to begin.
const loadPatience = 10 * time.Second

// measure returns the figures of one window after a warm-up. The warm-up begins when
// the load does, whose processes may not run at once on a busy machine. The figures
// are partial if ctx or the queue ended the window. ok is false if too little of it
// was measured.
func (s *session) measure(ctx context.Context, warmUp, window time.Duration, show *progress) (rd report.Round, ok bool, err error) {
	for end := time.Now().Add(loadPatience); !s.load.begun() && time.Now().Before(end); {
		if !s.wait(ctx, time.Millisecond, nil) {
			return report.Round{}, false, nil
		}
	}
	if !s.wait(ctx, warmUp, nil) {
		return report.Round{}, false, nil
	}
	begin, err := s.begin()
	if err != nil {
		return report.Round{}, false, err
	}
	show.measure(begin)
	s.load.takeLag() // how a flood begins disturbs no window
	whole := s.wait(ctx, window, show)
	lag := s.load.takeLag()
	end, err := s.finish()
	rd = between(begin, end)
	rd.Lag = lag
	rd.Partial = !whole
	return rd, err == nil && (whole || rd.Window >= shortest), err
}

// wait lets time pass, and shows progress unless show is nil. It reports whether all
// of the time has passed.
func (s *session) wait(ctx context.Context, d time.Duration, show *progress) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	var ticks <-chan time.Time
	if show != nil && show.live {
		ticker := time.NewTicker(showEvery)
		defer ticker.Stop()
		ticks = ticker.C
	}
	for {
		select {
		case <-timer.C:
			return true
		case <-ctx.Done():
			return false
		case <-s.done:
			return false
		case <-ticks:
			show.tick(s.peek())
		}
	}
}
