package main

import (
	"strings"
	"testing"
)

func TestSpoiledSearchIsNoisy(t *testing.T) {
	s := search{Trials: make([]trial, 5)}
	s.Trials[0].Void = "late"
	if got := s.spoiled(); got != nil {
		t.Errorf("one of five: %q", got)
	}
	s.Trials[3].Void = "late"
	if got := s.spoiled(); len(got) != 1 || !strings.Contains(got[0], "in 2 of 5 trials") {
		t.Errorf("two of five: %q", got)
	}
}
