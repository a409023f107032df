package report

import (
	"strings"
	"testing"
)

func TestSpoiledSearchIsNoisy(t *testing.T) {
	s := Search{Trials: make([]Trial, 5)}
	s.Trials[0].Void = "late"
	if got := s.Spoiled(); got != nil {
		t.Errorf("one of five: %q", got)
	}
	s.Trials[3].Void = "late"
	if got := s.Spoiled(); len(got) != 1 || !strings.Contains(got[0], "in 2 of 5 trials") {
		t.Errorf("two of five: %q", got)
	}
}
