package main

import (
	"os"
	"syscall"
	"testing"

	"github.com/goipq/goipq/internal/bench/benchtest"
	"github.com/goipq/goipq/internal/bench/report"
)

// runMain marks a process of this test binary that is to be the command.
const runMain = "IPQ_BENCH_TEST_RUN_MAIN"

func TestMain(m *testing.M) {
	if os.Getenv(runMain) != "" {
		main() // does not return
	}
	os.Exit(m.Run())
}

func TestExitStatus(t *testing.T) {
	good, bad := benchtest.Report(1), benchtest.Report(1)
	bad.Books.Balanced = false
	grown := benchtest.Report(1)
	grown.Soaks = []report.Soak{{Problems: []string{"the live heap grew"}}}
	for _, c := range []struct {
		rep   *report.Report
		cause error
		want  int
	}{
		{good, nil, 0},
		{good, caught{syscall.SIGINT}, 130},
		{good, caught{syscall.SIGTERM}, 143},
		{bad, nil, 1},
		{bad, caught{syscall.SIGINT}, 1},
		{grown, nil, 1},
	} {
		if got := exitStatus(c.rep, c.cause); got != c.want {
			t.Errorf("balanced %v, cause %v: got %d, want %d", c.rep.Books.Balanced, c.cause, got, c.want)
		}
	}
}
