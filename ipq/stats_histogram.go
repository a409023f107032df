package ipq

import (
	"math/bits"
	"sync/atomic"
	"time"
)

const (
	// The bounds of a Histogram are powers of two, of nanoseconds, from the first to
	// the last. Handlers that do next to nothing are below the first; beyond the last
	// nobody waits for a packet any more.
	firstBound = 8  // 256 ns
	lastBound  = 33 // 8.6 s

	// HistogramBounds is the number of bounds of a [Histogram].
	HistogramBounds = lastBound - firstBound + 1
)

// A Histogram counts durations by how long they were.
type Histogram struct {
	// Buckets counts them: item i those above [HistogramBound](i-1), if there is one,
	// and up to HistogramBound(i), and the last item those above all bounds.
	Buckets [HistogramBounds + 1]uint64
	// Sum is all of them together.
	Sum time.Duration
}

// QueueHistograms are the histograms of one kernel queue, since Open. See
// [Queue.Histograms].
type QueueHistograms struct {
	Queue uint16 // its number
	// HandlerTime is how long calls of the handler took, one for each that has ended,
	// also by a panic or when its packet had been decided without it. The Bypasser's
	// time is in it, and what the engine does between two calls, about 0.1 µs.
	HandlerTime Histogram
	// VerdictLatency is the time from the receive call that brought a packet until the
	// write of its verdict has returned, within which the kernel has sent it on. There
	// is one for each of [Counts].Verdicts, deferred packets included. How long a packet
	// waited in the kernel before that is not known.
	VerdictLatency Histogram
}

// HistogramBound returns bound i of every [Histogram], for i from 0 to
// HistogramBounds-1: 256 ns, and twice as long from each to the next, up to 8.6 s.
func HistogramBound(i int) time.Duration { return 1 << (firstBound + i) }

// bucketFor returns the index of the bucket for a duration.
func bucketFor(d time.Duration) int {
	return min(max(bits.Len64(uint64(max(d, 1)-1))-firstBound, 0), HistogramBounds)
}

// Count returns how many durations there are.
func (h *Histogram) Count() (n uint64) {
	for _, b := range h.Buckets {
		n += b
	}
	return n
}

// Quantile returns the duration that the share q of all, from 0 to 1, did not exceed.
// Within a bucket it takes them to be spread evenly. It returns the last bound for what
// lies above it, and 0 if there is nothing.
func (h *Histogram) Quantile(q float64) time.Duration {
	rank := min(max(q, 0), 1) * float64(h.Count())
	for i, n := range h.Buckets[:HistogramBounds] {
		if n > 0 && rank <= float64(n) {
			var low time.Duration
			if i > 0 {
				low = HistogramBound(i - 1)
			}
			return low + time.Duration(rank/float64(n)*float64(HistogramBound(i)-low))
		}
		rank -= float64(n)
	}
	if h.Buckets[HistogramBounds] == 0 {
		return 0
	}
	return HistogramBound(HistogramBounds - 1)
}

// Sub returns what was counted since before was taken of the same queue.
func (h Histogram) Sub(before Histogram) Histogram {
	for i, n := range before.Buckets {
		h.Buckets[i] -= min(n, h.Buckets[i])
	}
	h.Sum -= before.Sum
	return h
}

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
