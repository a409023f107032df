package main

import (
	"testing"
	"time"

	"github.com/goipq/goipq/internal/bench/report"
)

func TestMachineCPU(t *testing.T) {
	const ms = time.Millisecond
	stat := "cpu  100 20 300 4000 50 6 70 8 90 0\ncpu0 1 2 3 4 5 6 7 8 9 0\n"
	want := report.MachineCPU{User: 1200 * ms, System: 3000 * ms, SoftIRQ: 760 * ms, Idle: 40500 * ms, Steal: 80 * ms}
	if got := parseMachineCPU([]byte(stat)); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
	for _, text := range []string{"", "cpu 1 2 3", "intr 1 2 3 4 5 6 7 8 9"} {
		if got := parseMachineCPU([]byte(text)); got != (report.MachineCPU{}) {
			t.Errorf("%q: got %+v", text, got)
		}
	}
	if now := readMachineCPU(); now.User == 0 || now.System == 0 {
		t.Errorf("this machine: %+v", now)
	}
}
