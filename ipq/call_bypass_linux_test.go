package ipq

import (
	"encoding/binary"
	"errors"
	"log/slog"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/goipq/goipq/internal/fakekernel"
	"github.com/goipq/goipq/internal/zerocopy"
)

type bypassFunc func(p *Packet, v Verdict) (Verdict, error)

func (f bypassFunc) Bypass(p *Packet, v Verdict) (Verdict, error) { return f(p, v) }

// A flow is settled before its packet's verdict is written, and the Bypasser
// has the last word on that.
func TestBypassComesBeforeTheVerdict(t *testing.T) {
	eachMode(t, func(t *testing.T, workers int) {
		f := newFake(t)
		var log syncBuffer
		give := []Verdict{Accept.Bypass(), Drop.Bypass(), Accept, Repeat.Bypass(), Requeue(3).Bypass(), Accept.WithMark(5).Bypass(), Drop.Bypass(), Accept.Bypass()}
		cfg := Config{Workers: workers, Logger: slog.New(slog.NewTextHandler(&log, nil))}
		cfg.Bypass = bypassFunc(func(p *Packet, v Verdict) (Verdict, error) {
			if v&verdictBypass != 0 || v != give[p.ID()-1]&^verdictBypass {
				t.Errorf("packet %d: bypass of %v", p.ID(), v)
			}
			switch p.ID() {
			case 6:
				return v.WithMark(6), nil
			case 7:
				return Accept, errors.New("table is full")
			case 8:
				panic("on purpose")
			}
			if f.Waiting() < len(give)-int(p.ID())+1 {
				t.Errorf("packet %d was decided before its flow", p.ID())
			}
			return v, nil
		})
		for range give {
			f.queue(fakekernel.Packet{Payload: udp4(1, nil)})
		}
		q, stop := f.serve(cfg, func(p *Packet) Verdict {
			if !p.CanBypass() {
				t.Error("there is nothing to ask")
			}
			return give[p.ID()-1]
		})
		for i, want := range []uint32{1, 0, 1, 4, 3<<16 | 3, 1, 0, 1} {
			v := f.verdict(uint32(i + 1))
			if v.Verdict != want {
				t.Errorf("packet %d: %#x, want %#x", i+1, v.Verdict, want)
			}
			if mark := v.Attrs[zerocopy.AttrMark]; (mark != nil) != (i == 5) || mark != nil && binary.BigEndian.Uint32(mark) != 6 {
				t.Errorf("packet %d: mark %x", i+1, mark)
			}
		}
		stop()
		f.check()
		if s := q.Stats(); s.Bypassed != 3 || s.BypassFailed != 4 || s.Panics != 0 {
			t.Errorf("stats: %+v", s)
		}
		if !strings.Contains(log.String(), "table is full") || strings.Count(log.String(), "bypass failed") != 1 {
			t.Errorf("log: %s", log.String())
		}
	})
}

// A Bypasser that panics, with whatever it may be, leaves the verdict as it was.
func TestBypasserPanics(t *testing.T) {
	t.Setenv("GODEBUG", "panicnil=1")
	eachMode(t, func(t *testing.T, workers int) {
		f := newFake(t)
		var log syncBuffer
		q, stop := f.serve(Config{
			Workers: workers,
			Logger:  slog.New(slog.NewTextHandler(&log, nil)),
			Bypass: bypassFunc(func(p *Packet, v Verdict) (Verdict, error) {
				if p.ID() == 1 {
					panic("on purpose")
				}
				panic(nil)
			}),
		}, func(*Packet) Verdict { return Accept.Bypass() })
		for range 3 {
			if v := f.verdict(f.queue(fakekernel.Packet{Payload: udp4(1, nil)})); v.Verdict != 1 {
				t.Errorf("%+v", v)
			}
		}
		stop()
		f.check()
		if s := q.Stats(); s.Bypassed != 0 || s.BypassFailed != 3 || s.Panics != 0 {
			t.Errorf("stats: %+v", s)
		}
		if !strings.Contains(log.String(), "on purpose") {
			t.Errorf("log: %s", log.String())
		}
	})
}

// Without a Bypasser the wish has no effect on the verdict.
func TestBypassWithoutABypasser(t *testing.T) {
	f := newFake(t)
	q, stop := f.serve(Config{Workers: Inline}, func(p *Packet) Verdict {
		if p.CanBypass() {
			t.Error("there is something to ask")
		}
		return Accept.Bypass()
	})
	for range 3 {
		if v := f.verdict(f.queue(fakekernel.Packet{Payload: udp4(1, nil)})); v.Verdict != 1 {
			t.Errorf("%+v", v)
		}
	}
	stop()
	f.check()
	if s := q.Stats(); s.Bypassed != 0 || s.BypassFailed != 3 {
		t.Errorf("stats: %+v", s)
	}
}

// An unsettler is a Bypasser that can have a flow queued again.
type unsettler struct {
	bypassFunc
	ids []uint32
	err error
}

func (u *unsettler) Unsettle(p *Packet) error {
	u.ids = append(u.ids, p.ID())
	return u.err
}

// A handler may have a flow queued again, where the Bypasser can.
func TestUnsettle(t *testing.T) {
	u := &unsettler{bypassFunc: func(_ *Packet, v Verdict) (Verdict, error) { return v, nil }}
	for _, b := range []Bypasser{nil, u.bypassFunc, u} {
		f := newFake(t)
		u.err = nil
		_, stop := f.serve(Config{Workers: Inline, Bypass: b}, func(p *Packet) Verdict {
			err := p.Unsettle()
			if b != u && !errors.Is(err, errors.ErrUnsupported) || b == u && err != u.err {
				t.Errorf("packet %d: %v", p.ID(), err)
			}
			u.err = errors.New("on purpose")
			return Accept
		})
		for range 2 {
			f.verdict(f.queue(fakekernel.Packet{Payload: udp4(1, nil)}))
		}
		stop()
		f.check()
	}
	if !slices.Equal(u.ids, []uint32{1, 2}) {
		t.Errorf("asked about %v", u.ids)
	}
}

// A Bypasser that does not return holds up neither the end of Run nor its
// packet, which gets Config.OnTimeout; one that ends its goroutine leaves the
// packet its verdict.
func TestBypasserOfADeferredPacketDoesNotReturn(t *testing.T) {
	t.Parallel()
	eachMode(t, func(t *testing.T, workers int) {
		const stuck, n = 100, 102 // more than one write takes
		f := newFake(t)
		release := make(chan struct{})
		var asked sync.WaitGroup
		asked.Add(n)
		q := f.open(Config{
			Workers: workers, DeferTimeout: time.Hour, DrainTimeout: 50 * time.Millisecond, OnTimeout: Always(timedOut),
			Bypass: bypassFunc(func(p *Packet, v Verdict) (Verdict, error) {
				asked.Done()
				if p.ID() > stuck {
					runtime.Goexit()
				}
				<-release
				return v, nil
			}),
		})
		deferred := make(chan *Deferred, n)
		cancel, done := startRun(q, deferAll(t, deferred, Drop))
		errs := make(chan error, n)
		for range n {
			f.queue(fakekernel.Packet{Payload: udp4(1, nil)})
		}
		for range n {
			d := <-deferred
			go func() {
				err := ErrStuck // with Goexit nothing is returned
				defer func() { errs <- err }()
				err = d.Verdict(Accept.Bypass())
			}()
		}
		asked.Wait()
		for id := uint32(stuck + 1); id <= n; id++ {
			if v := f.verdict(id); v.Verdict != 1 || isTimedOut(v) {
				t.Errorf("packet %d, whose Bypasser called Goexit: %+v", id, v)
			}
		}
		cancel()
		if err := endOf(t, done); !errors.Is(err, ErrStuck) {
			t.Errorf("Run: %v", err)
		}
		for id := uint32(1); id <= stuck; id++ {
			if v := f.verdict(id); !isTimedOut(v) {
				t.Errorf("packet %d: %+v", id, v)
			}
		}
		close(release)
		count := map[error]int{}
		for range n {
			count[<-errs]++
		}
		if count[ErrClosed] != stuck || count[ErrStuck] != n-stuck {
			t.Errorf("Verdict: %v", count)
		}
		f.check()
		if s := q.Stats(); s.TimedOut != stuck || s.Verdicts != n || s.Received != n || s.BypassFailed != n-stuck {
			t.Errorf("stats: %+v", s)
		}
	})
}
