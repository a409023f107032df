package ipq

import (
	"errors"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/goipq/goipq/internal/fakekernel"
	"github.com/goipq/goipq/internal/flood"
	"github.com/goipq/goipq/internal/netlab/labtest"
	"github.com/goipq/goipq/ring"
)

// What cannot be deferred keeps its handler's verdict.
func TestDeferIsBounded(t *testing.T) {
	eachMode(t, func(t *testing.T, workers int) {
		const most, n = 3, 10
		f := newFake(t)
		deferred := make(chan *Deferred, n)
		q, stop := f.serve(Config{Workers: workers, MaxDeferred: most, DeferTimeout: time.Hour}, func(p *Packet) Verdict {
			d, err := p.Defer()
			switch {
			case err == nil:
				if _, err := p.Defer(); !errors.Is(err, ErrDeferred) {
					t.Errorf("deferred twice: %v", err)
				}
				if _, err := p.EditPayload(); !errors.Is(err, ErrDeferred) {
					t.Errorf("edited after Defer: %v", err)
				}
				deferred <- d
			case !errors.Is(err, ErrTooManyDeferred):
				t.Error(err)
			}
			return Accept
		})
		for range n {
			f.queue(fakekernel.Packet{Payload: udp4(1, nil)})
		}
		for id := uint32(most + 1); id <= n; id++ {
			if v := f.verdict(id); v.Verdict != 1 {
				t.Errorf("packet %d: %+v", id, v)
			}
		}
		d := <-deferred
		if err := d.Verdict(Verdict(99)); !errors.Is(err, syscall.EINVAL) {
			t.Errorf("an unknown verdict: %v", err)
		}
		if err := d.Verdict(Drop); err != nil { // after a place is free ...
			t.Error(err)
		}
		id := f.queue(fakekernel.Packet{Payload: udp4(1, nil)})
		for range most - 1 {
			<-deferred
		}
		if d := <-deferred; d.Packet().ID() != id { // ... it is taken
			t.Errorf("packet %d, want %d", d.Packet().ID(), id)
		}
		stop()
		for id := range uint32(n + 1) {
			f.verdict(id + 1)
		}
		f.check()
		if s := q.Stats(); s.Deferred != most+1 || s.DeferRefused != n-most || s.DeferExpired != most {
			t.Errorf("stats: %+v", s)
		}
	})
}

// The kernel queues the next packet within the write of a verdict on a deferred
// one: its place is free by then, while no run of packets may be decided yet.
func TestPlaceIsFreeAsTheVerdictIsWritten(t *testing.T) {
	for what, decide := range map[string]func(q *Queue, d *Deferred){
		"decided": func(_ *Queue, d *Deferred) {
			if err := d.Verdict(Accept); err != nil {
				t.Error(err)
			}
		},
		"decided with a bypass": func(_ *Queue, d *Deferred) {
			if err := d.Verdict(Accept.Bypass()); err != nil {
				t.Error(err)
			}
		},
		"expired": func(q *Queue, _ *Deferred) { q.loops[0].deferrals.expireSome(forever, ErrExpired, byDeferral) },
	} {
		eachMode(t, func(t *testing.T, workers int) {
			f := newFake(t)
			type outcome struct {
				d   *Deferred
				err error
			}
			outcomes := make(chan outcome, 1)
			var armed atomic.Bool
			var q *Queue
			within := func(g *ring.Gather, fd int) syscall.Errno {
				errno := g.Send(fd)
				if armed.Swap(false) {
					if q.loops[0].runs.held.Load() == 0 {
						t.Errorf("%s: runs are written before the verdict is", what)
					}
					f.queue(fakekernel.Packet{Payload: udp4(1, nil)})
					o := <-outcomes
					if o.err != nil {
						t.Errorf("%s: the next packet: %v", what, o.err)
					}
				}
				return errno
			}
			f.alter = func(s *socket) { s.send = within }
			q = f.open(Config{Workers: workers, MaxDeferred: 1, DeferTimeout: time.Hour})
			cancel, done := startRun(q, HandlerFunc(func(p *Packet) Verdict {
				d, err := p.Defer()
				outcomes <- outcome{d, err}
				return Accept
			}))
			f.queue(fakekernel.Packet{Payload: udp4(1, nil)})
			first := <-outcomes
			// Else it may be the loop that writes the verdict, as the handler returns:
			// the one that is to handle the next packet.
			await(t, "the handler's return", func() bool {
				d := q.loops[0].deferrals
				d.mu.Lock()
				defer d.mu.Unlock()
				return first.d.entry.caller == nil
			})
			armed.Store(true)
			decide(q, first.d)
			cancel()
			if err := endOf(t, done); err != nil {
				t.Errorf("%s: Run: %v", what, err)
			}
			f.verdict(1)
			f.verdict(2)
			f.check()
			if s := q.Stats(); s.Deferred != 2 || s.DeferRefused != 0 || armed.Load() {
				t.Errorf("%s: stats: %+v", what, s)
			}
			if d := q.loops[0].deferrals; d.places != 0 || d.undecided != 0 || d.runs.held.Load() != 0 {
				t.Errorf("%s: %d places are taken at the end, %d packets undecided", what, d.places, d.undecided)
			}
		})
	}
}

// Where all that a queue can hold may be deferred, Defer is never refused.
func TestKernelDefersAsManyAsTheQueueHolds(t *testing.T) {
	eachMode(t, func(t *testing.T, workers int) {
		const maxLen, count = 8, 20_000
		ns := labtest.New(t)
		echoRules(t, ns, fakeNumber, 1)
		deferred := make(chan *Deferred, maxLen)
		q, stop := serve(t, Config{
			Queue: fakeNumber, NetNS: ns.FD(), Workers: workers,
			MaxQueueLen: maxLen, MaxDeferred: maxLen, DeferTimeout: time.Hour,
		}, HandlerFunc(func(p *Packet) Verdict {
			if d, err := p.Defer(); err == nil {
				deferred <- d
			} else if !errors.Is(err, ErrTooManyDeferred) && !errors.Is(err, ErrClosed) {
				t.Error(err)
			}
			return Accept
		}))
		for range 2 {
			go func() {
				for d := range deferred {
					if err := d.Verdict(Accept); err != nil && !errors.Is(err, ErrClosed) {
						t.Error(err)
					}
				}
			}()
		}
		// As many are under way as the queue holds.
		s := runFlood(t, ns, flood.Config{Count: count, Window: maxLen, Flows: 4})
		if s.Sent != count || s.Replies != count {
			t.Errorf("flood: %+v", s)
		}
		if err := stop(); err != nil {
			t.Error(err)
		}
		close(deferred)
		if s := q.Stats(); s.DeferRefused != 0 || s.Deferred != s.Received || s.Received == 0 {
			t.Errorf("%d of %d packets were refused, %d deferred", s.DeferRefused, s.Received, s.Deferred)
		}
	})
}
