package main

import (
	"errors"
	"flag"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/goipq/goipq/ipq"
)

func TestFlagDefaults(t *testing.T) {
	got, err := parseFlags(nil)
	if err != nil {
		t.Fatal(err)
	}
	want := options{
		Duration: 6 * time.Second,
		Size:     64,
		Queues:   1,
		MaxLen:   ipq.DefaultMaxLen,
		Modes:    []string{modeInline, modePool},
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, want %+v", got, want)
	}
	p := parameters{Modes: got.Modes, Rounds: rounds, Window: got.window(), WarmUp: got.warmUp()}
	if total := p.total().Round(time.Second); total != 15*time.Second {
		t.Errorf("a run without flags takes about %v, want 15s", total)
	}
}

func TestFlagsAreTaken(t *testing.T) {
	args := "-duration 1s -rate 1e5 -size 1400 -batch 64 -workers 3 -queues 2 -busy-poll 50us -pin -maxlen 128 -replies -modes pool -json f"
	got, err := parseFlags(strings.Fields(args))
	if err != nil {
		t.Fatal(err)
	}
	want := options{
		Duration: time.Second, Rate: 100_000, Size: 1400, Batch: 64, Workers: 3, Queues: 2, Replies: true,
		BusyPoll: 50 * time.Microsecond, Pin: true, MaxLen: 128, Modes: []string{modePool}, JSON: "f",
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, want %+v", got, want)
	}
}

func TestWrongFlagsAreOneSentence(t *testing.T) {
	for args, want := range map[string]string{
		"-nope":             "not defined: -nope",
		"-rate fast":        "-rate",
		"-rate -1":          "-rate -1",
		"-rate NaN":         "-rate NaN",
		"-rate Inf":         "-rate +Inf",
		"-duration 1ms":     "-duration 1ms",
		"-duration 24h":     "-duration 24h",
		"-size 35":          "-size 35 is not between 36 and 65535",
		"-batch -1":         "-batch -1",
		"-batch 1025":       "-batch 1025",
		"-workers -1":       "-workers -1",
		"-queues 0":         "-queues 0",
		"-maxlen 65537":     "-maxlen 65537",
		"-busy-poll -1s":    "-busy-poll -1s",
		"-modes fast":       `no mode "fast"`,
		"-modes pool,pool":  "pool is named twice",
		"-duration 1s -- x": `"x"`,
	} {
		_, err := parseFlags(strings.Fields(args))
		if err == nil {
			t.Errorf("%s: no error", args)
			continue
		}
		if text := err.Error(); !strings.Contains(text, want) || strings.Contains(text, "\n") {
			t.Errorf("%s: error %q, want one line with %q", args, text, want)
		}
	}
}

func TestHelpNamesEveryFlag(t *testing.T) {
	if _, err := parseFlags([]string{"-h"}); !errors.Is(err, flag.ErrHelp) {
		t.Errorf("-h: %v", err)
	}
	var usage strings.Builder
	printUsage(&usage)
	for _, name := range strings.Fields("duration rate size batch workers queues busy-poll pin maxlen modes json") {
		if !strings.Contains(usage.String(), "\n  -"+name) {
			t.Errorf("the usage does not explain -%s", name)
		}
	}
	wantLines(t, usage.String(), 100)
}

func TestPlacement(t *testing.T) {
	for _, c := range []struct {
		name            string
		allowed         []int
		queues          int
		flood, consumer []int
		fanout          bool
	}{
		{"one CPU is shared", []int{3}, 1, []int{3}, []int{3}, false},
		{"the flood is kept apart", []int{0, 1}, 1, []int{0}, []int{1}, false},
		{"many CPUs, two floods", []int{0, 1, 2, 3}, 1, []int{0, 1}, []int{2, 3}, false},
		{"a flood for each queue", []int{0, 1, 2, 3}, 2, []int{0, 1}, []int{2, 3}, true},
		{"no CPUs left for the consumer", []int{0, 1}, 2, []int{0, 1}, []int{0, 1}, true},
		{"too few left for the queues", []int{0, 1, 2}, 2, []int{0, 1}, []int{0, 1, 2}, true},
		// CPUs 0 and 2 feed the same one of two queues.
		{"one CPU of each kind", []int{0, 2, 3, 4}, 2, []int{0, 3}, []int{2, 4}, true},
		{"a queue out of reach", []int{0, 2, 4, 6}, 2, []int{0, 2}, []int{4, 6}, false},
		{"more queues than CPUs", []int{0, 1}, 3, []int{0, 1}, []int{0, 1}, false},
	} {
		got := place(c.allowed, c.queues)
		want := placement{Flood: c.flood, Consumer: c.consumer, Fanout: c.fanout}
		if !reflect.DeepEqual(got, want) {
			t.Errorf("%s: got %+v, want %+v", c.name, got, want)
		}
	}
	if err := place([]int{0, 1}, 3).checkPin(3); err == nil || !strings.Contains(err.Error(), "-queues 3") {
		t.Errorf("three receive loops on two CPUs: %v", err)
	}
	if err := place([]int{0, 1}, 2).checkPin(2); err != nil {
		t.Error(err)
	}
}
