// Package benchtest has reports for the tests of the packages of ipq-bench, and
// checks that they share.
package benchtest

import (
	"strings"
	"testing"
	"time"

	"github.com/goipq/goipq/internal/bench/plain"
	"github.com/goipq/goipq/internal/bench/report"
	"github.com/goipq/goipq/internal/peers"
)

// Report has two modes of rounds that differ in their verdicts.
func Report(scale uint64, verdicts ...uint64) *report.Report {
	rep := report.New(report.KindRounds, report.Machine{Kernel: "6.18.44", Arch: "amd64", CPU: "AMD EPYC", CPUs: 2, Go: "go1.26.8", Goipq: "v1.0.0"})
	rep.Time = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	rep.Parameters = report.Parameters{
		Modes: []string{report.ModeInline, report.ModePool}, Duration: 6 * time.Second, Rounds: 5,
		Window: 1200 * time.Millisecond, WarmUp: 300 * time.Millisecond,
		Scenario: report.ScenarioICMP, Handler: report.HandleAccept, Size: 64, Flows: 1024, Queues: 1, MaxQueueLen: 1024, Batch: 16, Workers: 2,
	}
	rep.Setup = report.Setup{
		Root: true, Rule: "NFQUEUE target",
		Placement:  report.Placement{Flood: []int{0}, Consumer: []int{1}},
		GOMAXPROCS: 1, ReadBuffer: 851968,
	}
	for _, name := range rep.Parameters.Modes {
		m := report.Mode{Name: name, Rounds: []report.Round{}}
		for i, n := range verdicts {
			n *= scale
			counts := report.Tally{
				Sent: 2 * n, Ruled: 2 * n, Arrived: n, Accepted: n, Received: n, Batches: n / 16, Verdicts: n, Messages: n / 16, Writes: n / 8,
				QueueDropped: n - 10, SocketDropped: 10, QueueKnown: true,
			}
			rd := report.Round{
				Round: i + 1, Window: 2 * time.Second, CPU: time.Duration(1250 * n), Mallocs: n / 100,
				CPUUser: time.Duration(250 * n), CPUSystem: time.Duration(1000 * n), LoadCPU: time.Duration(1200 * n),
				Machine: report.MachineCPU{System: time.Duration(1800 * n), SoftIRQ: time.Duration(200 * n)},
				Tally:   counts,
				Life:    report.Life{Tally: counts, Queued: true, Counted: true},
			}
			rep.Books.Enter(name, &rd.Life)
			m.Rounds = append(m.Rounds, rd)
		}
		rep.Modes = append(rep.Modes, m)
	}
	rep.Finish(false)
	return rep
}

// Peers is a comparison in which goipq's ratio, and everybody's speed,
// are scaled.
func Peers(ratio, speed float64) *peers.Report {
	rep := &peers.Report{Kind: peers.Kind, Schema: peers.Schema, Versions: map[string]string{"goipq": "v1"}}
	c := peers.Contest{Mode: peers.Saturated, Unit: "packets/s", Bases: []string{"go-nfqueue"}, Contestants: []peers.Contestant{
		{Name: "go-nfqueue"}, {Name: "goipq-inline"},
	}}
	for n := range 5 {
		v := speed * float64(1000+n)
		c.Contestants[0].Rounds = append(c.Contestants[0].Rounds, peers.Round{Round: n, Value: v})
		v *= ratio + float64(n)/1000
		c.Contestants[1].Rounds = append(c.Contestants[1].Rounds, peers.Round{Round: n, Value: v})
	}
	c.Summarise()
	rep.Contests = []peers.Contest{c}
	return rep
}

// WantLines checks that lines are no wider than that, and end where their text does.
func WantLines(t *testing.T, text string, width int) {
	t.Helper()
	for line := range strings.Lines(text) {
		if line = strings.TrimSuffix(line, "\n"); plain.Width(line) > width {
			t.Errorf("%d columns, want at most %d: %s", plain.Width(line), width, line)
		}
		if strings.TrimRight(line, " ") != line {
			t.Errorf("spaces at the end of %q", line)
		}
	}
}
