package ipq

import (
	"context"
	"os"
	"runtime"
	"runtime/pprof"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/goipq/goipq/internal/flood"
	"github.com/goipq/goipq/internal/netlab/labtest"
)

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

// settle waits until count is no more than want: goroutines that have been
// told to end take a moment.
func settle(t *testing.T, what string, want int, count func() int) {
	t.Helper()
	for end := time.Now().Add(time.Minute); count() > want; runtime.Gosched() {
		if time.Now().After(end) {
			var stacks strings.Builder
			pprof.Lookup("goroutine").WriteTo(&stacks, 1)
			t.Fatalf("%d %s, before %d\n%s", count(), what, want, stacks.String())
		}
	}
}

func goroutines() int { return runtime.NumGoroutine() }

func descriptors(t *testing.T) int {
	t.Helper()
	d, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(d)
}
