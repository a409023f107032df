package ipq

import (
	"testing"
	"time"
)

// A duration is in the bucket whose bound is the first that it does not exceed.
func TestHistogramBounds(t *testing.T) {
	if first, last := HistogramBound(0), HistogramBound(HistogramBounds-1); first != 256 || last != 1<<33 {
		t.Errorf("bounds from %v to %v", first, last)
	}
	for i := range HistogramBounds {
		bound := HistogramBound(i)
		if i > 0 && bound != 2*HistogramBound(i-1) {
			t.Errorf("bound %d is %v", i, bound)
		}
		if at, above := bucketFor(bound), bucketFor(bound+1); at != i || above != i+1 {
			t.Errorf("%v is in bucket %d, 1 ns more in %d; want %d and the next", bound, at, above, i)
		}
	}
	for d, want := range map[time.Duration]int{-1: 0, 0: 0, 1: 0, 1<<63 - 1: HistogramBounds} {
		if got := bucketFor(d); got != want {
			t.Errorf("%v is in bucket %d, want %d", d, got, want)
		}
	}
}

func TestHistogramQuantile(t *testing.T) {
	var h Histogram
	if q := h.Quantile(0.5); q != 0 || h.Count() != 0 {
		t.Errorf("of nothing: %v of %d", q, h.Count())
	}
	h.Buckets[0], h.Buckets[3], h.Buckets[HistogramBounds] = 10, 80, 10 // up to 256 ns, 1024 to 2048 ns, beyond
	for q, want := range map[float64]time.Duration{
		-1: 0, 0: 0, 0.05: 128, 0.1: 256, 0.5: 1536, 0.9: 2048, 0.95: 1 << 33, 1: 1 << 33, 2: 1 << 33,
	} {
		if got := h.Quantile(q); got != want {
			t.Errorf("quantile %v is %v, want %v", q, got, want)
		}
	}
	if h.Count() != 100 {
		t.Errorf("%d in all", h.Count())
	}
}

func TestHistogramSub(t *testing.T) {
	before := Histogram{Sum: 5}
	before.Buckets[2] = 1
	after := Histogram{Sum: 12}
	after.Buckets[2], after.Buckets[7] = 4, 2
	want := Histogram{Sum: 7}
	want.Buckets[2], want.Buckets[7] = 3, 2
	if got := after.Sub(before); got != want || after.Sum != 12 {
		t.Errorf("%+v, want %+v", got, want)
	}
}
