package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/goipq/goipq/internal/bench/report"
)

// Each scenario and handler runs, decides what it should, and balances its
// books.
func TestScenarios(t *testing.T) {
	patterns := filepath.Join(t.TempDir(), "patterns")
	// The floods' filling after the number, which counts up.
	if err := os.WriteFile(patterns, []byte("# a comment\n\nnever\n !\"#$%&'()*+\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	type want func(t *testing.T, rep *report.Report)
	allOf := func(pick func(*report.Life) (got, of uint64)) want {
		return func(t *testing.T, rep *report.Report) {
			for _, m := range rep.Modes {
				for _, rd := range m.Rounds {
					if got, of := pick(&rd.Life); m.Name != report.ModeUnqueued && (got != of || of == 0) {
						t.Errorf("%s: %d of %d: %+v", m.Name, got, of, rd.Life)
					}
				}
			}
		}
	}
	accepted := allOf(func(l *report.Life) (uint64, uint64) { return l.Accepted, l.Verdicts })
	dropped := allOf(func(l *report.Life) (uint64, uint64) { return l.HandlerDropped, l.Verdicts })
	delivered := func(t *testing.T, rep *report.Report) {
		if !measured(rep) {
			t.Errorf("%+v", rep.Modes)
		}
	}
	decided := func(rep *report.Report) bool {
		for _, m := range rep.Modes {
			for _, rd := range m.Rounds {
				if m.Name != report.ModeUnqueued && rd.Life.Verdicts == 0 {
					return false
				}
			}
		}
		return true
	}
	through := func(rep *report.Report) bool { return decided(rep) && measured(rep) }
	compared := func(rep *report.Report) bool { return through(rep) && rep.Modes[1].Summary[report.OfUnqueued].Max > 0 }
	for _, c := range []struct {
		args   string
		enough func(*report.Report) bool
		wants  []want
	}{
		{"-6 -modes inline -handler parse", through, []want{accepted, delivered}},
		{"-6 -scenario udp -flows 3000 -modes unqueued,inline,pool -handler mix:25", compared, []want{delivered, func(t *testing.T, rep *report.Report) {
			b := rep.Books
			// By their ids, some of which are those of packets that were lost.
			const rounds = 4
			if off := int64(b.Verdicts) - 4*int64(b.Verdicts-b.Accepted); max(off, -off) > int64(4*rounds+b.Verdicts/25) {
				t.Errorf("of %d verdicts %d accept", b.Verdicts, b.Accepted)
			}
			if b.Passed == 0 || rep.Modes[1].Summary[report.OfUnqueued].Max <= 0 {
				t.Errorf("nothing to compare with: %+v", b)
			}
		}}},
		{"-scenario udp -imix -modes inline -handler inspect", through, []want{accepted, delivered}},
		{"-scenario udp -modes pool -size 100 -handler inspect -patterns " + patterns, decided, []want{dropped}},
		{"-scenario forward -modes unqueued,inline -size 9000 -handler rewrite -rate 5000", through, []want{accepted, delivered,
			allOf(func(l *report.Life) (uint64, uint64) { return l.Arrived, l.Accepted })}},
		{"-6 -scenario forward -modes inline -handler drop", decided, []want{dropped}},
		{"-scenario forward -tcp -modes unqueued,inline", through, []want{accepted, delivered}},
		{"-6 -scenario forward -tcp -gso=false -modes pool -handler rewrite", through, []want{accepted, delivered}},
		{"-scenario forward -tcp -modes inline -handler rewrite", through, []want{accepted, delivered}},
		{"-scenario forward -tcp -modes inline,pool -handler stream", through, []want{accepted, delivered}},
		{"-6 -scenario churn -modes inline,pool -handler stream", through, []want{accepted, delivered}},
		{"-scenario churn -modes unqueued,pool -handler sleep:1us", through, []want{accepted, delivered}},
		{"-scenario churn -modes inline -rate 200 -6 -handler spin:1us", through, []want{accepted, delivered}},
	} {
		t.Run(strings.ReplaceAll(c.args, patterns, "f"), func(t *testing.T) {
			rep, stdout := measureUntil(t, c.enough, c.args+" -rounds 2")
			for _, w := range c.wants {
				w(t, rep)
			}
			if t.Failed() {
				t.Log(stdout)
			}
		})
	}
}
