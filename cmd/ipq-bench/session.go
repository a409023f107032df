package main

import (
	"context"
	"errors"
	"time"

	"github.com/goipq/goipq/internal/flood"
	"github.com/goipq/goipq/internal/netlab"
	"github.com/goipq/goipq/ipq"
)

// A session is one queue, served, under its floods.
type session struct {
	queue  *ipq.Queue
	floods []*flood.Flood
	cancel context.CancelFunc
	done   chan struct{} // closed when the queue is no longer served
	runErr error         // why, once done is closed
}

var accept = ipq.HandlerFunc(func(*ipq.Packet) ipq.Verdict { return ipq.Accept })

// startSession opens the queue that cfg describes, serves it and starts a flood
// of each config.
func startSession(lab *netlab.NS, cfg ipq.Config, floods []flood.Config) (*session, error) {
	cfg.NetNS = lab.FD()
	q, err := ipq.Open(cfg)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(context.Background())
	s := &session{queue: q, cancel: cancel, done: make(chan struct{})}
	go func() {
		defer close(s.done)
		s.runErr = q.Run(ctx, accept)
	}()
	for _, cfg := range floods {
		var f *flood.Flood
		err := lab.Do(func() (err error) {
			f, err = flood.Start(context.Background(), cfg)
			return err
		})
		if err != nil {
			_, endErr := s.end()
			return nil, errors.Join(err, endErr)
		}
		s.floods = append(s.floods, f)
	}
	return s, nil
}

// end stops the floods, then the queue when it has decided all that they sent,
// and returns what happened in all.
func (s *session) end() (life, error) {
	var sent, missed uint64
	var errs []error
	for _, f := range s.floods {
		st, err := f.Stop()
		sent += st.Sent
		missed += st.Refused
		errs = append(errs, err)
	}
	s.cancel()
	<-s.done
	st := s.queue.Stats()
	l := life{
		tally:       tallyOf(st, sent),
		MissedTurns: missed,
		Refused:     st.UnknownVerdicts + st.RefusedVerdicts,
		Undecodable: st.Undecodable,
	}
	errs = append(errs, s.runErr, s.queue.Close())
	return l, errors.Join(errs...)
}

// shortest is the least of a window that a signal may leave and that still
// counts: that of the shortest -duration.
const shortest = minDuration / rounds

// measure returns the figures of one window after a warm-up. They are partial
// if ctx, or the queue, has ended it; ok is false if there are none worth
// having.
func (s *session) measure(ctx context.Context, warmUp, window time.Duration, show *progress) (rd round, ok bool) {
	if !s.wait(ctx, warmUp, nil) {
		return round{}, false
	}
	begin := s.begin()
	show.measure(begin)
	whole := s.wait(ctx, window, show)
	rd = between(begin, s.finish())
	rd.Partial = !whole
	return rd, whole || rd.Window >= shortest
}

// wait lets time pass, showing progress if there is show. It reports whether
// all of it has passed.
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
