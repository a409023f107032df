package main

import (
	"os"
	"testing"
)

// runMain marks a process of this test binary that is to be the command.
const runMain = "IPQ_BENCH_TEST_RUN_MAIN"

func TestMain(m *testing.M) {
	if os.Getenv(runMain) != "" {
		main() // does not return
	}
	os.Exit(m.Run())
}
