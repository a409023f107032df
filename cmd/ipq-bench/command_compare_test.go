package main

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/goipq/goipq/internal/bench/benchtest"
	"github.com/goipq/goipq/internal/bench/report"
)

// runCompare returns the output with single spaces.
func runCompare(t *testing.T, args ...string) (status int, stdout, stderr string) {
	t.Helper()
	var out, complaint strings.Builder
	status = compare(args, &out, &complaint)
	benchtest.WantLines(t, out.String(), 100)
	if text := complaint.String(); text != "" && (status != exitUsage || strings.Count(text, "\n") != 1) {
		t.Errorf("exit status %d with %q", status, text)
	}
	return status, strings.Join(strings.Fields(out.String()), " "), complaint.String()
}

func TestCompare(t *testing.T) {
	rounds := func(percent uint64) *report.Report { return benchtest.Report(10*percent, 600, 610, 620, 630, 640) }
	base := save(t, rounds(100))
	elsewhere := rounds(100)
	elsewhere.Machine.Kernel, elsewhere.Parameters.Batch, elsewhere.Machine.Goipq = "7.0.0", 64, "v2.0.0"
	unqueued := rounds(50)
	for _, c := range []struct {
		name     string
		new      string
		flags    []string
		status   int
		want     string // in the output
		unwanted string
	}{
		{"the same", base, nil, exitOK, "nothing is slower", "differs"},
		{"slower", save(t, rounds(80)), nil, exitFailed, "verdicts/s 310,000 248,000 0.800 0.008 SLOWER", ""},
		{"faster", save(t, rounds(120)), nil, exitOK, "verdicts/s 310,000 372,000 1.200 0.008 better", "SLOWER"},
		{"too little", save(t, rounds(93)), []string{"-threshold", "10"}, exitOK, "0.930 0.008 ~", "SLOWER"},
		{"not certain", save(t, rounds(80)), []string{"-alpha", "0.001"}, exitUsage, "", ""},
		{"elsewhere", save(t, elsewhere), nil, exitOK, "differs machine kernel: 6.18.44, now 7.0.0", "machine goipq"},
		{"other setting", save(t, elsewhere), nil, exitOK, "differs parameter batch: 16, now 64", ""},
		{"less in common", save(t, func() *report.Report { unqueued.Modes = unqueued.Modes[:1]; return unqueued }()), nil, exitFailed, "only old pool", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			status, out, complaint := runCompare(t, append(c.flags, base, c.new)...)
			if status != c.status || !strings.Contains(out, c.want) || c.unwanted != "" && strings.Contains(out, c.unwanted) {
				t.Errorf("exit status %d, want %d with %q, without %q\n%s%s", status, c.status, c.want, c.unwanted, complaint, out)
			}
		})
	}
}

// The path without a queue is not goipq: when it gets slower, so did the machine.
func TestCompareDoesNotJudgeTheMachine(t *testing.T) {
	rep := func(scale uint64) *report.Report {
		rep := benchtest.Report(scale, 600, 610, 620, 630, 640)
		rep.Parameters.Modes = []string{report.ModeUnqueued, report.ModePool}
		rep.Modes[0].Name = report.ModeUnqueued
		return rep
	}
	now := rep(500)
	now.Modes[1] = rep(1000).Modes[1]
	status, out, _ := runCompare(t, save(t, rep(1000)), save(t, now))
	if status != exitOK || !strings.Contains(out, "worse") || !strings.Contains(out, "that is the machine, not goipq") {
		t.Errorf("exit status %d\n%s", status, out)
	}
}

// Of a comparison with peers, goipq's ratios are judged: they do not fall when
// all are slower alike.
func TestComparePeers(t *testing.T) {
	old := save(t, benchtest.Peers(4, 1))
	if status, out, _ := runCompare(t, old, save(t, benchtest.Peers(4, 0.5))); status != exitOK || !strings.Contains(out, "worse") {
		t.Errorf("a slower machine: exit status %d\n%s", status, out)
	}
	if status, out, _ := runCompare(t, old, save(t, benchtest.Peers(3, 1))); status != exitFailed ||
		!strings.Contains(out, "saturated, goipq-inline, over go-nfqueue") {
		t.Errorf("a slower goipq: exit status %d\n%s", status, out)
	}
	if status, _, complaint := runCompare(t, old, save(t, benchtest.Report(1, 1, 2, 3, 4, 5))); status != exitUsage ||
		!strings.Contains(complaint, "in common") {
		t.Errorf("two kinds of report: exit status %d, %s", status, complaint)
	}
}

func TestCompareRefuses(t *testing.T) {
	good := save(t, benchtest.Report(1000, 600, 610, 620, 630, 640))
	few := save(t, benchtest.Report(1000, 600, 610, 620))
	unbalanced := benchtest.Report(1000, 600, 610, 620, 630, 640)
	unbalanced.Books.Balanced = false
	soaked := benchtest.Report(1)
	soaked.Kind = report.KindSoak
	for want, args := range map[string][]string{
		"two files":               {good},
		"not defined":             {"-x", good, good},
		"-alpha 2":                {"-alpha", "2", good, good},
		"-threshold -1":           {"-threshold", "-1", good, good},
		"no such file":            {good, filepath.Join(t.TempDir(), "none")},
		"3 and 3 rounds can":      {few, few},
		"books do not balance":    {good, save(t, unbalanced)},
		"is a soak":               {save(t, soaked), good},
		"has schema 1,":           {save(t, map[string]int{"schema": 1}), good},
		"has no schema":           {save(t, map[string]int{}), good},
		"not a report of ipq-ben": {save(t, []int{1}), good},
	} {
		if status, out, complaint := runCompare(t, args...); status != exitUsage || !strings.Contains(complaint, want) || out != "" {
			t.Errorf("%v: exit status %d, %q, want %q", args, status, complaint, want)
		}
	}
}
