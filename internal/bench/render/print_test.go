package render

import (
	"strings"
	"testing"

	"github.com/goipq/goipq/internal/bench/benchtest"
)

const goldenTable = `                          ---- inline, 3 rounds -----    --- pool of 2, 3 rounds ---
                           median      min        max     median      min        max
offered/s                 600,000  560,000  1,200,000    600,000  560,000  1,200,000
received/s                300,000  280,000    600,000    300,000  280,000    600,000
verdicts/s                300,000  280,000    600,000    300,000  280,000    600,000
lost in the kernel/s      300,000  280,000    600,000    300,000  280,000    600,000
lost in the kernel, %        50.0     50.0       50.0       50.0     50.0       50.0
CPU ns per packet           1,250    1,250      1,250      1,250    1,250      1,250
user ns per packet            250      250        250        250      250        250
kernel ns per packet        2,000    2,000      2,000      2,000    2,000      2,000
sender ns per packet          600      600        600        600      600        600
packets per recvmmsg         16.0     16.0       16.0       16.0     16.0       16.0
verdicts per write            8.0      8.0        8.0        8.0      8.0        8.0
allocations per packet      0.010    0.010      0.010      0.010    0.010      0.010
`

func TestTable(t *testing.T) {
	var got strings.Builder
	printFigures(&got, benchtest.Report(1000, 600, 1200, 560))
	if got.String() != goldenTable {
		t.Errorf("got\n%s\nwant\n%s", got.String(), goldenTable)
	}
}

// What is printed fits into 100 columns, the table also with figures that no
// machine reaches yet.
func TestOutputWidth(t *testing.T) {
	for _, verdicts := range [][]uint64{{600, 1200, 560}, {19_000, 15_000, 18_000, 19_999}, {600}, {}} {
		rep := benchtest.Report(1000, verdicts...)
		rep.Interrupted = true
		var text strings.Builder
		Header(&text, rep)
		Results(&text, rep)
		benchtest.WantLines(t, text.String(), 100)
	}
}

// A run without a round says so.
func TestResultsOfNothing(t *testing.T) {
	rep := benchtest.Report(1)
	rep.Finish(true)
	var text strings.Builder
	Results(&text, rep)
	for _, want := range []string{"interrupted", "nothing was measured", "balanced: 0 sent"} {
		if !strings.Contains(text.String(), want) {
			t.Errorf("%q is not in\n%s", want, text.String())
		}
	}
}

// A mode whose loss the kernel does not tell shows it as a guess.
func TestGuessedLossIsMarked(t *testing.T) {
	rep := benchtest.Report(1000, 600)
	for i := range rep.Modes {
		rd := &rep.Modes[i].Rounds[0]
		rd.QueueKnown, rd.QueueDropped = false, 0
	}
	rep.Finish(false)
	var text strings.Builder
	Results(&text, rep)
	for _, want := range []string{"~300,000", "~50.0", "note      ~: "} {
		if !strings.Contains(text.String(), want) {
			t.Errorf("%q is not in\n%s", want, text.String())
		}
	}
}
