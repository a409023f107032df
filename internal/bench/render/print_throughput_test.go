package render

import (
	"strings"
	"testing"
	"time"

	"github.com/goipq/goipq/internal/bench/benchtest"
	"github.com/goipq/goipq/internal/bench/report"
)

// sampleThroughput has two searches of one mode at each of some sizes.
func sampleThroughput(scale float64, sizes ...string) *report.Report {
	rep := benchtest.Report(1)
	rep.Kind = report.KindThroughput
	rep.Parameters.Trial, rep.Parameters.Duration = time.Second, 0
	modes := func() (all []report.Mode) {
		for _, name := range rep.Parameters.Modes {
			t := &report.Throughput{Resolution: 0.01, Trial: time.Second, Trials: 3}
			for _, rate := range []float64{0.99 * scale, scale, 1.01 * scale} {
				full := report.Trial{Offered: 2 * scale, Sent: 2000, Arrived: 1000}
				t.Searches = append(t.Searches, report.Search{Rate: rate, Limit: report.LimitLoss, Trials: []report.Trial{full, {Target: rate, Passed: true}}})
			}
			all = append(all, report.Mode{Name: name, Rounds: []report.Round{}, Throughput: t})
		}
		return all
	}
	rep.Modes = modes()
	if len(sizes) > 0 {
		rep.Modes, rep.Sweep = []report.Mode{}, &report.Sweep{Parameter: "size"}
		for _, size := range sizes {
			rep.Sweep.Points = append(rep.Sweep.Points, report.Point{Value: size, Parameters: rep.Parameters, Modes: modes()})
		}
	}
	rep.Finish(false)
	return rep
}

const goldenThroughput = `        mode  packets/s      min      max  Mbit/s  trials  full speed  arrived  limit
      inline    300,000  297,000  303,000     154       6     600,000  300,000   loss
   pool of 2    300,000  297,000  303,000     154       6     600,000  300,000   loss
`

func TestThroughputTable(t *testing.T) {
	rep := sampleThroughput(300_000)
	var text strings.Builder
	printThroughput(&text, rep)
	table, notes, _ := strings.Cut(text.String(), "\n\n")
	if got := strings.ReplaceAll(table, "\n    ", "\n   ")[1:] + "\n"; got != goldenThroughput {
		t.Errorf("got\n%s\nwant\n%s", got, goldenThroughput)
	}
	if s := rep.Modes[0].Summary[report.ThroughputRate]; s.Median != 300_000 || s.Noisy != "" {
		t.Errorf("summary %+v", s)
	}
	for _, want := range []string{"RFC 2544", "Trials of 1s", "1.0 %", "3 trials", "-trial 60s", "books"} {
		if !strings.Contains(notes, want) {
			t.Errorf("no %q in\n%s", want, notes)
		}
	}
}

// Whatever is printed of searches and sweeps fits into 100 columns, also with
// nothing measured.
func TestMeasuresWidth(t *testing.T) {
	for _, rep := range []*report.Report{
		sampleThroughput(40_000_000, "64", "9000"), sampleThroughput(1), sampleThroughput(0, "64"),
	} {
		var text strings.Builder
		Header(&text, rep)
		printThroughput(&text, rep)
		benchtest.WantLines(t, text.String(), 100)
	}
	for _, verdicts := range [][]uint64{{600, 1200, 560}, {19_000, 15_000, 18_000, 19_999}, {}} {
		rep := sampleSweep(verdicts...)
		var text strings.Builder
		Header(&text, rep)
		printSweep(&text, rep)
		benchtest.WantLines(t, text.String(), 100)
	}
}
