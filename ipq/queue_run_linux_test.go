package ipq

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/goipq/goipq/internal/fakekernel"
	"github.com/goipq/goipq/internal/flood"
	"github.com/goipq/goipq/internal/netlab"
	"github.com/goipq/goipq/internal/netlab/labtest"
	"github.com/goipq/goipq/internal/zerocopy"
)

func TestRunRunsOnce(t *testing.T) {
	f := newFake(t)
	q, stop := f.serve(Config{}, accept)
	f.verdict(f.queue(fakekernel.Packet{Payload: udp4(1, nil)})) // it runs
	if err := q.Run(t.Context(), accept); !errors.Is(err, ErrRunning) {
		t.Errorf("second Run: %v, want ErrRunning", err)
	}
	stop()
	if err := q.Run(t.Context(), accept); !errors.Is(err, ErrClosed) {
		t.Errorf("Run after Run: %v, want ErrClosed", err)
	}
}

func TestRunWithEndedContext(t *testing.T) {
	f := newFake(t)
	q := f.open(Config{})
	f.queue(fakekernel.Packet{Payload: udp4(1, nil)})
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := q.Run(ctx, accept); err != nil {
		t.Error(err)
	}
	f.verdict(1) // queued before, so decided
}

// Run leaves nothing behind in a context that lives on.
func TestRunLeavesItsContext(t *testing.T) {
	f := newFake(t)
	q := f.open(Config{Workers: Inline})
	ctx := &watchedContext{Context: context.Background(), done: make(chan struct{})}
	done := make(chan error, 1)
	go func() { done <- q.Run(ctx, accept) }()
	f.verdict(f.queue(fakekernel.Packet{Payload: udp4(1, nil)}))
	q.Close()
	if err := <-done; err != nil {
		t.Error(err)
	}
	if n := ctx.watching.Load(); n != 0 {
		t.Errorf("%d functions wait for the end of the context", n)
	}
}

// A watchedContext counts the functions that are to be called at its end, as
// context.AfterFunc registers them. It never ends.
type watchedContext struct {
	context.Context
	done     chan struct{}
	watching atomic.Int32
}

func (c *watchedContext) Done() <-chan struct{} { return c.done }

func (c *watchedContext) AfterFunc(func()) (stop func() bool) {
	c.watching.Add(1)
	return func() bool { c.watching.Add(-1); return true }
}

// The kernel's side goes away: Run says so instead of waiting for ever.
func TestRunFailsWithItsSocket(t *testing.T) {
	eachMode(t, func(t *testing.T, workers int) {
		f := newFake(t)
		q := f.open(Config{Workers: workers})
		var op *OpError
		release := make(chan struct{})
		done := make(chan error)
		go func() {
			done <- q.Run(context.Background(), HandlerFunc(func(*Packet) Verdict { <-release; return Accept }))
		}()
		f.queue(fakekernel.Packet{Payload: udp4(1, nil)})
		f.Close()
		close(release)
		if err := <-done; !errors.As(err, &op) || op.Queue != fakeNumber {
			t.Errorf("Run: %v", err)
		}
	})
}

// The kernel refuses a config message after all, such as the one that tells it
// to queue no more when the capability was lost meanwhile: Run ends and says so.
func TestRunReportsARefusedConfiguration(t *testing.T) {
	for errno, is := range map[syscall.Errno]func(error) bool{
		syscall.ENODEV: func(err error) bool { return errors.Is(err, ErrUnbound) },
		syscall.EPERM:  func(err error) bool { return errors.As(err, new(*CapabilityError)) },
		syscall.ENOMEM: func(error) bool { return true },
	} {
		eachMode(t, func(t *testing.T, workers int) {
			f := newFake(t)
			q := f.open(Config{Workers: workers})
			done := make(chan error, 1)
			go func() { done <- q.Run(t.Context(), accept) }()
			f.verdict(f.queue(fakekernel.Packet{Payload: udp4(1, nil)}))
			if err := f.Send(fakekernel.ErrorMessage(uint32(errno), zerocopy.TypeConfig, 1)); err != nil {
				t.Fatal(err)
			}
			if err := <-done; !is(err) || !errors.Is(err, errno) || !errors.As(err, new(*OpError)) {
				t.Errorf("Run: %v, want %v", err, errno)
			}
		})
		eachMode(t, func(t *testing.T, workers int) {
			f := newFake(t)
			q := f.open(Config{Workers: workers})
			f.Refuse(func(fakekernel.Config) syscall.Errno { return errno })
			cancel, done := startRun(q, accept)
			f.verdict(f.queue(fakekernel.Packet{Payload: udp4(1, nil)}))
			cancel()
			if err := endOf(t, done); !is(err) || !errors.Is(err, errno) {
				t.Errorf("idle: Run: %v, want %v", err, errno)
			}
		})
	}
}

// One queue of several fails: Run ends for all, with that queue's error.
func TestOneFailedQueueEndsRun(t *testing.T) {
	eachMode(t, func(t *testing.T, workers int) {
		for failing := range 2 {
			q, kernels := openTwo(t, Config{Workers: workers})
			done := make(chan error, 1)
			go func() { done <- q.Run(context.Background(), accept) }()
			for _, k := range kernels {
				k.verdict(k.queue(fakekernel.Packet{Payload: udp4(1, nil)}))
			}
			if err := kernels[failing].Send(fakekernel.ErrorMessage(uint32(syscall.ENODEV), zerocopy.TypeConfig, 1)); err != nil {
				t.Fatal(err)
			}
			var op *OpError
			if err := <-done; !errors.As(err, &op) || op.Queue != uint16(fakeNumber+failing) {
				t.Errorf("queue %d failed; Run: %v", fakeNumber+failing, err)
			}
			if s := q.Stats(); s.Verdicts != 2 {
				t.Errorf("stats over both queues: %+v", s)
			}
		}
	})
}

// An error is told also when its queue is the last to come to an end.
func TestLateErrorsAreReported(t *testing.T) {
	q, kernels := openTwo(t, Config{Workers: 2})
	otherIsDone := make(chan struct{})
	kernels[1].Refuse(func(c fakekernel.Config) syscall.Errno {
		if cmd := c[zerocopy.CfgCmd]; cmd != nil && cmd[0] == zerocopy.CmdUnbind {
			close(otherIsDone)
		}
		return 0
	})
	done := make(chan error, 1)
	go func() {
		done <- q.Run(context.Background(), HandlerFunc(func(*Packet) Verdict {
			<-otherIsDone
			return Accept
		}))
	}()
	kernels[0].queue(fakekernel.Packet{Payload: udp4(1, nil)})
	if err := kernels[0].Send(fakekernel.ErrorMessage(uint32(syscall.ENODEV), zerocopy.TypeConfig, 1)); err != nil {
		t.Fatal(err)
	}
	var op *OpError
	if err := <-done; !errors.As(err, &op) || op.Queue != fakeNumber {
		t.Errorf("Run: %v", err)
	}
}

// Two queues with the kernel's fan-out by CPU, each with a pinned loop.
func TestKernelSpreadsOverQueues(t *testing.T) {
	eachMode(t, func(t *testing.T, workers int) {
		var cpus unix.CPUSet
		if err := unix.SchedGetaffinity(0, &cpus); err != nil {
			t.Fatal(err)
		}
		cfg := Config{Queue: 100, Queues: 2, Workers: workers, PinCPU: true, BusyPoll: 50_000}
		if cpus.Count() < cfg.Queues {
			if _, err := Open(cfg); err == nil || !strings.Contains(err.Error(), "PinCPU") {
				t.Errorf("more queues than CPUs: %v", err)
			}
			cfg.PinCPU = false
		}
		ns := labtest.New(t)
		cfg.NetNS = ns.FD()
		if _, err := ns.InstallQueue(netlab.Rule{
			Hook: netlab.Output, Match: netlab.Match{EchoRequest: true}, Queue: 100, Queues: 2, FanoutCPU: true,
		}); err != nil {
			t.Fatal(err)
		}
		var seen [2]atomic.Uint64
		q, stop := serve(t, cfg, HandlerFunc(func(p *Packet) Verdict {
			seen[p.Queue()-100].Add(1)
			return Accept
		}))
		each := fewer(20_000)
		for cpu := range 2 {
			fl := flood.Config{Count: each, Window: 32}
			if cpus.IsSet(cpu) {
				fl.CPUs = []int{cpu}
			}
			if s := runFlood(t, ns, fl); s.Replies != each || s.Lost+s.Duplicates != 0 {
				t.Errorf("flood from CPU %d: %+v", cpu, s)
			}
		}
		if err := stop(); err != nil {
			t.Fatal(err)
		}
		if s := q.Stats(); s.Verdicts != 2*each || s.Received != 2*each {
			t.Errorf("stats: %+v", s)
		}
		if cfg.PinCPU && (seen[0].Load() != each || seen[1].Load() != each) {
			t.Errorf("queues got %d and %d packets, want %d each", seen[0].Load(), seen[1].Load(), each)
		}
	})
}
