package flood

import (
	"testing"
	"time"
)

// Every time falls into a bucket whose bound is not below it, and not a
// hundredth above.
func TestLatencyBuckets(t *testing.T) {
	for _, d := range []time.Duration{0, 1, 127, 128, 129, 255, 256, 257, 1000, 12345, time.Microsecond,
		time.Millisecond - 1, time.Second, time.Minute, 10 * time.Minute} {
		var l Latencies
		l.Record(d)
		got := l.snapshot()
		if len(got) != 1 || got[0].Count != 1 {
			t.Fatalf("%v: counted as %v", d, got)
		}
		if upper := got[0].Upper; upper < d || upper > d+d/100 {
			t.Errorf("%v counts as up to %v", d, upper)
		}
	}
	for i := 1; i < latencyBuckets; i++ {
		if lower := upperOf(i-1) + 1; bucketOf(uint64(lower)) != i || bucketOf(uint64(upperOf(i))) != i {
			t.Fatalf("bucket %d does not hold its own bounds %d and %d", i, lower, upperOf(i))
		}
	}
	var l Latencies
	l.Record(-time.Second)
	l.Record(100 * time.Hour)
	if got := l.snapshot(); len(got) != 2 || got[0].Upper != 0 || got[1].Upper != upperOf(latencyBuckets-1) {
		t.Errorf("beyond the ends: %v", got)
	}
}
