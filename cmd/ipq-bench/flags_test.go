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
		Scenario: scenarioICMP,
		Handler:  handling{kind: handleAccept},
		GSO:      true,
		Duration: 6 * time.Second,
		Rounds:   usualRounds,
		Size:     64,
		Queues:   1,
		MaxLen:   ipq.DefaultMaxLen,
		Modes:    []string{modeInline, modePool},
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, want %+v", got, want)
	}
	p := parameters{Modes: got.Modes, Rounds: usualRounds, Window: got.window(), WarmUp: got.warmUp()}
	if total := p.total().Round(time.Second); total != 15*time.Second {
		t.Errorf("a run without flags takes about %v, want 15s", total)
	}
}

func TestFlagsAreTaken(t *testing.T) {
	args := "-duration 1s -rate 1e5 -size 1400 -batch 64 -workers 3 -queues 2 -busy-poll 50us -pin -maxlen 128 -replies -modes pool -json f -handler spin:2us -flows 7 -rounds 3"
	got, err := parseFlags(strings.Fields(args))
	if err != nil {
		t.Fatal(err)
	}
	want := options{
		Scenario: scenarioICMP, Handler: handling{kind: handleSpin, time: 2 * time.Microsecond}, GSO: true, Flows: 7, Rounds: 3,
		Duration: time.Second, Rate: 100_000, Size: 1400, Batch: 64, Workers: 3, Queues: 2, Replies: true,
		BusyPoll: 50 * time.Microsecond, Pin: true, MaxLen: 128, Modes: []string{modePool}, JSON: "f",
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, want %+v", got, want)
	}
}

func TestWrongFlagsAreOneSentence(t *testing.T) {
	for args, want := range map[string]string{
		"-nope":                                 "not defined: -nope",
		"-rate fast":                            "-rate",
		"-rate -1":                              "-rate -1",
		"-rate NaN":                             "-rate NaN",
		"-rate Inf":                             "-rate +Inf",
		"-duration 1ms":                         "-duration 1ms",
		"-duration 24h":                         "-duration 24h",
		"-size 35":                              "-size 35 is not between 36 and 65535",
		"-batch -1":                             "-batch -1",
		"-batch 1025":                           "-batch 1025",
		"-workers -1":                           "-workers -1",
		"-queues 0":                             "-queues 0",
		"-maxlen 65537":                         "-maxlen 65537",
		"-busy-poll -1s":                        "-busy-poll -1s",
		"-modes fast":                           `no mode "fast"`,
		"-modes pool,pool":                      "pool is named twice",
		"-duration 1s -- x":                     `"x"`,
		"-rounds 0":                             "-rounds 0",
		"-rounds 200 -duration 1s":              "between 2s",
		"-soak 1s":                              "-soak 1s is not between 2s",
		"-soak 3s -duration 1s":                 "-duration and -rounds",
		"-soak 3s -modes unqueued":              "unqueued",
		"-flows 65537":                          "-flows 65537",
		"-scenario fast":                        `no "fast", only icmp, udp, forward, churn`,
		"-handler fast":                         `no "fast"`,
		"-handler accept:1":                     `":1"`,
		"-handler mix":                          "mix:10",
		"-handler mix:101":                      "0 to 100",
		"-handler mix:NaN":                      "0 to 100",
		"-handler spin":                         "spin:50us",
		"-handler sleep:2s":                     "up to 1s",
		"-patterns f":                           "-handler inspect",
		"-tcp":                                  "-scenario forward",
		"-gso=false":                            "-gso is for TCP",
		"-imix -size 100":                       "exclude each other",
		"-6 -size 55":                           "-size 55 is not between 56",
		"-handler inspect -patterns /nowhere/f": "/nowhere/f",
		"-handler inspect -patterns /dev/null":  "no pattern",
		"-scenario udp -replies":                "-scenario icmp",
		"-scenario forward -size 9001":          "9000",
		"-scenario forward -tcp -rate 5":        "-rate",
		"-scenario forward -tcp -size 5":        "-size",
		"-scenario churn -imix":                 "-imix",
		"-scenario forward -tcp -handler rewrite": "-gso=false",
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
	for _, name := range strings.Fields("duration rate size batch workers queues busy-poll pin maxlen modes json scenario handler patterns 6 tcp gso imix flows rounds soak") {
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
