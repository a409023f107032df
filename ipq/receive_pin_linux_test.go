package ipq

import (
	"context"
	"errors"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/goipq/goipq/internal/fakekernel"
)

func affinity(t *testing.T) (set unix.CPUSet) {
	t.Helper()
	if err := unix.SchedGetaffinity(0, &set); err != nil {
		t.Fatal(err)
	}
	return set
}

// onlyCPU returns the one CPU of a set, or -1 if there are more.
func onlyCPU(set unix.CPUSet) int {
	if set.Count() == 1 {
		for cpu := range len(set) * 64 {
			if set.IsSet(cpu) {
				return cpu
			}
		}
	}
	return -1
}

// More queues than CPUs are a mistake in the Config, and without PinCPU nothing is pinned.
func TestPins(t *testing.T) {
	cpus := affinity(t)
	if pins, err := newPins(&Config{PinCPU: true, Queues: cpus.Count() + 1}); !errors.Is(err, ErrConfig) || !strings.Contains(err.Error(), "PinCPU") {
		t.Errorf("more queues than CPUs: %v, %v", pins, err)
	}
	if pins, err := newPins(&Config{Queues: 1}); len(pins) != 1 || pins[0] != nil || err != nil {
		t.Errorf("without PinCPU: %v, %v", pins, err)
	}
}

// A pinned loop is woken by packets, by an end of the context and by Close, and
// leaves no descriptor.
func TestPinnedLoopWaits(t *testing.T) {
	eachMode(t, func(t *testing.T, workers int) {
		for _, end := range []string{"context", "close"} {
			fds := descriptors(t)
			f := newFake(t)
			q := f.open(Config{Workers: workers, PinCPU: true})
			ctx, cancel := context.WithCancel(t.Context())
			done := make(chan error)
			go func() { done <- q.Run(ctx, accept) }()
			for range 20 {
				f.verdict(f.queue(fakekernel.Packet{Payload: udp4(1, nil)}))
			}
			if end == "context" {
				cancel()
				if err := <-done; err != nil {
					t.Error(err)
				}
			} else {
				go q.Close()
				if err := <-done; err != nil {
					t.Error(err)
				}
			}
			cancel()
			q.Close()
			f.check()
			f.Close()
			settle(t, "descriptors", fds, func() int { return descriptors(t) })
		}
	})
}

// Each loop has a CPU of its own while it runs, and one that cannot be pinned
// ends Run with an error.
func TestLoopsArePinned(t *testing.T) {
	cpus := affinity(t)
	f := newFake(t)
	q := f.open(Config{Workers: Inline, PinCPU: true})
	var on unix.CPUSet
	done := make(chan error, 1)
	go func() {
		done <- q.Run(t.Context(), HandlerFunc(func(*Packet) Verdict {
			on = affinity(t)
			return Accept
		}))
	}()
	f.verdict(f.queue(fakekernel.Packet{Payload: udp4(1, nil)}))
	q.Close()
	if err := <-done; err != nil {
		t.Error(err)
	}
	if cpu := onlyCPU(on); !cpus.IsSet(cpu) {
		t.Errorf("the loop may run on %d CPUs, such as %d", on.Count(), cpu)
	}

	f = newFake(t)
	q = f.open(Config{Workers: Inline, PinCPU: true})
	q.loops[0].pin.CPU = len(cpus)*64 - 1 // the mask has a bit for it, no machine the CPU
	var op *OpError
	if err := q.Run(t.Context(), accept); !errors.As(err, &op) || !errors.Is(err, syscall.EINVAL) {
		t.Errorf("Run on a CPU that does not exist: %v", err)
	}
}

// With PinCPU several queues have several CPUs.
func TestQueuesHaveDifferentCPUs(t *testing.T) {
	cpus := affinity(t)
	if cpus.Count() < 2 {
		t.Skip("this kernel gives the process one CPU only")
	}
	q, kernels := openTwo(t, Config{Workers: Inline, PinCPU: true})
	var on [2]unix.CPUSet
	_, done := startRun(q, HandlerFunc(func(p *Packet) Verdict {
		on[p.Queue()-fakeNumber] = affinity(t)
		return Accept
	}))
	for _, k := range kernels {
		k.verdict(k.queue(fakekernel.Packet{Payload: udp4(1, nil)}))
	}
	q.Close()
	if err := endOf(t, done); err != nil {
		t.Error(err)
	}
	if a, b := onlyCPU(on[0]), onlyCPU(on[1]); a == b || !cpus.IsSet(a) || !cpus.IsSet(b) {
		t.Errorf("CPUs %d and %d, of %d and %d that the loops may run on", a, b, on[0].Count(), on[1].Count())
	}
}
