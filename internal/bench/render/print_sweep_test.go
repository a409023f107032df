package render

import (
	"strings"
	"testing"
	"time"

	"github.com/goipq/goipq/internal/bench/benchtest"
	"github.com/goipq/goipq/internal/bench/report"
)

// sampleSweep has sampleReport's modes at each of two batches, twice as fast at
// the second.
func sampleSweep(verdicts ...uint64) *report.Report {
	rep := benchtest.Report(1)
	rep.Sweep, rep.Modes = &report.Sweep{Parameter: "batch", Numeric: true}, []report.Mode{}
	for i, value := range []string{"8", "64"} {
		at := benchtest.Report(1000*uint64(i+1), verdicts...)
		rep.Sweep.Points = append(rep.Sweep.Points, report.Point{Value: value, Number: float64(int(8) << (3 * i)), Parameters: at.Parameters, Setup: at.Setup, Modes: at.Modes})
	}
	rep.Finish(false)
	return rep
}

func TestSweepTable(t *testing.T) {
	rep := sampleSweep(600, 610, 590)
	var text strings.Builder
	printSweep(&text, rep)
	for _, want := range []string{
		"batch         mode  verdicts/s   ±    lost, %  CPU ns  batch  allocs\n",
		"8           inline     300,000  2%       50.0   1,250   16.0   0.010\n",
		"64       pool of 2     600,000  2%       50.0   1,250   16.0   0.010\n",
	} {
		if !strings.Contains(text.String(), want) {
			t.Errorf("no %q in\n%s", want, text.String())
		}
	}
	noisy := sampleSweep(600, 1200, 560)
	text.Reset()
	if printSweep(&text, noisy); !strings.Contains(text.String(), "!: not to be relied on. 8, inline: is known to ±") ||
		!strings.Contains(text.String(), "; and 1 more.") {
		t.Errorf("noise is not told:\n%s", text.String())
	}
}

// A sweep's table fits with everything that can be measured at once.
func TestSweepWidth(t *testing.T) {
	rep := sweptReport("spin:100us", "inspect")
	for i := range rep.Sweep.Points {
		p := &rep.Sweep.Points[i]
		p.Parameters.Latency, p.Parameters.Modes = true, []string{report.ModeUnqueued, report.ModePool}
		p.Modes[0].Name = report.ModeUnqueued
		for j := range p.Modes {
			for k := range p.Modes[j].Rounds {
				p.Modes[j].Rounds[k].Latency = &report.Latency{P50: time.Second / 2, P99: time.Second / 2, P999: time.Second / 2}
			}
		}
	}
	rep.Finish(false)
	var text strings.Builder
	printSweep(&text, rep)
	benchtest.WantLines(t, text.String(), 100)
	if !strings.Contains(text.String(), "p99.9, µs") || strings.Contains(text.String(), "allocs") {
		t.Errorf("the wrong columns are left out:\n%s", text.String())
	}
}
