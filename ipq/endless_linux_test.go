package ipq

import (
	"context"
	"errors"
	"log/slog"
	"runtime"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/goipq/goipq/internal/fakekernel"
	"github.com/goipq/goipq/internal/zerocopy"
	"github.com/goipq/goipq/ring"
)

// endOf waits for Run, which would go on for ever if the test is to fail.
func endOf(t *testing.T, done <-chan error) error {
	t.Helper()
	select {
	case err := <-done:
		return err
	case <-time.After(time.Minute):
		buf := make([]byte, 1<<20)
		t.Fatalf("Run does not end\n%s", buf[:runtime.Stack(buf, true)])
		return nil
	}
}

// startRun runs q until its context is cancelled.
func startRun(q *Queue, h Handler) (cancel context.CancelFunc, done <-chan error) {
	ctx, cancel := context.WithCancel(context.Background())
	c := make(chan error, 1)
	go func() { c <- q.Run(ctx, h) }()
	return cancel, c
}

// A packet that a handler has kept is not deferred once the handler has
// returned, and the caller's next packet is not deferred in its place.
func TestDeferAfterTheHandler(t *testing.T) {
	f := newFake(t)
	var kept atomic.Pointer[Packet]
	late := make(chan error, 1)
	_, stop := f.serve(Config{Workers: 1, BatchSize: 2}, func(p *Packet) Verdict {
		switch {
		case kept.CompareAndSwap(nil, p):
		case kept.Load() != p && len(late) == 0: // of the same batch, so that kept is not reused yet
			_, err := kept.Load().Defer()
			late <- err
		}
		return Accept
	})
	var id uint32
	for len(late) == 0 { // until two packets share a batch
		kept.Store(nil)
		f.queue(fakekernel.Packet{Payload: udp4(1, nil)})
		id = f.queue(fakekernel.Packet{Payload: udp4(1, nil)})
		f.verdict(id)
	}
	if err := <-late; !errors.Is(err, ErrDecided) && !raceEnabled { // which empties the packet
		t.Errorf("Defer after the handler's return: %v", err)
	}
	stop()
	f.check()
}

// Defer from another goroutine, at any moment, takes no packet's verdict away,
// and Run ends.
func TestDeferByWhoeverKeptThePacket(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector reports the misuse, which is what it is for")
	}
	eachMode(t, func(t *testing.T, workers int) {
		f := newFake(t)
		q := f.open(Config{Workers: workers, BatchSize: 1, Batches: 1, DeferTimeout: 100 * time.Microsecond})
		kept := make(chan *Packet, 1)
		var deferred atomic.Uint64
		cancel, done := startRun(q, HandlerFunc(func(p *Packet) Verdict {
			select {
			case kept <- p:
			default:
			}
			// So that Defer comes before the return, with it, and after it.
			for range p.ID() % 4 {
				runtime.Gosched()
			}
			return Accept
		}))
		var misusers sync.WaitGroup
		for range 2 {
			misusers.Go(func() {
				for p := range kept {
					if _, err := p.Defer(); err == nil {
						deferred.Add(1)
					}
				}
			})
		}
		for i := 0; i < 2000 || deferred.Load() < 10; i++ {
			f.verdict(f.queue(fakekernel.Packet{Payload: udp4(1, nil)}))
		}
		cancel()
		if err := endOf(t, done); err != nil {
			t.Errorf("Run: %v", err)
		}
		close(kept)
		misusers.Wait()
		f.check()
		if s := q.Stats(); s.Verdicts != s.Received || s.Deferred != deferred.Load() {
			t.Errorf("%d packets deferred, %d by Defer; %d verdicts on %d packets", s.Deferred, deferred.Load(), s.Verdicts, s.Received)
		}
	})
}

// A Bypasser that does not return holds up neither the end of Run nor its
// packet, which gets Config.OnTimeout; one that ends its goroutine leaves the
// packet its verdict.
func TestBypasserOfADeferredPacketDoesNotReturn(t *testing.T) {
	eachMode(t, func(t *testing.T, workers int) {
		const stuck, n = 100, 102 // more than one write takes
		f := newFake(t)
		release := make(chan struct{})
		var asked sync.WaitGroup
		asked.Add(n)
		q := f.open(Config{
			Workers: workers, DeferTimeout: time.Hour, DrainTimeout: 50 * time.Millisecond, OnTimeout: timedOut,
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

// stuckLog is a slog.Handler that does not return from an error, such as that a
// handler panicked. Open warns of a small socket, where the kernel grants no more.
type stuckLog struct{ release <-chan struct{} }

func (l stuckLog) Enabled(_ context.Context, level slog.Level) bool { return level >= slog.LevelError }
func (l stuckLog) Handle(context.Context, slog.Record) error {
	<-l.release
	return nil
}
func (l stuckLog) WithAttrs([]slog.Attr) slog.Handler { return l }
func (l stuckLog) WithGroup(string) slog.Handler      { return l }

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
				Workers: workers, OnTimeout: timedOut, DrainTimeout: 50 * time.Millisecond,
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

// A kernel that is always short of memory does not keep Run from ending: each
// write is tried once when the time to drain is over, and the socket is not
// read for ever.
func TestNoMemoryAtTheEnd(t *testing.T) {
	eachMode(t, func(t *testing.T, workers int) {
		const n = 20
		f := newFake(t)
		q := f.open(Config{Workers: workers, BatchSize: 1, Batches: n, DrainTimeout: time.Millisecond})
		var sends atomic.Int64
		s := q.loops[0].sock
		s.send = func(*ring.Gather, int) syscall.Errno {
			sends.Add(1)
			return syscall.EAGAIN
		}
		for range n {
			f.queue(fakekernel.Packet{Payload: udp4(1, nil)})
		}
		_, done := startRun(q, accept)
		if err := endOf(t, done); !errors.Is(err, syscall.EAGAIN) {
			t.Errorf("Run: %v", err)
		}
		if got := sends.Load(); got > maxRetries+2*n {
			t.Errorf("%d attempts to write %d verdicts", got, n)
		}
	})
	eachMode(t, func(t *testing.T, workers int) {
		f := newFake(t)
		q := f.open(Config{Workers: workers, DrainTimeout: time.Millisecond})
		q.loops[0].sock.recv = func(*ring.Batch, int) (int, syscall.Errno) { return 0, syscall.ENOMEM }
		cancel, done := startRun(q, accept)
		cancel()
		if err := endOf(t, done); !errors.Is(err, errEndless) || !errors.As(err, new(*OpError)) {
			t.Errorf("Run: %v", err)
		}
	})
}

// A queue that another process lengthens again does not run empty; Run ends all
// the same.
func TestDrainOfAQueueThatFillsUp(t *testing.T) {
	eachMode(t, func(t *testing.T, workers int) {
		f := newFake(t)
		q := f.open(Config{Workers: workers, MaxQueueLen: 10, DrainTimeout: time.Millisecond, OnTimeout: Accept})
		recv := q.loops[0].sock.recv
		var full atomic.Bool
		q.loops[0].sock.recv = func(b *ring.Batch, fd int) (int, syscall.Errno) {
			if full.Load() {
				if err := f.Decided(f.ctx, 0); err != nil {
					t.Error(err)
				}
				f.Queue(fakekernel.Packet{Payload: udp4(1, nil)})
			}
			return recv(b, fd)
		}
		f.Refuse(func(c fakekernel.Config) syscall.Errno {
			if maxLen := c[zerocopy.CfgQueueMaxlen]; maxLen != nil && maxLen[3] == 0 {
				full.Store(true)
				maxLen[3] = 10
			}
			return 0
		})
		cancel, done := startRun(q, accept)
		cancel()
		if err := endOf(t, done); !errors.Is(err, errEndless) {
			t.Errorf("Run: %v", err)
		}
	})
}
