package render

import (
	"strings"
	"testing"

	"github.com/goipq/goipq/internal/bench/benchtest"
	"github.com/goipq/goipq/internal/bench/report"
)

func TestNotesFollowTheFigures(t *testing.T) {
	has := func(rep *report.Report, want string) {
		t.Helper()
		if all := strings.Join(notes(rep), "\n"); !strings.Contains(all, want) {
			t.Errorf("no %q in the notes:\n%s", want, all)
		}
	}
	has(benchtest.Report(1000, 600, 600), "ipq-bench -rate 100000") // half of 300,000/s, one digit
	paced := benchtest.Report(1000, 600)
	paced.Parameters.Rate = 700_000 // 600,000 were offered
	has(paced, "cannot carry this rate")
	has(paced, "fewer than the 700,000/s")
	idle := benchtest.Report(1000, 600)
	for i := range idle.Modes {
		idle.Modes[i].Rounds[0].QueueDropped = 0
	}
	idle.Finish(false)
	has(idle, "might carry more")
	// 450,000 packets of 1,250 ns in 2 s are 28 % of a CPU.
	has(benchtest.Report(1000, 400, 500), "got only 28 % of a CPU")
	has(benchtest.Report(1000, 1200, 1800), "are known to ±")
}
