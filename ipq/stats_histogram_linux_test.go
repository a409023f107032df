package ipq

import (
	"bytes"
	"context"
	"runtime/pprof"
	"strings"
	"testing"
	"time"

	"github.com/goipq/goipq/internal/fakekernel"
)

// histograms returns those of a queue's only kernel queue.
func histograms(t *testing.T, q *Queue) QueueHistograms {
	t.Helper()
	all := q.Histograms()
	if len(all) != 1 || all[0].Queue != fakeNumber {
		t.Fatalf("%+v", all)
	}
	return all[0]
}

// atLeast returns how many durations were longer than d, which is a bound.
func atLeast(h *Histogram, d time.Duration) (n uint64) {
	for i, b := range h.Buckets {
		if i > 0 && HistogramBound(i-1) >= d {
			n += b
		}
	}
	return n
}

// Each call of a handler, and each verdict, is in a histogram, where it belongs: here
// one call in ten takes longer than a bound, and holds up what comes behind it.
func TestHistogramsAreOfEachPacket(t *testing.T) {
	t.Parallel()
	const packets = 100
	long := HistogramBound(13) // 2 ms
	eachMode(t, func(t *testing.T, workers int) {
		k := newFake(t)
		q, stop := k.serve(Config{Workers: workers, Histograms: true}, func(p *Packet) Verdict {
			if p.ID()%10 == 0 {
				for end := monotonic() + long + time.Microsecond; monotonic() < end; {
				}
			}
			return Accept
		})
		for i := range packets {
			k.queue(fakekernel.Packet{Payload: udp4(uint16(i), nil)})
		}
		k.check()
		stop()
		h := histograms(t, q)
		if n := h.HandlerTime.Count(); n != packets {
			t.Errorf("%d calls", n)
		}
		if n := h.VerdictLatency.Count(); n != packets || n != q.Stats().Verdicts {
			t.Errorf("%d verdicts", n)
		}
		// A busy machine may have taken as long for others.
		if n := atLeast(&h.HandlerTime, long); n < packets/10 || h.HandlerTime.Sum < packets/10*long {
			t.Errorf("%d calls took longer than %v, all of them %v", n, long, h.HandlerTime.Sum)
		}
		if n := atLeast(&h.VerdictLatency, long); n < packets/10 || h.VerdictLatency.Sum < packets/10*long {
			t.Errorf("%d verdicts took longer than %v, all of them %v", n, long, h.VerdictLatency.Sum)
		}
	})
}

// What a packet waits for a handler is not the handler's time: calls that run one after
// the other take no longer than all of the run. Here each packet is a share of its own.
func TestHandlerTimeIsNotWaiting(t *testing.T) {
	t.Parallel()
	for _, workers := range []int{Inline, 1} {
		k := newFake(t)
		q := k.open(Config{Workers: workers, BatchSize: 1, Histograms: true})
		for i := range 8 {
			k.queue(fakekernel.Packet{Payload: udp4(uint16(i), nil)})
		}
		began := monotonic()
		stop := k.run(q, func(*Packet) Verdict {
			for end := monotonic() + time.Millisecond; monotonic() < end; {
			}
			return Accept
		})
		k.check()
		stop()
		if h, all := histograms(t, q), monotonic()-began; h.HandlerTime.Count() != 8 || h.HandlerTime.Sum > all {
			t.Errorf("%d workers: %d calls took %v, of %v", workers, h.HandlerTime.Count(), h.HandlerTime.Sum, all)
		}
	}
}

// Without Config.Histograms there are none.
func TestHistogramsAreOff(t *testing.T) {
	t.Parallel()
	k := newFake(t)
	q, stop := k.serve(Config{Workers: Inline}, accept)
	k.queue(fakekernel.Packet{})
	stop()
	if all := q.Histograms(); all != nil {
		t.Errorf("%+v", all)
	}
}

// A handler that comes back after its time is in the histogram with all of its time,
// though its packet got its verdict before.
func TestHistogramsOfLateHandlers(t *testing.T) {
	t.Parallel()
	eachMode(t, func(t *testing.T, workers int) {
		k := newFake(t)
		release := make(chan struct{})
		q, stop := k.serve(Config{Workers: workers, Histograms: true, HandlerTimeout: time.Millisecond}, func(*Packet) Verdict {
			<-release
			return Accept
		})
		id := k.queue(fakekernel.Packet{Payload: udp4(1, nil)})
		k.verdict(id)
		await(t, "the verdict is counted", func() bool { return q.Stats().Verdicts == 1 })
		h := histograms(t, q)
		if h.HandlerTime.Count() != 0 || atLeast(&h.VerdictLatency, HistogramBound(11)) != 1 { // 0.5 ms
			t.Errorf("before it has come back: %+v", h)
		}
		close(release)
		stop()
		h = histograms(t, q)
		if h.HandlerTime.Count() != 1 || h.HandlerTime.Sum < time.Millisecond || h.VerdictLatency.Count() != 1 {
			t.Errorf("after that: %+v", h)
		}
	})
}

// The latency of a deferred packet is that of its own verdict, whoever gives it.
func TestHistogramsOfDeferredPackets(t *testing.T) {
	t.Parallel()
	bound := HistogramBound(12) // 1 ms
	eachMode(t, func(t *testing.T, workers int) {
		k := newFake(t)
		deferred := make(chan *Deferred, 3)
		q, stop := k.serve(Config{Workers: workers, Histograms: true, DeferTimeout: 2 * bound}, func(p *Packet) Verdict {
			d, err := p.Defer()
			if err != nil {
				t.Error(err)
			}
			deferred <- d
			return Drop
		})
		k.queue(fakekernel.Packet{Payload: udp4(1, nil)}) // nobody decides it
		k.check()
		<-deferred
		k.queue(fakekernel.Packet{Payload: udp4(2, nil)})
		d := <-deferred
		time.Sleep(bound + time.Microsecond)
		_ = d.Verdict(Accept) // on a busy machine it comes too late, which is as good here
		k.check()
		stop()
		h := histograms(t, q)
		if n := atLeast(&h.VerdictLatency, bound); n != 2 || h.VerdictLatency.Count() != 2 || h.HandlerTime.Count() != 2 {
			t.Errorf("%d verdicts took longer than %v: %+v", n, bound, h)
		}
	})
}

// The configuration in use has the defaults.
func TestConfigInUse(t *testing.T) {
	t.Parallel()
	q := newFake(t).open(Config{Workers: Inline, Histograms: true})
	if c := q.Config(); c.MaxQueueLen != DefaultMaxQueueLen || c.BatchSize != DefaultInlineBatch || c.Queues != 1 || !c.Histograms || c.NetNS != 0 {
		t.Errorf("%+v", c)
	}
}

// In profiles the goroutines that handle packets say what they are, and for which
// queue, beside what the caller of Run has said.
func TestProfileLabels(t *testing.T) {
	eachMode(t, func(t *testing.T, workers int) {
		k := newFake(t)
		reached, release := make(chan struct{}), make(chan struct{})
		q := k.open(Config{Workers: workers})
		ctx, cancel := context.WithCancel(pprof.WithLabels(context.Background(), pprof.Labels("tenant", "blue")))
		done := make(chan error, 1)
		go func() {
			done <- q.Run(ctx, HandlerFunc(func(*Packet) Verdict {
				close(reached)
				<-release
				return Accept
			}))
		}()
		k.queue(fakekernel.Packet{Payload: udp4(1, nil)})
		<-reached
		var profile bytes.Buffer
		if err := pprof.Lookup("goroutine").WriteTo(&profile, 1); err != nil {
			t.Error(err)
		}
		close(release)
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		want := map[string]string{"receive": "ipq.(*loop).main"}
		if workers != Inline {
			want["worker"] = "ipq.job.run"
		}
		for does, function := range want {
			labels := `# labels: {"ipq":"` + does + `", "queue":"7", "tenant":"blue"}`
			found := false
			for _, goroutine := range strings.Split(profile.String(), "\n\n") {
				found = found || strings.Contains(goroutine, labels) && strings.Contains(goroutine, function)
			}
			if !found {
				t.Errorf("no goroutine in %s has %s:\n%s", function, labels, profile.String())
			}
		}
	})
}
