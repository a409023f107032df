package main

import "testing"

// A round that decided nothing has no cost per packet, and does not become its
// minimum.
func TestRoundsWithoutPacketsCostNothing(t *testing.T) {
	rep := sampleReport(1000, 600, 0, 600)
	s := rep.Modes[0].Summary
	if got := s[cpuCost].Min; got != 1250 {
		t.Errorf("the least CPU per packet is %v, want 1250", got)
	}
	if got := s[verdictRate].Min; got != 0 {
		t.Errorf("the least verdicts per second are %v, want 0", got)
	}
}
