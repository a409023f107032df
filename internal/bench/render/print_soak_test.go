package render

import (
	"strings"
	"testing"
	"time"

	"github.com/goipq/goipq/internal/bench/benchtest"
	"github.com/goipq/goipq/internal/bench/report"
)

// What a soak prints fits, and says what did not stay flat.
func TestSoakTable(t *testing.T) {
	u := report.Usage{Resident: 20 << 20, Heap: 1 << 20, Goroutines: 12, Descriptors: 15}
	k := report.Soak{Mode: report.ModeInline, Duration: time.Minute, Before: u, Idle: u, After: u, Buffers: 1 << 20, Whole: true}
	for range 40 {
		k.Samples = append(k.Samples, u)
	}
	grown := k
	grown.Mode, grown.Problems = report.ModePool, []string{"goroutines grew from 12 to 13"}
	rep := benchtest.Report(1)
	rep.Kind, rep.Soaks = report.KindSoak, []report.Soak{k, grown}
	var text strings.Builder
	Results(&text, rep)
	benchtest.WantLines(t, text.String(), 100)
	for _, want := range []string{
		"inline, 1m0s, 40 samples\n", "\nresident memory    20.0 MiB     20.0 MiB  20.0 MiB",
		"\nsoak      inline: flat; ", "\n          pool of 2: NOT FLAT: goroutines grew from 12 to 13\n",
	} {
		if !strings.Contains(text.String(), want) {
			t.Errorf("no %q in\n%s", want, text.String())
		}
	}
}
