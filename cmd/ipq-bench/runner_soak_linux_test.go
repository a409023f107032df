package main

import (
	"bytes"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/goipq/goipq/internal/bench/benchtest"
	"github.com/goipq/goipq/internal/bench/report"
)

// A short soak of both modes is flat, and its books balance.
func TestSoak(t *testing.T) {
	file := filepath.Join(t.TempDir(), "report.json")
	cmd := command("-soak", "2s", "-json", file)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err := cmd.Run()
	skipWithoutNamespaces(t, stderr.String())
	if err != nil && !underRace || stderr.Len() > 0 {
		t.Fatalf("%v: %s\n%s", err, stderr.String(), stdout.String())
	}
	rep := readReport(t, file)
	if len(rep.Soaks) != 2 || !rep.Books.Balanced || rep.Books.Verdicts == 0 {
		t.Errorf("%d soaks, books %+v", len(rep.Soaks), rep.Books)
	}
	for _, k := range rep.Soaks {
		if underRace {
			k.Problems = slices.DeleteFunc(k.Problems, func(p string) bool { return strings.HasPrefix(p, "resident memory") })
		}
		if len(k.Problems) > 0 || len(k.Samples) < report.FewestSamples || k.Life.Verdicts == 0 || k.Duration < rep.Parameters.Soak {
			t.Errorf("%+v", k)
		}
		if u := k.Idle; u.Resident < 1<<20 || u.Heap == 0 || u.Goroutines < 3 || u.Descriptors <= k.Before.Descriptors {
			t.Errorf("%s: idle with %+v, before that %+v", k.Mode, u, k.Before)
		}
	}
	benchtest.WantLines(t, stdout.String(), 100)
}
