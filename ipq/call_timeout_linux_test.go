package ipq

import (
	"context"
	"errors"
	"log/slog"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/goipq/goipq/internal/fakekernel"
	"github.com/goipq/goipq/internal/zerocopy"
)

// otherFlows returns n ports whose flows the engine tells from that of port.
func otherFlows(port uint16, n int) (ports []uint16) {
	seen := map[uint16]bool{bucketOf(zerocopy.HashFlow(udp4(port, nil), flowSeed)): true}
	for p := port + 1; len(ports) < n; p++ {
		if b := bucketOf(zerocopy.HashFlow(udp4(p, nil), flowSeed)); !seen[b] {
			seen[b] = true
			ports = append(ports, p)
		}
	}
	return ports
}

const slowPort = 1

// stuckAfter is a HandlerTimeout that no handler overruns, however busy the
// machine: tests skip it.
const stuckAfter = time.Hour

// serveSkipping is serve with a clock that skip puts forward until n handlers are
// stuck. No other may be running meanwhile.
func (f *fakeQueue) serveSkipping(cfg Config, h HandlerFunc) (q *Queue, skip func(n int), stop func()) {
	f.t.Helper()
	cfg.HandlerTimeout = stuckAfter
	q = f.open(cfg)
	var ahead atomic.Int64
	q.clock = func() time.Duration { return monotonic() + time.Duration(ahead.Load()) }
	skip = func(n int) {
		f.t.Helper()
		await(f.t, "the time-out", func() bool {
			ahead.Add(int64(stuckAfter))
			return q.Stats().Stuck == n
		})
	}
	return q, skip, f.run(q, h)
}

var timedOut = Accept.WithMark(99)

func isTimedOut(v fakekernel.Verdict) bool {
	return v.Verdict == 1 && v.Attrs[zerocopy.AttrMark] != nil && v.Payload() == nil
}

// A handler that does not return loses its packet, and its flow those that come
// meanwhile, but other flows go on, whatever the number of workers. When it
// returns its flow goes on, too, and what it returned has no effect.
func TestStuckHandlerHoldsUpOnlyItsFlow(t *testing.T) {
	t.Parallel()
	for _, workers := range []int{1, 2, 4} {
		f := newFake(t)
		started, release := make(chan struct{}), make(chan struct{})
		unblock := sync.OnceFunc(func() { close(release) })
		var running, twice atomic.Int32
		q, skip, stop := f.serveSkipping(Config{Workers: workers, OnTimeout: Always(timedOut)}, func(p *Packet) Verdict {
			if p.Flow().SrcPort == slowPort {
				if running.Add(1) > 1 {
					twice.Add(1)
				}
				defer running.Add(-1)
				if p.ID() == 1 {
					close(started)
					<-release
					_ = p.SetPayload(udp4(1, []byte("too late")))
					if _, err := p.Defer(); !errors.Is(err, ErrExpired) {
						t.Errorf("Defer after the time-out: %v", err)
					}
					return Drop
				}
			}
			return Accept
		})
		t.Cleanup(unblock)
		slow := fakekernel.Packet{Payload: udp4(slowPort, nil)}
		for range 3 {
			f.queue(slow)
		}
		<-started
		skip(1)
		for id := range uint32(3) {
			if v := f.verdict(id + 1); !isTimedOut(v) {
				t.Errorf("%d workers: packet %d behind the stuck handler: %+v", workers, id+1, v)
			}
		}
		for range 20 { // many times what the ring has
			for _, port := range otherFlows(slowPort, 30) {
				if v := f.verdict(f.queue(fakekernel.Packet{Payload: udp4(port, nil)})); isTimedOut(v) || v.Verdict != 1 {
					t.Fatalf("%d workers: another flow: %+v", workers, v)
				}
			}
			if v := f.verdict(f.queue(slow)); !isTimedOut(v) {
				t.Errorf("%d workers: the stuck flow: %+v", workers, v)
			}
		}
		// A verdict is counted when it has been written.
		await(t, "23 time-outs to be counted", func() bool { return q.Stats().TimedOut == 23 })
		if n := q.Stats().Stuck; n != 1 {
			t.Errorf("%d workers: %d handlers are stuck", workers, n)
		}
		unblock()
		await(t, "the handler's return", func() bool { return q.Stats().Stuck == 0 })
		for {
			if v := f.verdict(f.queue(slow)); v.Verdict == 1 && !isTimedOut(v) {
				break
			}
		}
		stop()
		f.check()
		if n := twice.Load(); n != 0 {
			t.Errorf("%d workers: two handlers of one flow at once, %d times", workers, n)
		}
		if s := q.Stats(); s.Verdicts != s.Received || s.Stuck != 0 || s.Modified != 0 {
			t.Errorf("%d workers: stats %+v", workers, s)
		}
	}
}

// As many handlers as there are workers can be stuck, and more than that time
// everything out.
func TestManyStuckHandlers(t *testing.T) {
	t.Parallel()
	const workers = 2
	f := newFake(t)
	started, release := make(chan struct{}), make(chan struct{})
	unblock := sync.OnceFunc(func() { close(release) })
	var stuck atomic.Int32
	q, skip, stop := f.serveSkipping(Config{Workers: workers, OnTimeout: Always(timedOut)}, func(p *Packet) Verdict {
		if p.Mark() == 1 {
			stuck.Add(1)
			started <- struct{}{}
			<-release
		}
		return Accept
	})
	t.Cleanup(unblock)
	ports := otherFlows(0, 100)
	for i := range 2 * workers {
		id := f.queue(fakekernel.Packet{Payload: udp4(ports[i], nil), Mark: 1})
		<-started
		skip(i + 1)
		f.verdict(id)
		v := f.verdict(f.queue(fakekernel.Packet{Payload: udp4(ports[50], nil)}))
		if want := i == 2*workers-1; isTimedOut(v) != want {
			t.Errorf("%d handlers are stuck; another packet: %+v", i+1, v)
		}
	}
	unblock()
	await(t, "the handlers' return", func() bool { return q.Stats().Stuck == 0 })
	for _, port := range ports {
		if v := f.verdict(f.queue(fakekernel.Packet{Payload: udp4(port, nil)})); isTimedOut(v) {
			t.Errorf("timed out afterwards: %+v", v)
		}
	}
	stop()
	f.check()
	if n := stuck.Load(); n != 2*workers {
		t.Errorf("%d handlers", n)
	}
}

// Inline a stuck handler holds up its queue, whose packets are timed out for as
// long.
func TestStuckHandlerInline(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	started, release := make(chan struct{}), make(chan struct{})
	unblock := sync.OnceFunc(func() { close(release) })
	q, skip, stop := f.serveSkipping(Config{Workers: Inline, OnTimeout: Always(timedOut)}, func(p *Packet) Verdict {
		if p.ID() == 2 {
			close(started)
			<-release
			return Drop
		}
		return Accept
	})
	t.Cleanup(unblock)
	const n, before = 500, 100 // of which the socket holds these
	for i := range n {
		f.queue(fakekernel.Packet{Payload: udp4(uint16(i), nil)})
		if i+1 == before {
			<-started
			skip(1)
		}
	}
	for id := uint32(1); id <= n; id++ {
		if v := f.verdict(id); isTimedOut(v) != (id > 1) {
			t.Errorf("packet %d: %+v", id, v)
		}
	}
	await(t, "all verdicts to be counted", func() bool { return q.Stats().Verdicts == n })
	if s := q.Stats(); s.Stuck != 1 || s.TimedOut != n-1 || s.Received != n {
		t.Errorf("stats: %+v", s)
	}
	unblock()
	await(t, "the handler's return", func() bool { return q.Stats().Stuck == 0 })
	for range 100 {
		if v := f.verdict(f.queue(fakekernel.Packet{Payload: udp4(1, nil)})); isTimedOut(v) {
			t.Errorf("timed out afterwards: %+v", v)
		}
	}
	stop()
	f.check()
}

// A late handler that panics or ends its goroutine does no harm either.
func TestLateHandlersMayFall(t *testing.T) {
	t.Parallel()
	for what, fall := range map[string]func(){"panic": func() { panic("late") }, "goexit": runtime.Goexit} {
		t.Run(what, func(t *testing.T) {
			eachMode(t, func(t *testing.T, workers int) {
				f := newFake(t)
				started, release := make(chan struct{}), make(chan struct{})
				q, skip, stop := f.serveSkipping(Config{Workers: workers, OnPanic: Always(Repeat)}, func(p *Packet) Verdict {
					if p.ID()%2 == 1 {
						started <- struct{}{}
						<-release
						fall()
					}
					return Accept
				})
				for range 4 {
					id := f.queue(fakekernel.Packet{Payload: udp4(1, nil)})
					<-started
					skip(1)
					if v := f.verdict(id); v.Verdict != 0 {
						t.Errorf("%+v", v)
					}
					release <- struct{}{}
					await(t, "the handler's end", func() bool { return q.Stats().Stuck == 0 })
					if v := f.verdict(f.queue(fakekernel.Packet{Payload: udp4(1, nil)})); v.Verdict != 1 {
						t.Errorf("the packet after it: %+v", v)
					}
				}
				stop()
				f.check()
			})
		})
	}
}

// Slow handlers within their time are left alone, and those that return just as
// it is over leave every packet one verdict.
func TestHandlersAtTheEdgeOfTheirTime(t *testing.T) {
	eachMode(t, func(t *testing.T, workers int) {
		const n = 300
		f := newFake(t)
		q, stop := f.serve(Config{Workers: workers, HandlerTimeout: time.Millisecond}, func(p *Packet) Verdict {
			if p.ID()%4 == 0 {
				time.Sleep(time.Duration(p.ID()%16) * 150 * time.Microsecond) // what is tested is that this does not matter
			}
			if p.ID()%3 == 0 {
				d, err := p.Defer()
				if err == nil && p.ID()%2 == 0 {
					go d.Verdict(Accept)
				}
			}
			return Accept
		})
		for i := range n {
			f.queue(fakekernel.Packet{Payload: udp4(uint16(i%9), nil)})
		}
		stop()
		for id := range uint32(n) {
			f.verdict(id + 1)
		}
		f.check()
		if s := q.Stats(); s.Verdicts != n || s.Received != n || s.Accepted+s.Dropped != n {
			t.Errorf("stats: %+v", s)
		}
	})
}

// A deferred packet whose handler does not return has OnTimeout as what its
// handler returned, and its decider's verdict before that.
func TestStuckHandlerOfADeferredPacket(t *testing.T) {
	t.Parallel()
	eachMode(t, func(t *testing.T, workers int) {
		for _, decide := range []bool{true, false} {
			f := newFake(t)
			deferred := make(chan *Deferred, 1)
			release := make(chan struct{})
			cfg := Config{Workers: workers, OnTimeout: Always(timedOut), DeferTimeout: time.Hour}
			if !decide {
				cfg.DeferTimeout = 100 * time.Millisecond // before the handler's or after it
			}
			q, skip, stop := f.serveSkipping(cfg, func(p *Packet) Verdict {
				deferAll(t, deferred, Accept)(p)
				<-release
				return Accept
			})
			id := f.queue(fakekernel.Packet{Payload: udp4(1, nil)})
			d := <-deferred
			skip(1)
			if decide {
				if err := d.Verdict(Drop); err != nil {
					t.Error(err)
				}
			}
			if v := f.verdict(id); decide && v.Verdict != 0 || !decide && !isTimedOut(v) {
				t.Errorf("decided %v: %+v", decide, v)
			}
			release <- struct{}{}
			await(t, "the handler's return", func() bool { return q.Stats().Stuck == 0 })
			stop()
			f.check()
		}
	})
}

// Run gives up on a handler that does not return when the time to drain is
// over: everything is decided, the queue is given up, Close returns, and what
// is left ends with the handler.
func TestDrainTimeoutEndsRun(t *testing.T) {
	for _, pin := range []bool{false, true} {
		eachMode(t, func(t *testing.T, workers int) {
			before, fds := goroutines(), descriptors(t)
			f := newFake(t)
			q := f.open(Config{Workers: workers, PinCPU: pin, Batches: 3, BatchSize: 2, DrainTimeout: 20 * time.Millisecond, OnTimeout: Always(timedOut)})
			release, started := make(chan struct{}), make(chan struct{}, 100)
			ctx, cancel := context.WithCancel(t.Context())
			done := make(chan error, 1)
			go func() {
				done <- q.Run(ctx, HandlerFunc(func(*Packet) Verdict {
					started <- struct{}{}
					<-release
					return Drop
				}))
			}()
			const n = 60
			for i := range n {
				f.queue(fakekernel.Packet{Payload: udp4(uint16(i), nil)})
			}
			<-started
			cancel()
			var op *OpError
			if err := <-done; !errors.Is(err, ErrStuck) || !errors.As(err, &op) || op.Queue != fakeNumber {
				t.Errorf("Run: %v, want ErrStuck", err)
			}
			for id := range uint32(n) {
				if v := f.verdict(id + 1); !isTimedOut(v) {
					t.Errorf("packet %d: %+v", id+1, v)
				}
			}
			f.check()
			if err := q.Close(); err != nil {
				t.Error(err)
			}
			if c := f.Configs(); c[len(c)-1][zerocopy.CfgCmd][0] != zerocopy.CmdUnbind {
				t.Error("the queue was not given up")
			}
			if s := q.Stats(); s.TimedOut != n || s.Verdicts != n || s.Stuck == 0 {
				t.Errorf("stats: %+v", s)
			}
			close(release)
			await(t, "the handlers' return", func() bool { return q.Stats().Stuck == 0 })
			f.Close()
			settle(t, "goroutines", before, goroutines)
			settle(t, "descriptors", fds, func() int { return descriptors(t) })
		})
	}
}

// stuckLog is a slog.Handler that does not return from an error, such as that a
// handler panicked. Open warns of a small socket, where the kernel grants no more.
type stuckLog struct{ release <-chan struct{} }

func (l stuckLog) Enabled(_ context.Context, level slog.Level) bool { return level >= slog.LevelError }

func (l stuckLog) Handle(context.Context, slog.Record) error {
	<-l.release
	return nil
}

func (l stuckLog) WithAttrs([]slog.Attr) slog.Handler { return l }

func (l stuckLog) WithGroup(string) slog.Handler { return l }

// A Logger that does not return is a handler that does not.
func TestLoggerDoesNotReturn(t *testing.T) {
	for what, fall := range map[string]func(){
		"panic": func() { panic("a word") }, "panic(nil)": func() { panic(nil) }, "Goexit": runtime.Goexit,
	} {
		eachMode(t, func(t *testing.T, workers int) {
			if what == "panic(nil)" {
				t.Setenv("GODEBUG", "panicnil=1")
			}
			f := newFake(t)
			release := make(chan struct{})
			started := make(chan struct{})
			q := f.open(Config{
				Workers: workers, OnTimeout: Always(timedOut), DrainTimeout: 50 * time.Millisecond,
				Logger: slog.New(stuckLog{release}),
			})
			cancel, done := startRun(q, HandlerFunc(func(p *Packet) Verdict {
				close(started)
				fall()
				return Accept
			}))
			id := f.queue(fakekernel.Packet{Payload: udp4(1, nil)})
			<-started
			cancel()
			if err := endOf(t, done); !errors.Is(err, ErrStuck) {
				t.Errorf("%s: Run: %v", what, err)
			}
			if v := f.verdict(id); !isTimedOut(v) {
				t.Errorf("%s: %+v", what, v)
			}
			close(release)
			f.check()
		})
	}
}

// What is not decided when the time to drain is over gets what its policy says.
func TestPolicyAtTheEnd(t *testing.T) {
	for _, x := range []struct {
		open   bool
		policy ExceptionPolicy
		want   Verdict
	}{
		{false, ExceptionPolicy{}, Drop}, {true, ExceptionPolicy{}, Accept},
		{false, Always(Accept), Accept}, {true, Always(Drop), Drop},
	} {
		eachMode(t, func(t *testing.T, workers int) {
			f := newFake(t)
			called, release := make(chan struct{}), make(chan struct{})
			q := f.open(Config{Workers: workers, FailOpen: x.open, OnTimeout: x.policy, DrainTimeout: time.Millisecond})
			cancel, done := startRun(q, HandlerFunc(func(*Packet) Verdict {
				close(called)
				<-release
				return Stop
			}))
			defer close(release)
			id := f.queue(fakekernel.Packet{Payload: udp4(1, nil)})
			<-called
			cancel()
			if err := endOf(t, done); !errors.Is(err, ErrStuck) {
				t.Errorf("Run: %v", err)
			}
			if v := f.verdict(id); v.Verdict != x.want.kernel() {
				t.Errorf("open %v, policy %v: %+v", x.open, x.policy, v)
			}
			s := q.Stats()
			if n := s.DroppedBy.End + s.PassedBy.End; n != 1 || s.Stopped != 0 {
				t.Errorf("%+v", s.Counts)
			}
		})
	}
}
