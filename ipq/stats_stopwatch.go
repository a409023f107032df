package ipq

import (
	"sync/atomic"
	"time"
)

// durations are a Histogram that is being counted.
type durations struct {
	buckets [HistogramBounds + 1]atomic.Uint64
	sum     atomic.Int64
}

// add counts n times d.
func (h *durations) add(d time.Duration, n uint64) {
	h.buckets[bucketFor(d)].Add(n)
	h.sum.Add(int64(d) * int64(n))
}

func (h *durations) addTo(to *Histogram) {
	for i := range h.buckets {
		to.Buckets[i] += h.buckets[i].Load()
	}
	to.Sum += time.Duration(h.sum.Load())
}

// A stopwatch measures the packets that one writer decides, and the calls of their
// handler. It reads the clock once for each call, as it ends: the next begins there, or
// where a write has ended. It has its owner's goroutine to itself, but for what others
// may read.
type stopwatch struct {
	// Anybody reads these.
	handler, latency durations

	received time.Duration // when the packets that are being decided were
	read     time.Duration // the clock, when it was read last

	// The calls since the last flush, to spare the shared counts.
	calls   int
	buckets [HistogramBounds + 1]uint32
	sum     time.Duration

	_ [64]byte // keeps neighbours apart
}

// begin is called before the first of the packets that were received at that time. Who
// calls it later than that sets read.
func (s *stopwatch) begin(received time.Duration) { s.received, s.read = received, received }

// call counts a call that began at the former reading of the clock, and ended now.
func (s *stopwatch) call(began, now time.Duration) {
	s.read = now
	s.calls++
	s.buckets[bucketFor(now-began)]++
	s.sum += now - began
}

// flush shows the calls that were counted.
func (s *stopwatch) flush() {
	if s.calls == 0 {
		return
	}
	for i, n := range s.buckets {
		if n != 0 {
			s.handler.buckets[i].Add(uint64(n))
		}
	}
	s.handler.sum.Add(int64(s.sum))
	s.calls, s.buckets, s.sum = 0, [HistogramBounds + 1]uint32{}, 0
}
