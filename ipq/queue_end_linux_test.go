package ipq

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/mdlayher/netlink"

	"github.com/goipq/goipq/internal/fakekernel"
	"github.com/goipq/goipq/internal/flood"
	"github.com/goipq/goipq/internal/netlab/labtest"
	"github.com/goipq/goipq/internal/zerocopy"
	"github.com/goipq/goipq/ring"
)

// The end of Run: first the kernel stops queueing, what is queued is decided,
// and then the queue is unbound.
func TestRunDrains(t *testing.T) {
	eachMode(t, func(t *testing.T, workers int) {
		f := newFake(t)
		started := make(chan struct{})
		proceed := make(chan struct{})
		q, stop := f.serve(Config{Workers: workers, BatchSize: 4}, func(p *Packet) Verdict {
			if p.ID() == 1 {
				close(started)
				<-proceed
			}
			return Accept
		})
		f.queue(fakekernel.Packet{Payload: udp4(1, nil)})
		<-started
		for i := range 50 {
			f.queue(fakekernel.Packet{Payload: udp4(uint16(i), nil)})
		}
		stopped := make(chan struct{})
		go func() {
			defer close(stopped)
			stop()
		}()
		close(proceed)
		<-stopped
		for id := uint32(1); id <= 51; id++ {
			f.verdict(id)
		}
		f.check()
		c := f.Configs()
		if len(c) != 3 || string(c[1][zerocopy.CfgQueueMaxlen]) != "\x00\x00\x00\x00" || string(c[2][zerocopy.CfgCmd]) != "\x02\x00\x00\x00" {
			t.Errorf("config messages: %v, want bind, length 0, unbind", c)
		}
		if s := q.Stats(); s.Verdicts != 51 {
			t.Errorf("%d verdicts, want 51", s.Verdicts)
		}
	})
}

// A queue that another process lengthens again does not run empty; Run ends all
// the same.
func TestDrainOfAQueueThatFillsUp(t *testing.T) {
	t.Parallel()
	eachMode(t, func(t *testing.T, workers int) {
		f := newFake(t)
		var full atomic.Bool
		f.alter = func(s *socket) {
			s.recv = func(b *ring.Batch, fd int) (int, syscall.Errno) {
				if full.Load() {
					if err := f.allDecided(); err != nil {
						t.Error(err)
					}
					f.Queue(fakekernel.Packet{Payload: udp4(1, nil)})
				}
				return b.Recv(fd)
			}
		}
		q := f.open(Config{Workers: workers, MaxQueueLen: 10, DrainTimeout: time.Millisecond, OnTimeout: Always(Accept)})
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

// A kernel that is always short of memory does not keep Run from ending: each
// write is tried once when the time to drain is over, and the socket is not
// read for ever.
func TestNoMemoryAtTheEnd(t *testing.T) {
	t.Parallel()
	eachMode(t, func(t *testing.T, workers int) {
		const n = 20
		f := newFake(t)
		f.alter = f.calls
		f.Inject(fakekernel.Faults{Send: []fakekernel.Fault{{Errno: syscall.EAGAIN, Rate: 1}}}, 1)
		q := f.open(Config{Workers: workers, BatchSize: 1, Batches: n, DrainTimeout: time.Millisecond})
		for range n {
			f.queue(fakekernel.Packet{Payload: udp4(1, nil)})
		}
		_, done := startRun(q, accept)
		if err := endOf(t, done); !errors.Is(err, syscall.EAGAIN) {
			t.Errorf("Run: %v", err)
		}
		// Besides the write that failed, the one under way as the time is over may
		// have been tried again and again: on a busy machine that is noticed late.
		if got := f.Counters().SendFaults[syscall.EAGAIN]; got <= maxRetries || got > 2*maxRetries+2*n {
			t.Errorf("%d attempts to write %d verdicts", got, n)
		}
	})
	eachMode(t, func(t *testing.T, workers int) {
		f := newFake(t)
		f.alter = f.calls
		f.Inject(fakekernel.Faults{Recv: []fakekernel.Fault{{Errno: syscall.ENOMEM, Rate: 1}}}, 1)
		q := f.open(Config{Workers: workers, DrainTimeout: time.Millisecond})
		cancel, done := startRun(q, accept)
		cancel()
		if err := endOf(t, done); !errors.Is(err, errEndless) || !errors.As(err, new(*OpError)) {
			t.Errorf("Run: %v", err)
		}
	})
}

// The queue is unbound when everything is decided and written, not before:
// the kernel would drop the rest.
func TestUnbindingComesLast(t *testing.T) {
	eachMode(t, func(t *testing.T, workers int) {
		f := newFake(t)
		q := f.open(Config{Workers: workers})
		shut := make(chan struct{})
		var decided atomic.Bool
		f.Refuse(func(c fakekernel.Config) syscall.Errno {
			switch {
			case c[zerocopy.CfgQueueMaxlen] != nil:
				close(shut)
			case !decided.Load():
				t.Error("unbound while a handler runs")
			}
			return 0
		})
		ctx, cancel := context.WithCancel(context.Background())
		done := make(chan error, 1)
		go func() {
			done <- q.Run(ctx, HandlerFunc(func(p *Packet) Verdict {
				cancel()
				if workers != Inline {
					<-shut
				}
				time.Sleep(20 * time.Millisecond) // what is tested is that this does not matter
				decided.Store(true)
				return Accept
			}))
		}()
		f.queue(fakekernel.Packet{Payload: udp4(1, nil)})
		if err := <-done; err != nil {
			t.Error(err)
		}
		if s := q.Stats(); s.Verdicts != 1 {
			t.Errorf("stats: %+v", s)
		}
	})
}

// A queue that cannot be told to stop, or to go, makes Run fail.
func TestRunReportsAFailedEnd(t *testing.T) {
	const firstAttr = zerocopy.GenHeaderLen // of a config message's data: its length, its type, its value
	for op, fails := range map[string]func(data []byte) bool{
		"drain": func(data []byte) bool { return data[firstAttr+2] == zerocopy.CfgQueueMaxlen },
		"unbind": func(data []byte) bool {
			return data[firstAttr+2] == zerocopy.CfgCmd && data[firstAttr+4] == zerocopy.CmdUnbind
		},
	} {
		near, _ := bareSocket(t, func(m netlink.Message) error {
			if fails(m.Data) {
				return syscall.ENOBUFS
			}
			return nil
		})
		q := openOn(t, Config{}, netlink.NewConn(near, 1))
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		var e *OpError
		if err := q.Run(ctx, accept); !errors.As(err, &e) || e.Op != op || !errors.Is(err, syscall.ENOBUFS) {
			t.Errorf("%s fails; Run: %v", op, err)
		}
		q.Close()
	}
}

func TestCloseEndsRun(t *testing.T) {
	eachMode(t, func(t *testing.T, workers int) {
		f := newFake(t)
		q := f.open(Config{Workers: workers})
		done := make(chan error)
		go func() { done <- q.Run(context.Background(), accept) }()
		f.verdict(f.queue(fakekernel.Packet{Payload: udp4(1, nil)}))
		for range 2 {
			if err := q.Close(); err != nil {
				t.Errorf("Close: %v", err)
			}
		}
		if err := <-done; err != nil {
			t.Errorf("Run: %v", err)
		}
		if err := q.Run(t.Context(), accept); !errors.Is(err, ErrClosed) {
			t.Errorf("Run after Close: %v", err)
		}
		if s := q.Stats(); s.Verdicts != 1 {
			t.Errorf("stats after Close: %+v", s)
		}
	})
}

// Close returns when no handler runs any more.
func TestCloseWaitsForHandlers(t *testing.T) {
	eachMode(t, func(t *testing.T, workers int) {
		f := newFake(t)
		q := f.open(Config{Workers: workers})
		started, release := make(chan struct{}), make(chan struct{})
		var finished atomic.Bool
		done := make(chan error, 1)
		go func() {
			done <- q.Run(t.Context(), HandlerFunc(func(*Packet) Verdict {
				close(started)
				<-release
				finished.Store(true)
				return Accept
			}))
		}()
		f.queue(fakekernel.Packet{Payload: udp4(1, nil)})
		<-started
		closed := make(chan error)
		go func() { closed <- q.Close() }()
		await(t, "Close to begin", closing(q))
		select {
		case err := <-closed:
			t.Fatalf("Close has returned while a handler runs: %v", err)
		default:
		}
		close(release)
		if err := <-closed; err != nil || !finished.Load() {
			t.Errorf("Close: %v, handler finished: %v", err, finished.Load())
		}
		if err := <-done; err != nil {
			t.Errorf("Run: %v", err)
		}
		f.verdict(1)
		f.check()
	})
}

// A handler may close its queue, also while others do: nobody waits for it, and
// everything is released when Run returns.
func TestHandlerMayClose(t *testing.T) {
	eachMode(t, func(t *testing.T, workers int) {
		for _, others := range []int{0, 3} {
			before, fds := goroutines(), descriptors(t)
			f := newFake(t)
			q := f.open(Config{Workers: workers})
			for range 5 { // before Run, which the first of them ends
				f.queue(fakekernel.Packet{Payload: udp4(1, nil)})
			}
			var closers sync.WaitGroup
			done := make(chan error, 1)
			go func() {
				done <- q.Run(context.Background(), HandlerFunc(func(p *Packet) Verdict {
					if p.ID() == 1 {
						for range others {
							closers.Go(func() {
								if err := q.Close(); err != nil {
									t.Error(err)
								}
							})
						}
						if others > 0 {
							await(t, "another Close to begin", closing(q))
						}
						for range 2 {
							if err := q.Close(); err != nil {
								t.Error(err)
							}
						}
					}
					return Accept
				}))
			}()
			if err := <-done; err != nil {
				t.Errorf("Run: %v", err)
			}
			closers.Wait()
			for id := range uint32(5) {
				if v := f.verdict(id + 1); v.Verdict != 1 {
					t.Errorf("packet %d: %+v", id+1, v)
				}
			}
			f.check()
			if err := q.Run(t.Context(), accept); !errors.Is(err, ErrClosed) {
				t.Errorf("Run after Close: %v", err)
			}
			// Without another call of Close.
			f.Close()
			settle(t, "goroutines", before, goroutines)
			settle(t, "descriptors", fds, func() int { return descriptors(t) })
		}
	})
}

// Cancelling Run under a flood leaves nothing queued, no goroutine and no
// descriptor.
func TestKernelCancelUnderFlood(t *testing.T) {
	eachMode(t, func(t *testing.T, workers int) {
		ns := labtest.New(t)
		rules := echoRules(t, ns, fakeNumber, 1)
		startFlood(t, ns, flood.Config{})
		before, fds := goroutines(), descriptors(t)

		for round := range 5 {
			q, err := Open(Config{Queue: fakeNumber, NetNS: ns.FD(), Workers: workers})
			if err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithCancel(context.Background())
			// Not by id: the packet that has it may not fit the socket.
			var handled atomic.Uint64
			err = q.Run(ctx, HandlerFunc(func(p *Packet) Verdict {
				if handled.Add(1) == 5000 {
					cancel()
				}
				return Accept
			}))
			cancel()
			if err != nil {
				t.Fatal(err)
			}
			s := q.Stats()
			if s.Received != s.Verdicts || s.Received != handled.Load() {
				t.Errorf("round %d: received %d, verdicts %d", round, s.Received, s.Verdicts)
			}
			if s.UnknownVerdicts+s.RefusedVerdicts != 0 {
				t.Errorf("round %d: verdicts refused: %+v", round, s)
			}
			if s.KernelKnown {
				if s.Waiting != 0 || s.Sequence-s.SocketDropped != s.Received {
					t.Errorf("round %d: of %d packets queued %d did not fit the socket and %d were received",
						round, s.Sequence, s.SocketDropped, s.Received)
				}
				queues, err := ns.QueueStats()
				if err != nil || len(queues) != 0 {
					t.Errorf("round %d: queues left: %v, %v", round, queues, err)
				}
			}
			if err := q.Close(); err != nil {
				t.Error(err)
			}
			settle(t, "goroutines", before, goroutines)
			settle(t, "descriptors", fds, func() int { return descriptors(t) })
		}
		if c, err := rules.Counters(); err != nil || c[0].Packets == 0 {
			t.Errorf("%v, %v", c, err)
		}
	})
}
