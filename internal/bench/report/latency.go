package report

import (
	"math"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// A Latency is how long things took. Its percentiles are upper bounds, less
// than 1 % above the value itself.
type Latency struct {
	Count uint64        `json:"count"`  // of what was timed
	P50   time.Duration `json:"p50_ns"` // median
	P90   time.Duration `json:"p90_ns"`
	P99   time.Duration `json:"p99_ns"`
	P999  time.Duration `json:"p999_ns"`
	P9999 time.Duration `json:"p9999_ns"` // 99.99 % took this long or less
	Max   time.Duration `json:"max_ns"`   // longest
	// Points are the distribution, for a plot: ascending, and denser towards 100
	// percent, as the axis of an HDR plot is. Only all rounds together have them.
	Points []Percentile `json:"points,omitempty"`
}

// A Percentile is one point of a latency's distribution.
type Percentile struct {
	Percent float64       `json:"percent"` // of all
	Time    time.Duration `json:"ns"`      // that they took, or less
}

// Times say how many things took how long. The durations are upper bounds.
type Times map[time.Duration]int64

func (t Times) add(more Times) {
	for upper, n := range more {
		t[upper] += n
	}
}

// histogram returns all times, with three digits, up to an hour.
func (t Times) histogram() *hdrhistogram.Histogram {
	h := hdrhistogram.New(1, int64(time.Hour), 3)
	for upper, n := range t {
		if n > 0 {
			h.RecordValues(min(int64(upper), int64(time.Hour)), n)
		}
	}
	return h
}

// Latency sums the times up. It is nil if there are none.
func (t Times) Latency() *Latency {
	h := t.histogram()
	if h.TotalCount() == 0 {
		return nil
	}
	at := func(percent float64) time.Duration { return time.Duration(h.ValueAtQuantile(percent)) }
	return &Latency{
		Count: uint64(h.TotalCount()),
		P50:   at(50), P90: at(90), P99: at(99), P999: at(99.9), P9999: at(99.99),
		Max: time.Duration(h.Max()),
	}
}

// points returns the distribution: five points for each halving of what is left
// to 100 percent.
func (t Times) points() []Percentile {
	const perHalf = 5
	var all []Percentile
	for _, b := range t.histogram().CumulativeDistributionWithTicks(perHalf) {
		all = append(all, Percentile{b.Quantile, time.Duration(b.ValueAt)})
	}
	return all
}

// us is a percentile in microseconds, or NaN when nothing was timed.
func (l *Latency) us(of func(*Latency) time.Duration) float64 {
	if l == nil {
		return math.NaN()
	}
	return float64(of(l)) / 1e3
}

func median(l *Latency) time.Duration { return l.P50 }

func p90(l *Latency) time.Duration { return l.P90 }

func p99(l *Latency) time.Duration { return l.P99 }

func p999(l *Latency) time.Duration { return l.P999 }

func p9999(l *Latency) time.Duration { return l.P9999 }

func longest(l *Latency) time.Duration { return l.Max }
