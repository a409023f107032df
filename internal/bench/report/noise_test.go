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
		s        Spread
		decimals int
		noise    [][]string
		want     string
	}{
		{Spread{Median: 100, Min: 95, Max: 109}, 0, quiet, ""},
		{Spread{Median: 100, Min: 90, Max: 110}, 0, quiet, "varies by 20 %"},
		{Spread{Median: 100, Min: 90, Max: 110}, 0, quiet[:2], ""},        // two do not tell
		{Spread{Median: 0.002, Min: 0.001, Max: 0.009}, 3, quiet, ""},     // nobody would look
		{Spread{Median: 0.02, Min: 0.01, Max: 0.03}, 3, quiet, "varies"},  // but here
		{Spread{Max: 100}, 0, quiet, ""},                                  // one of many lost some
		{Spread{Median: 1}, 0, [][]string{nil, loud, nil}, ""},            // the median bears one
		{Spread{Median: 1}, 0, [][]string{loud, loud, nil}, "in 2 of 3 "}, // but not two
		{Spread{Median: 1}, 0, [][]string{loud}, "in 1 of 1 rounds: others"},
	} {
		got := noiseIn(c.s, c.decimals, c.noise)
		if c.want == "" && got != "" || !strings.Contains(got, c.want) {
			t.Errorf("%+v: %q, want %q", c.s, got, c.want)
		}
	}
}
