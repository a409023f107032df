package report_test

import (
	"testing"

	"github.com/goipq/goipq/internal/bench/benchtest"
	"github.com/goipq/goipq/internal/bench/report"
)

// A round that decided nothing has no cost per packet, and does not become its
// minimum.
func TestRoundsWithoutPacketsCostNothing(t *testing.T) {
	rep := benchtest.Report(1000, 600, 0, 600)
	s := rep.Modes[0].Summary
	if got := s[report.CPUCost].Min; got != 1250 {
		t.Errorf("the least CPU per packet is %v, want 1250", got)
	}
	if got := s[report.VerdictRate].Min; got != 0 {
		t.Errorf("the least verdicts per second are %v, want 0", got)
	}
}
