package main

import (
	"errors"
	"flag"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/goipq/goipq/internal/bench/benchtest"
	"github.com/goipq/goipq/internal/bench/report"
	"github.com/goipq/goipq/ipq"
)

func TestFlagDefaults(t *testing.T) {
	got, err := parseFlags(nil)
	if err != nil {
		t.Fatal(err)
	}
	want := options{
		Scenario:    report.ScenarioICMP,
		Handler:     handling{kind: report.HandleAccept},
		GSO:         true,
		Duration:    6 * time.Second,
		Rounds:      usualRounds,
		Size:        64,
		Queues:      1,
		MaxQueueLen: ipq.DefaultMaxQueueLen,
		Modes:       []string{report.ModeInline, report.ModePool},
		Trial:       time.Second, Resolution: 1, Tries: 3,
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, want %+v", got, want)
	}
	p := report.Parameters{Modes: got.Modes, Rounds: usualRounds, Window: got.window(), WarmUp: got.warmUp()}
	if total := p.Total().Round(time.Second); total != 15*time.Second {
		t.Errorf("a run without flags takes about %v, want 15s", total)
	}
}

func TestFlagsAreTaken(t *testing.T) {
	args := "-size 1400 -batch 64 -workers 3 -queues 2 -busy-poll 50us -pin -maxlen 128 -replies -modes pool -json f -handler spin:2us -flows 7 -rounds 3 -rfc2544 -trial 250ms -resolution 0.5 -tries 5"
	got, err := parseFlags(strings.Fields(args))
	if err != nil {
		t.Fatal(err)
	}
	want := options{
		Scenario: report.ScenarioICMP, Handler: handling{kind: report.HandleSpin, time: 2 * time.Microsecond}, GSO: true, Flows: 7, Rounds: 3,
		Duration: 6 * time.Second, Size: 1400, Batch: 64, Workers: 3, Queues: 2, Replies: true,
		BusyPoll: 50 * time.Microsecond, Pin: true, MaxQueueLen: 128, Modes: []string{report.ModePool}, JSON: "f",
		Trial: 250 * time.Millisecond, RFC2544: true, Resolution: 0.5, Tries: 5,
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, want %+v", got, want)
	}
}

// A search has a longer queue, unless it is told otherwise.
func TestSearchFlagDefaults(t *testing.T) {
	for args, want := range map[string]int{"-rfc2544": searchMaxQueueLen, "-rfc2544 -maxlen 1024": 1024, "-rate 9": ipq.DefaultMaxQueueLen} {
		if got, err := parseFlags(strings.Fields(args)); err != nil || got.MaxQueueLen != want {
			t.Errorf("%s: %d, %v; want %d", args, got.MaxQueueLen, err, want)
		}
	}
}

func TestMeasureFlagsAreTaken(t *testing.T) {
	got, err := parseFlags(strings.Fields("-scenario udp -latency -rate 1e5 -duration 1s"))
	if want := []string{report.ModeUnqueued, report.ModeInline, report.ModePool}; err != nil || !got.Latency || got.Rate != 100_000 ||
		got.Duration != time.Second || !slices.Equal(got.Modes, want) {
		t.Errorf("%+v, %v", got, err)
	}
	got, err = parseFlags(strings.Fields("-scenario udp -latency -rate 1e5 -modes pool"))
	if err != nil || !slices.Equal(got.Modes, []string{report.ModePool}) {
		t.Errorf("modes %v, %v", got.Modes, err)
	}
}

// Each value of a sweep is as if it were on the command line.
func TestSweepFlag(t *testing.T) {
	for _, c := range []struct {
		args    string
		values  []string
		numeric bool
		of      func(o *options) any
		want    []any
	}{
		{"-sweep batch=1,64 -maxlen 9", []string{"1", "64"}, true, func(o *options) any { return [2]int{o.Batch, o.MaxQueueLen} }, []any{[2]int{1, 9}, [2]int{64, 9}}},
		{"-sweep handler=drop,mix:10", []string{"drop", "mix:10"}, false, func(o *options) any { return o.Handler.String() }, []any{"drop", "mix:10"}},
		{"-sweep workers=2,3", []string{"2", "3"}, true, func(o *options) any { return o.Modes[0] }, []any{report.ModePool, report.ModePool}},
		{"-sweep workers=2 -modes inline,pool", []string{"2"}, true, func(o *options) any { return o.Modes[0] }, []any{report.ModeInline}},
		{"-sweep rate=1e3,2e3 -latency -scenario udp", []string{"1e3", "2e3"}, true, func(o *options) any { return o.Rate }, []any{1e3, 2e3}},
		{"-sweep size=64,1500 -rfc2544", []string{"64", "1500"}, true, func(o *options) any { return o.RFC2544 }, []any{true, true}},
	} {
		o, err := parseFlags(strings.Fields(c.args))
		if err != nil {
			t.Errorf("%s: %v", c.args, err)
			continue
		}
		points := o.Sweep.points()
		if !slices.Equal(o.Sweep.values, c.values) || o.Sweep.numeric != c.numeric || len(points) != len(c.values) {
			t.Errorf("%s: %+v", c.args, o.Sweep)
		}
		for i := range o.Sweep.options {
			if got := c.of(&o.Sweep.options[i]); got != c.want[i] || points[i].Value != c.values[i] {
				t.Errorf("%s: point %d has %v, want %v", c.args, i, got, c.want[i])
			}
		}
	}
}

func TestWrongFlagsAreOneSentence(t *testing.T) {
	for args, want := range map[string]string{
		"-nope":                                   "not defined: -nope",
		"-rate fast":                              "-rate",
		"-rate -1":                                "-rate -1",
		"-rate NaN":                               "-rate NaN",
		"-rate Inf":                               "-rate +Inf",
		"-duration 1ms":                           "-duration 1ms",
		"-duration 24h":                           "-duration 24h",
		"-size 35":                                "-size 35 is not between 36 and 65535",
		"-batch -1":                               "-batch -1",
		"-batch 1025":                             "-batch 1025",
		"-workers -1":                             "-workers -1",
		"-queues 0":                               "-queues 0",
		"-maxlen 65537":                           "-maxlen 65537",
		"-busy-poll -1s":                          "-busy-poll -1s",
		"-modes fast":                             `no mode "fast"`,
		"-modes pool,pool":                        "pool is named twice",
		"-duration 1s -- x":                       `"x"`,
		"-rounds 0":                               "-rounds 0",
		"-rounds 200 -duration 1s":                "between 2s",
		"-soak 1s":                                "-soak 1s is not between 2s",
		"-soak 3s -duration 1s":                   "-duration and -rounds",
		"-soak 3s -modes unqueued":                "unqueued",
		"-flows 65537":                            "-flows 65537",
		"-scenario fast":                          `no "fast", only icmp, udp, forward, churn`,
		"-handler fast":                           `no "fast"`,
		"-handler accept:1":                       `":1"`,
		"-handler mix":                            "mix:10",
		"-handler mix:101":                        "0 to 100",
		"-handler mix:NaN":                        "0 to 100",
		"-handler spin":                           "spin:50us",
		"-handler sleep:2s":                       "up to 1s",
		"-patterns f":                             "-handler inspect",
		"-tcp":                                    "-scenario forward",
		"-scenario forward -handler stream":       "-handler stream is for TCP",
		"-gso=false":                              "-gso is for TCP",
		"-imix -size 100":                         "exclude each other",
		"-6 -size 55":                             "-size 55 is not between 56",
		"-handler inspect -patterns /nowhere/f":   "/nowhere/f",
		"-handler inspect -patterns /dev/null":    "no pattern",
		"-scenario udp -replies":                  "-scenario icmp",
		"-scenario forward -size 9001":            "9000",
		"-scenario forward -tcp -rate 5":          "-rate",
		"-scenario forward -tcp -size 5":          "-size",
		"-scenario churn -imix":                   "-imix",
		"-sweep batch":                            "FLAG=VALUE",
		"-sweep json=1,2":                         "batch, workers",
		"-sweep batch=1,x":                        "-sweep batch: ",
		"-sweep batch=1,2000":                     "-batch 2000 is not between",
		"-sweep batch=1,1":                        "1 is named twice",
		"-sweep batch=1 -batch 2":                 "-batch exclude each other",
		"-sweep batch=1 -soak 2s":                 "-soak exclude each other",
		"-sweep queues=1,2 -nope":                 "-nope",
		"-sweep size=64,9001 -scenario forward":   "9000",
		"-trial 1s":                               "-trial is for -rfc2544",
		"-tries 3":                                "-tries is for -rfc2544",
		"-resolution 3":                           "-resolution is for -rfc2544",
		"-rfc2544 -trial 1ms":                     "-trial 1ms is not between",
		"-rfc2544 -resolution NaN":                "-resolution NaN",
		"-rfc2544 -resolution 51":                 "0.1 and 50",
		"-rfc2544 -tries 0":                       "-tries 0",
		"-rfc2544 -rate 5":                        "-rate is not for it",
		"-rfc2544 -duration 5s":                   "-trial",
		"-rfc2544 -soak 5s":                       "-soak",
		"-rfc2544 -scenario churn":                "TCP",
		"-latency -rate 5":                        "-scenario udp",
		"-latency -scenario udp":                  "needs a -rate",
		"-latency -scenario udp -rate 5 -size 43": "needs 44",
		"-latency -scenario udp -rate 5 -size 63 -6": "needs 64",
		"-latency -scenario udp -rate 5 -soak 5s":    "-soak",
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
	for _, name := range strings.Fields("duration rate size batch workers queues busy-poll pin maxlen modes json scenario handler patterns 6 tcp gso imix flows rounds soak rfc2544 trial resolution tries latency sweep") {
		if !strings.Contains(usage.String(), "\n  -"+name) {
			t.Errorf("the usage does not explain -%s", name)
		}
	}
	benchtest.WantLines(t, usage.String(), 100)
}
