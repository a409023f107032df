package main

import (
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/goipq/goipq/internal/bench/benchtest"
	"github.com/goipq/goipq/internal/bench/report"
)

// measure runs the command for a short time and returns its report.
func measure(t *testing.T, args string) (rep *report.Report, stdout string) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "report.json")
	cmd := command(append(strings.Fields(args), "-json", file)...)
	stdout = mustRun(t, cmd)
	benchtest.WantLines(t, stdout, 100)
	rep = readReport(t, file)
	if !rep.Books.Balanced {
		t.Errorf("books: %+v", rep.Books)
	}
	return rep, stdout
}

// measureUntil measures in rounds that grow longer until there is enough to judge: a busy
// machine may get nothing through in short ones.
func measureUntil(t *testing.T, enough func(rep *report.Report) bool, args string) (rep *report.Report, stdout string) {
	t.Helper()
	for d := 600 * time.Millisecond; d < time.Minute && (rep == nil || !enough(rep)); d *= 3 {
		rep, stdout = measure(t, fmt.Sprintf("%s -duration %v", args, d))
	}
	return rep, stdout
}

// measured reports whether every mode has its main figure.
func measured(rep *report.Report) bool {
	modes := rep.Modes
	if rep.Sweep != nil {
		for _, pt := range rep.Sweep.Points {
			modes = append(modes, pt.Modes...)
		}
	}
	main := rep.Parameters.Main().Name
	return !slices.ContainsFunc(modes, func(m report.Mode) bool { return m.Summary[main].Max == 0 })
}

// What searches find is what was offered without loss, by the counts of senders
// and kernel.
func TestThroughput(t *testing.T) {
	rep, stdout := measure(t, "-rfc2544 -trial 50ms -resolution 20 -tries 3 -rounds 2 -modes unqueued,inline -handler mix:10")
	if rep.Kind != report.KindThroughput || !strings.Contains(stdout, "packets/s") || !strings.Contains(stdout, "round 2/2 inline: ") {
		t.Errorf("kind %q:\n%s", rep.Kind, stdout)
	}
	for _, m := range rep.Modes {
		tp := m.Throughput
		if tp == nil || len(tp.Searches) != 2 || tp.Resolution != 0.2 || tp.Trials != 3 {
			t.Fatalf("%s: %+v", m.Name, tp)
		}
		if s := m.Summary[report.ThroughputRate]; s != tp.Rate || s.Min > s.Median || s.Max < s.Median {
			t.Errorf("%s: summary %+v, throughput %+v", m.Name, s, tp.Rate)
		}
		for _, s := range tp.Searches {
			found := s.Rate == 0
			for _, tr := range s.Trials {
				whole := tr.Sent > 0 && tr.Sent == tr.Arrived+tr.Lost.Handler && tr.Lost.InKernel() == 0
				if tr.Passed != whole || m.Name != report.ModeUnqueued && tr.Verdicts > 0 && tr.Lost.Handler == 0 && tr.Verdicts > 20 {
					t.Errorf("%s: trial %+v", m.Name, tr)
				}
				found = found || tr.Passed && tr.Offered == s.Rate
			}
			if !found {
				t.Errorf("%s: no trial passed at %v: %+v", m.Name, s.Rate, s.Trials)
			}
		}
	}
}

// Each value is measured as if it were the flag's.
func TestSweep(t *testing.T) {
	rep, stdout := measureUntil(t, measured, "-sweep batch=1,4 -rounds 3 -modes inline")
	if rep.Sweep == nil || rep.Sweep.Parameter != "batch" || !rep.Sweep.Numeric || len(rep.Sweep.Points) != 2 || len(rep.Modes) != 0 {
		t.Fatalf("sweep %+v, modes %+v", rep.Sweep, rep.Modes)
	}
	for i, size := range []int{1, 4} {
		pt := rep.Sweep.Points[i]
		if pt.Parameters.Batch != size || pt.Number != float64(size) || len(pt.Modes[0].Rounds) != 3 || pt.Setup.ReadBuffer == 0 {
			t.Errorf("point %d: %+v", i, pt)
		}
		var all uint64
		for _, rd := range pt.Modes[0].Rounds {
			for class, n := range rd.Life.BatchSizes {
				if all += n; n > 0 && 1<<class > size {
					t.Errorf("batches of %d: %v", size, rd.Life.BatchSizes)
				}
			}
		}
		if all == 0 || len(pt.Modes[0].Summary) == 0 {
			t.Errorf("nothing was measured: %+v", pt.Modes[0])
		}
	}
	if at := strings.Index(stdout, "round 3/3 batch=1, inline"); at < 0 || at < strings.Index(stdout, "round 2/3 batch=4") {
		t.Errorf("the values do not take turns:\n%s", stdout)
	}
	// Queues and sizes have networks of their own.
	rep, _ = measure(t, "-sweep queues=1,2 -duration 20ms -rounds 1 -modes pool")
	for i, pt := range rep.Sweep.Points {
		if pt.Parameters.Queues != i+1 || len(pt.Modes[0].Rounds) != 1 {
			t.Errorf("point %d: %+v", i, pt)
		}
	}
	rep, _ = measureUntil(t, measured, "-sweep size=64,9000 -scenario forward -rounds 1 -modes inline -rate 2000")
	for i, pt := range rep.Sweep.Points {
		if l := pt.Modes[0].Rounds[0].Life; l.Arrived != l.Accepted || l.Received == 0 {
			t.Errorf("point %d: %+v", i, l)
		}
	}
}

// The datagrams that arrive are timed, queued or not, each once: those for which
// the receiver has no room, as a busy machine's may have none, are told apart.
func TestLatency(t *testing.T) {
	for _, args := range []string{"-scenario udp", "-scenario forward -6 -imix -modes unqueued,inline"} {
		timed := func(rep *report.Report) bool {
			return !slices.ContainsFunc(rep.Modes, func(m report.Mode) bool { return m.Latency == nil })
		}
		rep, stdout := measureUntil(t, timed, "-latency -rate 10000 -rounds 1 "+args)
		for _, m := range rep.Modes {
			l := m.Latency
			if l == nil || l.Count == 0 || l.P50 > l.P90 || l.P90 > l.P99 || l.P99 > l.P999 || l.P999 > l.P9999 || l.P9999 > l.Max ||
				len(l.Points) < 10 || l.Points[len(l.Points)-1].Time != l.Max {
				t.Errorf("%s: %+v", m.Name, l)
				continue
			}
			for i := 1; i < len(l.Points); i++ {
				if a, b := l.Points[i-1], l.Points[i]; a.Percent > b.Percent || a.Time > b.Time {
					t.Errorf("%s: point %+v comes before %+v", m.Name, a, b)
				}
			}
			var count uint64
			for _, rd := range m.Rounds {
				if rd.Latency.Count+rd.Life.Untimed > rd.Life.Arrived {
					t.Errorf("%s: round %+v", m.Name, rd)
				}
				count += rd.Latency.Count
			}
			if count != l.Count || m.Summary[report.LatencyP99].Median == 0 {
				t.Errorf("%s: %d in the rounds, %d in all; %+v", m.Name, count, l.Count, m.Summary)
			}
		}
		for _, want := range []string{"\nlatency, µs, 99.99 %", "\nsender    unqueued: up to ", "timed "} {
			if !strings.Contains(stdout, want) {
				t.Errorf("no %q in\n%s", want, stdout)
			}
		}
	}
}

// CPU time has its parts, batches their sizes, and loss its causes.
func TestParts(t *testing.T) {
	lossy := func(rep *report.Report) bool { return measured(rep) && rep.Modes[0].Lost.Handler > 0 }
	rep, _ := measureUntil(t, lossy, "-rounds 2 -modes inline -handler mix:50 -maxlen 32")
	m := rep.Modes[0]
	var batches uint64
	for _, n := range m.BatchSizes {
		batches += n
	}
	var of uint64
	for _, rd := range m.Rounds {
		of += rd.Batches
		if rd.CPU != rd.CPUUser+rd.CPUSystem || rd.Machine == (report.MachineCPU{}) || rd.LoadCPU == 0 && rd.Sent > 1000 {
			t.Errorf("round %+v", rd)
		}
		l := &rd.Life
		if lost := l.Lost; !lost.Known || lost.QueueFull != l.QueueDropped || lost.Handler != l.HandlerDropped ||
			l.Sent != l.Arrived+lost.Handler+lost.InKernel() {
			t.Errorf("losses %+v of %+v", lost, l)
		}
	}
	if batches != of || of == 0 || m.Lost.Handler == 0 {
		t.Errorf("%d batches have a size, of %d; lost %+v", batches, of, m.Lost)
	}
}

// What cannot be searched or swept is refused before anything is done.
func TestMeasuresAreRefused(t *testing.T) {
	for args, want := range map[string]string{
		"-sweep batch=1,x":          "-sweep batch",
		"-sweep queues=1,256 -pin":  "-pin with -queues 256",
		"-rfc2544 -scenario churn":  "-rfc2544",
		"-rfc2544 -json /nowhere/f": "-json",
		"-latency -rate 1000":       "-latency",
	} {
		out, err := command(strings.Fields(args)...).CombinedOutput()
		skipWithoutNamespaces(t, string(out))
		var exit *exec.ExitError
		if text := string(out); !errors.As(err, &exit) || exit.ExitCode() != exitUsage || !strings.Contains(text, want) ||
			strings.Count(text, "\n") != 1 {
			t.Errorf("%s: %v: %q, want one line with %q and exit status %d", args, err, text, want, exitUsage)
		}
	}
}
