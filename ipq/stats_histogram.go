package ipq

import (
	"math/bits"
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
