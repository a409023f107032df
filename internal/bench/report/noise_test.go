package report

import (
	"strings"
	"testing"
	"time"
)

func TestNoiseOfRounds(t *testing.T) {
	const ms = time.Millisecond
	for _, c := range []struct {
		window time.Duration
		all    MachineCPU
		user   time.Duration
		want   []string
	}{
		{time.Second, MachineCPU{User: 240 * ms}, 200 * ms, nil},                           // 4 % of a CPU
		{time.Second, MachineCPU{User: 260 * ms}, 200 * ms, []string{"used 6 % of a CPU"}}, // more than 5 %
		{100 * ms, MachineCPU{User: 230 * ms}, 200 * ms, nil},                              // too few ticks
		{4 * time.Second, MachineCPU{Steal: 50 * ms}, 0, []string{"hypervisor took 1 %"}},
		{time.Second, MachineCPU{User: 900 * ms, Steal: 500 * ms}, 0, []string{"used 90 %", "took 50 %"}},
	} {
		got := NoiseOf(c.window, c.all, c.user)
		if len(got) != len(c.want) {
			t.Errorf("%+v: %q, want %q", c.all, got, c.want)
			continue
		}
		for i := range got {
			if !strings.Contains(got[i], c.want[i]) {
				t.Errorf("%+v: %q, want %q", c.all, got, c.want)
			}
		}
	}
}

func TestNoiseInFigures(t *testing.T) {
	quiet, loud := [][]string{nil, nil, nil, nil}, []string{"others"}
	for _, c := range []struct {
		values   []float64
		decimals int
		noise    [][]string
		want     string
	}{
		{[]float64{95, 100, 100, 109}, 0, quiet, ""},
		{[]float64{88, 100, 100, 112}, 0, quiet, "is known to ±12 % only"},
		{[]float64{90, 110}, 0, quiet[:2], ""},                             // two do not tell
		{[]float64{50, 99, 99, 99, 100, 100, 101, 101, 300}, 0, quiet, ""}, // nine bear two strays
		{[]float64{0.001, 0.002, 0.002, 0.009}, 3, quiet, ""},              // nobody would look
		{[]float64{0.01, 0.02, 0.02, 0.03}, 3, quiet, "is known to ±50 %"}, // but here
		{[]float64{0, 0, 0, 100}, 0, quiet, ""},                            // one of many lost some
		{[]float64{1, 1, 1}, 0, [][]string{nil, loud, nil}, ""},            // the median bears one
		{[]float64{1, 1, 1}, 0, [][]string{loud, loud, nil}, "in 2 of 3 "}, // but not two
		{[]float64{1}, 0, [][]string{loud}, "in 1 of 1 rounds: others"},
	} {
		got := noiseIn(SpreadOf(c.values), c.decimals, c.noise)
		if c.want == "" && got != "" || !strings.Contains(got, c.want) {
			t.Errorf("%v: %q, want %q", c.values, got, c.want)
		}
	}
}

// The latency of a mode is that of the rounds that nothing disturbed, as long as
// these are half of all.
func TestDisturbedRoundsHaveNoLatency(t *testing.T) {
	const quick, slow = 10 * time.Microsecond, 15 * time.Millisecond
	for disturbed, want := range []time.Duration{quick, quick, quick, slow, slow} {
		rep := New(KindRounds, Machine{})
		m := Mode{Name: ModeInline}
		for i := range 4 {
			rd := Round{Round: i + 1, Times: Times{quick: 10}}
			if i < disturbed {
				rd.Times, rd.Noise = Times{slow: 100}, []string{"others"}
			}
			m.Rounds = append(m.Rounds, rd)
		}
		rep.Modes = []Mode{m}
		rep.Finish(false)
		if got := rep.Modes[0].Latency.Max; got < want || got > want+want/100 {
			t.Errorf("%d of 4 rounds disturbed: the longest is %v, want %v", disturbed, got, want)
		}
	}
}
