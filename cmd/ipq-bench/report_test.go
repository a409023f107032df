package main

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"reflect"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"
)

// sampleReport has two modes of rounds that differ in their verdicts.
func sampleReport(scale uint64, verdicts ...uint64) *report {
	rep := &report{
		Schema:  schema,
		Time:    time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC),
		Machine: machine{Kernel: "6.18.44", Arch: "amd64", CPU: "AMD EPYC", CPUs: 2, Go: "go1.26.8", Goipq: "v1.0.0"},
		Parameters: parameters{
			Modes: []string{modeInline, modePool}, Duration: 6 * time.Second, Rounds: usualRounds,
			Window: 1200 * time.Millisecond, WarmUp: 300 * time.Millisecond,
			Scenario: scenarioICMP, Handler: handleAccept, Size: 64, Flows: 1024, Queues: 1, MaxQueueLen: 1024, Batch: 16, Workers: 2,
		},
		Setup: setup{
			Root: true, Rule: "NFQUEUE target",
			placement:  placement{Flood: []int{0}, Consumer: []int{1}},
			GOMAXPROCS: 1, ReadBuffer: 851968,
		},
		Books: newBooks(),
	}
	for _, name := range rep.Parameters.Modes {
		m := mode{Name: name, Rounds: []round{}}
		for i, n := range verdicts {
			n *= scale
			counts := tally{
				Sent: 2 * n, Ruled: 2 * n, Arrived: n, Accepted: n, Received: n, Batches: n / 16, Verdicts: n, Messages: n / 16, Writes: n / 8,
				QueueDropped: n - 10, SocketDropped: 10, QueueKnown: true,
			}
			rd := round{
				Round: i + 1, Window: 2 * time.Second, CPU: time.Duration(1250 * n), Mallocs: n / 100,
				CPUUser: time.Duration(250 * n), CPUSystem: time.Duration(1000 * n), LoadCPU: time.Duration(1200 * n),
				Machine: machineCPU{System: time.Duration(1800 * n), SoftIRQ: time.Duration(200 * n)},
				tally:   counts,
				Life:    life{tally: counts, Queued: true, Counted: true},
			}
			rep.Books.enter(name, &rd.Life)
			m.Rounds = append(m.Rounds, rd)
		}
		rep.Modes = append(rep.Modes, m)
	}
	rep.finish(false)
	return rep
}

func wantLines(t *testing.T, text string, width int) {
	t.Helper()
	for line := range strings.Lines(text) {
		if line = strings.TrimSuffix(line, "\n"); columns(line) > width {
			t.Errorf("%d columns, want at most %d: %s", columns(line), width, line)
		}
		if strings.TrimRight(line, " ") != line {
			t.Errorf("spaces at the end of %q", line)
		}
	}
}

const goldenTable = `                          ---- inline, 3 rounds -----    --- pool of 2, 3 rounds ---
                           median      min        max     median      min        max
offered/s                 600,000  560,000  1,200,000    600,000  560,000  1,200,000
received/s                300,000  280,000    600,000    300,000  280,000    600,000
verdicts/s                300,000  280,000    600,000    300,000  280,000    600,000
lost in the kernel/s      300,000  280,000    600,000    300,000  280,000    600,000
lost in the kernel, %        50.0     50.0       50.0       50.0     50.0       50.0
CPU ns per packet           1,250    1,250      1,250      1,250    1,250      1,250
user ns per packet            250      250        250        250      250        250
kernel ns per packet        2,000    2,000      2,000      2,000    2,000      2,000
sender ns per packet          600      600        600        600      600        600
packets per recvmmsg         16.0     16.0       16.0       16.0     16.0       16.0
verdicts per write            8.0      8.0        8.0        8.0      8.0        8.0
allocations per packet      0.010    0.010      0.010      0.010    0.010      0.010
`

func TestTable(t *testing.T) {
	var got strings.Builder
	printTable(&got, sampleReport(1000, 600, 1200, 560))
	if got.String() != goldenTable {
		t.Errorf("got\n%s\nwant\n%s", got.String(), goldenTable)
	}
}

// What is printed fits into 100 columns, the table also with figures that no
// machine reaches yet.
func TestOutputWidth(t *testing.T) {
	for _, verdicts := range [][]uint64{{600, 1200, 560}, {19_000, 15_000, 18_000, 19_999}, {600}, {}} {
		rep := sampleReport(1000, verdicts...)
		rep.Interrupted = true
		var text strings.Builder
		printHeader(&text, rep)
		printResults(&text, rep)
		wantLines(t, text.String(), 100)
	}
}

// A sweep's table fits with everything that can be measured at once.
func TestSweepWidth(t *testing.T) {
	rep := sweptReport("spin:100us", "inspect")
	for i := range rep.Sweep.Points {
		p := &rep.Sweep.Points[i]
		p.Parameters.Latency, p.Parameters.Modes = true, []string{modeUnqueued, modePool}
		p.Modes[0].Name = modeUnqueued
		for j := range p.Modes {
			for k := range p.Modes[j].Rounds {
				p.Modes[j].Rounds[k].Latency = &latency{P50: time.Second / 2, P99: time.Second / 2, P999: time.Second / 2}
			}
		}
	}
	rep.finish(false)
	var text strings.Builder
	printSweep(&text, rep)
	wantLines(t, text.String(), 100)
	if !strings.Contains(text.String(), "p99.9, µs") || strings.Contains(text.String(), "allocs") {
		t.Errorf("the wrong columns are left out:\n%s", text.String())
	}
}

func TestResultsOfNothing(t *testing.T) {
	rep := sampleReport(1)
	rep.finish(true)
	var text strings.Builder
	printResults(&text, rep)
	for _, want := range []string{"interrupted", "nothing was measured", "balanced: 0 sent"} {
		if !strings.Contains(text.String(), want) {
			t.Errorf("%q is not in\n%s", want, text.String())
		}
	}
}

// A mode whose loss the kernel does not tell shows it as a guess.
func TestGuessedLossIsMarked(t *testing.T) {
	rep := sampleReport(1000, 600)
	for i := range rep.Modes {
		rd := &rep.Modes[i].Rounds[0]
		rd.QueueKnown, rd.QueueDropped = false, 0
	}
	rep.finish(false)
	var text strings.Builder
	printResults(&text, rep)
	for _, want := range []string{"~300,000", "~50.0", "note      ~: "} {
		if !strings.Contains(text.String(), want) {
			t.Errorf("%q is not in\n%s", want, text.String())
		}
	}
}

func TestNotesFollowTheFigures(t *testing.T) {
	has := func(rep *report, want string) {
		t.Helper()
		if all := strings.Join(rep.notes(), "\n"); !strings.Contains(all, want) {
			t.Errorf("no %q in the notes:\n%s", want, all)
		}
	}
	has(sampleReport(1000, 600, 600), "ipq-bench -rate 100000") // half of 300,000/s, one digit
	paced := sampleReport(1000, 600)
	paced.Parameters.Rate = 700_000 // 600,000 were offered
	has(paced, "does not bear this rate")
	has(paced, "fewer than the 700,000/s")
	idle := sampleReport(1000, 600)
	for i := range idle.Modes {
		idle.Modes[i].Rounds[0].QueueDropped = 0
	}
	idle.finish(false)
	has(idle, "might carry more")
	// 450,000 packets of 1,250 ns in 2 s are 28 % of a CPU.
	has(sampleReport(1000, 400, 500), "got only 28 % of a CPU")
	has(sampleReport(1000, 1200, 1800), "vary by")
}

func TestMedian(t *testing.T) {
	if got := spreadOf([]float64{4, 1, 3}); got != (spread{Median: 3, Min: 1, Max: 4}) {
		t.Errorf("got %v", got)
	}
	if got := spreadOf([]float64{4, 1, 2, 3}); got != (spread{Median: 2.5, Min: 1, Max: 4}) {
		t.Errorf("got %v", got)
	}
}

// A round that decided nothing has no cost per packet, and does not become its
// minimum.
func TestRoundsWithoutPacketsCostNothing(t *testing.T) {
	rep := sampleReport(1000, 600, 0, 600)
	s := rep.Modes[0].Summary
	if got := s[cpuCost].Min; got != 1250 {
		t.Errorf("the least CPU per packet is %v, want 1250", got)
	}
	if got := s[verdictRate].Min; got != 0 {
		t.Errorf("the least verdicts per second are %v, want 0", got)
	}
}

func TestBooks(t *testing.T) {
	good := life{
		tally: tally{
			Sent: 10, Ruled: 10, Received: 6, Verdicts: 6, Accepted: 5, HandlerDropped: 1, Arrived: 5,
			QueueDropped: 3, SocketDropped: 1, QueueKnown: true,
		},
		Queued: true, Counted: true,
	}
	for name, spoil := range map[string]func(*life){
		"":               func(*life) {},
		"the floods":     func(l *life) { l.Sent++ },
		"the rule":       func(l *life) { l.QueueDropped-- },
		"decided":        func(l *life) { l.Verdicts-- },
		"and 2 dropped":  func(l *life) { l.HandlerDropped++ },
		"bytes were":     func(l *life) { l.BytesIn = 1 },
		"bytes only":     func(l *life) { l.BytesOut, l.Orderly = 1, true },
		"arrived":        func(l *life) { l.Arrived = 7 },
		"refused":        func(l *life) { l.Refused = 1 },
		"not be decoded": func(l *life) { l.Undecodable = 1 },
		"or lost":        func(l *life) { l.QueueKnown, l.SocketDropped = false, 5 },
	} {
		l := good
		spoil(&l)
		b := newBooks()
		b.enter("round 1, inline", &good)
		b.enter("round 2, inline", &l)
		if b.Balanced != (name == "") {
			t.Errorf("%q: balanced is %v: %v", name, b.Balanced, b.Problems)
		}
		if name != "" && (len(b.Problems) == 0 || !strings.Contains(b.Problems[0], name) ||
			!strings.HasPrefix(b.Problems[0], "round 2, inline: ")) {
			t.Errorf("%q is not said in %q", name, b.Problems)
		}
	}
	unknown := good
	unknown.QueueKnown, unknown.QueueDropped = false, 0
	b := newBooks()
	if b.enter("round 1, inline", &unknown); !b.Balanced || b.LostKnown || b.Lost != 4 {
		t.Errorf("without the kernel's count of drops: %+v", b)
	}
}

func TestExitStatus(t *testing.T) {
	good, bad := sampleReport(1), sampleReport(1)
	bad.Books.enter("round 1, inline", &life{tally: tally{Ruled: 1}, Queued: true, Counted: true})
	for _, c := range []struct {
		rep   *report
		cause error
		want  int
	}{
		{good, nil, 0},
		{good, caught{syscall.SIGINT}, 130},
		{good, caught{syscall.SIGTERM}, 143},
		{bad, nil, 1},
		{bad, caught{syscall.SIGINT}, 1},
	} {
		if got := c.rep.status(c.cause); got != c.want {
			t.Errorf("balanced %v, cause %v: got %d, want %d", c.rep.Books.Balanced, c.cause, got, c.want)
		}
	}
}

func TestReportRoundTrip(t *testing.T) {
	rep := sampleReport(1000, 600, 1200, 560)
	name := filepath.Join(t.TempDir(), "report.json")
	if err := rep.write(name); err != nil {
		t.Fatal(err)
	}
	if got := readReport(t, name); !reflect.DeepEqual(got, rep) {
		t.Errorf("got %+v, want %+v", got, rep)
	}
	// What programs look up by name.
	var raw struct {
		Schema int
		Modes  []struct {
			Mode    string
			Summary map[string]spread
			Rounds  []map[string]any
		}
	}
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(text, &raw); err != nil {
		t.Fatal(err)
	}
	if raw.Schema != 2 || raw.Modes[1].Mode != "pool" || raw.Modes[1].Summary["verdicts_per_second"].Median != 300_000 ||
		raw.Modes[1].Rounds[2]["verdicts"] != 560_000.0 || raw.Modes[1].Rounds[2]["window_ns"] != 2e9 {
		t.Errorf("names have changed; raise schema: %s", text)
	}
}

func readReport(t *testing.T, name string) *report {
	t.Helper()
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	var rep report
	if err := d.Decode(&rep); err != nil {
		t.Fatalf("%v in %s", err, text)
	}
	return &rep
}

func TestJSONFileIsCheckedBefore(t *testing.T) {
	dir := t.TempDir()
	for _, bad := range []string{dir, filepath.Join(dir, "none", "f")} {
		if err := checkWritable("-json", bad); err == nil || !strings.HasPrefix(err.Error(), "-json") {
			t.Errorf("%s: %v", bad, err)
		}
	}
	file := filepath.Join(dir, "f")
	if err := checkWritable("-json", file); err != nil {
		t.Fatal(err)
	}
	if left, _ := os.ReadDir(dir); len(left) != 0 {
		t.Errorf("the check left %v", left)
	}
	if runtime.GOOS != "windows" {
		if err := checkWritable("-json", os.DevNull); err != nil {
			t.Error(err)
		}
		if err := new(report).write(os.DevNull); err != nil {
			t.Error(err)
		}
	}
}

// A report replaces what a symbolic link points to, not the link.
func TestJSONFileBehindLink(t *testing.T) {
	dir := t.TempDir()
	file, link := filepath.Join(dir, "f"), filepath.Join(dir, "link")
	if err := os.WriteFile(file, []byte("old"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(file, link); err != nil {
		t.Skip(err)
	}
	if err := sampleReport(1).write(link); err != nil {
		t.Fatal(err)
	}
	if got := readReport(t, file); got.Schema != schema {
		t.Errorf("schema %d", got.Schema)
	}
	if left, _ := os.ReadDir(dir); len(left) != 2 {
		t.Errorf("files left: %v", left)
	}
}

func TestPlainProgress(t *testing.T) {
	var text strings.Builder
	p := newProgress(&text)
	p.start(&parameters{Rounds: usualRounds}, usualRounds, time.Second)
	p.begin(2, "pool of 2", true)
	p.done(&sampleReport(1000, 600).Modes[1].Rounds[0])
	p.end()
	want := "round 2/5 pool of 2: 300,000 verdicts/s of 600,000 offered, 50.0 % lost, CPU 1,250 ns/packet\n\n"
	if text.String() != want {
		t.Errorf("got %q, want %q", text.String(), want)
	}
}

func TestNumbers(t *testing.T) {
	for want, got := range map[string]string{
		"0":            commas(0),
		"999":          commas(999),
		"1,000":        commas(1000),
		"12,345,678":   commas(12_345_678),
		"1,234.5":      fixed(1234.46, 1),
		"1,000 ":       fixed(999.7, 0) + " ",
		"0.001":        fixed(0.0007, 3),
		"CPU 7":        cpuList([]int{7}),
		"CPUs 0-2,5":   cpuList([]int{0, 1, 2, 5}),
		"CPUs 1,3,5-6": cpuList([]int{1, 3, 5, 6}),
	} {
		if got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}
