package main

import (
	"reflect"
	"strings"
	"testing"
	"time"
)

func TestMachineCPU(t *testing.T) {
	const ms = time.Millisecond
	stat := "cpu  100 20 300 4000 50 6 70 8 90 0\ncpu0 1 2 3 4 5 6 7 8 9 0\n"
	want := machineCPU{User: 1200 * ms, System: 3000 * ms, SoftIRQ: 760 * ms, Idle: 40500 * ms, Steal: 80 * ms}
	if got := parseMachineCPU([]byte(stat)); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
	for _, text := range []string{"", "cpu 1 2 3", "intr 1 2 3 4 5 6 7 8 9"} {
		if got := parseMachineCPU([]byte(text)); got != (machineCPU{}) {
			t.Errorf("%q: got %+v", text, got)
		}
	}
	if now := readMachineCPU(); now.User == 0 || now.System == 0 {
		t.Errorf("this machine: %+v", now)
	}
}

func TestNoiseOfRounds(t *testing.T) {
	const ms = time.Millisecond
	for _, c := range []struct {
		window time.Duration
		all    machineCPU
		user   time.Duration
		want   []string
	}{
		{time.Second, machineCPU{User: 240 * ms}, 200 * ms, nil},                           // 4 % of a CPU
		{time.Second, machineCPU{User: 260 * ms}, 200 * ms, []string{"used 6 % of a CPU"}}, // more than 5 %
		{100 * ms, machineCPU{User: 230 * ms}, 200 * ms, nil},                              // too few ticks
		{4 * time.Second, machineCPU{Steal: 50 * ms}, 0, []string{"hypervisor took 1 %"}},
		{time.Second, machineCPU{User: 900 * ms, Steal: 500 * ms}, 0, []string{"used 90 %", "took 50 %"}},
	} {
		got := noiseOf(c.window, c.all, c.user)
		if len(got) != len(c.want) {
			t.Errorf("%+v: %q, want %q", c.all, got, c.want)
			continue
		}
		for i := range got {
			if !strings.Contains(got[i], c.want[i]) {
				t.Errorf("%+v: %q, want %q", c.all, got, c.want)
			}
		}
	}
}

func TestNoiseInFigures(t *testing.T) {
	quiet, loud := [][]string{nil, nil, nil, nil}, []string{"others"}
	for _, c := range []struct {
		s        spread
		decimals int
		noise    [][]string
		want     string
	}{
		{spread{Median: 100, Min: 95, Max: 109}, 0, quiet, ""},
		{spread{Median: 100, Min: 90, Max: 110}, 0, quiet, "varies by 20 %"},
		{spread{Median: 100, Min: 90, Max: 110}, 0, quiet[:2], ""},        // two do not tell
		{spread{Median: 0.002, Min: 0.001, Max: 0.009}, 3, quiet, ""},     // nobody would look
		{spread{Median: 0.02, Min: 0.01, Max: 0.03}, 3, quiet, "varies"},  // but here
		{spread{Max: 100}, 0, quiet, ""},                                  // one of many lost some
		{spread{Median: 1}, 0, [][]string{nil, loud, nil}, ""},            // the median bears one
		{spread{Median: 1}, 0, [][]string{loud, loud, nil}, "in 2 of 3 "}, // but not two
		{spread{Median: 1}, 0, [][]string{loud}, "in 1 of 1 rounds: others"},
	} {
		got := noiseIn(c.s, c.decimals, c.noise)
		if c.want == "" && got != "" || !strings.Contains(got, c.want) {
			t.Errorf("%+v: %q, want %q", c.s, got, c.want)
		}
	}
}

// Where packets end is told by cause, as far as it is known.
func TestLossesByCause(t *testing.T) {
	queued := life{tally: tally{Sent: 100, Ruled: 98, Received: 80, Verdicts: 80, Accepted: 75, HandlerDropped: 5, Arrived: 72,
		QueueDropped: 15, SocketDropped: 3, QueueKnown: true}, Queued: true, Counted: true, Routed: true}
	hidden := queued
	hidden.QueueKnown, hidden.QueueDropped = false, 0
	bare := life{tally: tally{Sent: 100, Ruled: 98, Arrived: 90, QueueKnown: true}, Counted: true}
	connections := life{tally: tally{Ruled: 98, Received: 98, Accepted: 98, Verdicts: 98, Arrived: 90, QueueKnown: true}, Queued: true}
	for name, c := range map[string]struct {
		l    life
		want losses
	}{
		"queued":      {queued, losses{QueueFull: 15, SocketFull: 3, Handler: 5, BeforeQueue: 2, BehindQueue: 3, Known: true}},
		"hidden":      {hidden, losses{QueueFull: 15, SocketFull: 3, Handler: 5, BeforeQueue: 2, BehindQueue: 3}},
		"unqueued":    {bare, losses{BeforeQueue: 2, BehindQueue: 8, Known: true}},
		"connections": {connections, losses{Known: true}},
	} {
		if got := c.l.losses(); !reflect.DeepEqual(got, c.want) {
			t.Errorf("%s: got %+v, want %+v", name, got, c.want)
		}
	}
	if text := (losses{QueueFull: 1500, Handler: 2}).describe(); text != "~1,500 found the queue full, 2 dropped by the handler" {
		t.Errorf("got %q", text)
	}
	if text := (&batchSizes{0: 1, 4: 3}).describe(); text != "25.0 % of 1, 75.0 % of 16-31 packets" {
		t.Errorf("got %q", text)
	}
}
