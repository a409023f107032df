package flood

import (
	"math/bits"
	"sync/atomic"
	"time"
)

// Latencies count times by their length, in memory that two processes share:
// exact below 128 ns, and above in steps of less than 1 % of their value.
type Latencies struct {
	counts [latencyBuckets]atomic.Uint64
}

const (
	// subBits makes 2^7 steps in each octave: 1/128 is less than 1 %.
	subBits = 7
	// Octaves up to 2^40 ns, which is 18 minutes; what is longer counts there.
	octaves        = 40
	latencyBuckets = (octaves - subBits + 1) << subBits
)

// Record counts one time. Negative ones count as zero.
func (l *Latencies) Record(d time.Duration) {
	l.counts[bucketOf(uint64(max(d, 0)))].Add(1)
}

func bucketOf(n uint64) int {
	octave := bits.Len64(n >> subBits)
	if octave == 0 {
		return int(n)
	}
	// The value's top bit, and the subBits below it.
	step := int(n>>(octave-1)) & (1<<subBits - 1)
	return min(octave<<subBits|step, latencyBuckets-1)
}

// upperOf is the longest time, in nanoseconds, that a bucket counts.
func upperOf(bucket int) time.Duration {
	octave, step := bucket>>subBits, bucket&(1<<subBits-1)
	if octave == 0 {
		return time.Duration(step)
	}
	return time.Duration((1<<subBits|step)+1)<<(octave-1) - 1
}

// A LatencyCount is how many times were no longer than Upper, and longer than
// that of the one before.
type LatencyCount struct {
	Upper time.Duration
	Count uint64
}

// snapshot returns the counts that are not zero, shortest first.
func (l *Latencies) snapshot() []LatencyCount {
	var all []LatencyCount
	for i := range l.counts {
		if n := l.counts[i].Load(); n > 0 {
			all = append(all, LatencyCount{upperOf(i), n})
		}
	}
	return all
}
