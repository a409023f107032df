package main

import (
	"context"
	"errors"
	"math"
	"strings"
	"testing"
	"time"
)

// A path loses packets above its capacity, and its senders offer no more than
// most.
type path struct {
	capacity, most float64
	disturbed      map[int]bool // trials, counted from 0, that lose packets anyway
	trials         int
}

func (p *path) offer(_ context.Context, target float64) (trial, error) {
	const sent = 1_000_000
	t := trial{Target: target, Offered: p.most, Sent: sent, Arrived: sent}
	if target > 0 {
		t.Offered = min(target, p.most)
	}
	if p.disturbed[p.trials] {
		t.Lost.SocketFull = 1
	}
	if t.Offered > p.capacity {
		t.Lost.QueueFull = uint64(sent * (1 - p.capacity/t.Offered))
	}
	t.Arrived -= t.Lost.inKernel()
	t.Passed = t.Lost.inKernel() == 0
	p.trials++
	return t, nil
}

func TestSearchFindsTheCapacity(t *testing.T) {
	for _, c := range []struct {
		path       path
		resolution float64
		limit      string
		want       float64
	}{
		{path{capacity: 123_456, most: 1e6}, 0.01, limitLoss, 123_456},
		{path{capacity: 123_456, most: 130_000}, 0.001, limitLoss, 123_456},
		{path{capacity: 5_000, most: 1e6}, 0.05, limitLoss, 5_000},
		{path{capacity: 1e6, most: 800_000}, 0.01, limitSender, 800_000},
		{path{capacity: 0, most: 1e6}, 0.01, limitLoss, 0},
	} {
		f := finder{resolution: c.resolution, tries: 1, offer: c.path.offer}
		got, err := f.find(t.Context())
		if err != nil || got.Limit != c.limit || got.Rate > c.want || got.Rate < c.want*(1-c.resolution) {
			t.Errorf("%+v: found %v, limit %s, %v; want %v", c.path, got.Rate, got.Limit, err, c.want)
		}
		if n, most := len(got.Trials), 3+int(math.Ceil(math.Log2(1e6/max(leastRate, c.want*c.resolution)))); n > most {
			t.Errorf("%+v: %d trials, want at most %d", c.path, n, most)
		}
		if got.Trials[0].Target != 0 {
			t.Errorf("the first trial has the target %v, want full speed", got.Trials[0].Target)
		}
	}
}

// Trials that the senders did not offer as they should are made anew, but not for
// ever.
func TestSearchRepeatsVoidTrials(t *testing.T) {
	for late, want := range map[int]float64{maxVoid: 99_000, maxVoid + 1: 80_000} {
		p := path{capacity: 100_000, most: 1e6}
		n := 0
		f := finder{resolution: 0.01, tries: 1, offer: func(ctx context.Context, target float64) (trial, error) {
			tr, err := p.offer(ctx, target)
			if n++; n > 1 && n <= late+1 {
				tr.Void, tr.Passed = "late", false
			}
			return tr, err
		}}
		got, err := f.find(t.Context())
		if err != nil || got.Rate > 99_000 != (want >= 99_000) || got.Trials[late].Void == "" || got.Trials[late+1].Void != "" {
			t.Errorf("%d late trials: found %v, %v: %+v", late, got.Rate, err, got.Trials)
		}
	}
}

func TestSpoiledSearchIsNoisy(t *testing.T) {
	s := search{Trials: make([]trial, 5)}
	s.Trials[0].Void = "late"
	if got := s.spoiled(); got != nil {
		t.Errorf("one of five: %q", got)
	}
	s.Trials[3].Void = "late"
	if got := s.spoiled(); len(got) != 1 || !strings.Contains(got[0], "in 2 of 5 trials") {
		t.Errorf("two of five: %q", got)
	}
}

// With three trials of a rate, one that is disturbed does not decide; with one it
// does.
func TestSearchBearsDisturbances(t *testing.T) {
	for tries, near := range map[int]bool{1: false, 3: true} {
		p := path{capacity: 100_000, most: 1e6, disturbed: map[int]bool{1: true}} // the first at a rate
		f := finder{resolution: 0.01, tries: tries, offer: p.offer}
		got, err := f.find(t.Context())
		if err != nil || got.Rate > 99_000 != near {
			t.Errorf("%d tries: found %v, %v", tries, got.Rate, err)
		}
	}
}

// So it is at full speed.
func TestSearchBearsDisturbancesAtFullSpeed(t *testing.T) {
	p := path{capacity: 1e6, most: 800_000, disturbed: map[int]bool{0: true}}
	f := finder{resolution: 0.01, tries: 3, offer: p.offer}
	got, err := f.find(t.Context())
	if err != nil || got.Rate != 800_000 || got.Limit != limitSender || len(got.Trials) != 3 {
		t.Errorf("found %v, limit %s, in %d trials, %v", got.Rate, got.Limit, len(got.Trials), err)
	}
}

// A search ends with its context, or with a trial's error, and keeps what it has.
func TestSearchEnds(t *testing.T) {
	p := path{capacity: 100_000, most: 1e6}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	broken := errors.New("broken")
	for _, fail := range []bool{false, true} {
		f := finder{resolution: 0.01, tries: 1, offer: func(ctx context.Context, target float64) (trial, error) {
			if target > 0 && fail {
				return trial{}, broken
			}
			if target > 0 {
				cancel()
			}
			return p.offer(ctx, target)
		}}
		in := ctx
		if fail {
			in = t.Context()
		}
		got, err := f.find(in)
		if errors.Is(err, broken) != fail || len(got.Trials) != 1 {
			t.Errorf("fail %v: %d trials, %v", fail, len(got.Trials), err)
		}
	}
}

// sampleThroughput has two searches of one mode at each of some sizes.
func sampleThroughput(scale float64, sizes ...string) *report {
	rep := sampleReport(1)
	rep.Kind = kindThroughput
	rep.Parameters.Trial, rep.Parameters.Duration = time.Second, 0
	modes := func() (all []mode) {
		for _, name := range rep.Parameters.Modes {
			t := &throughput{Resolution: 0.01, Trial: time.Second, Trials: 3}
			for _, rate := range []float64{0.99 * scale, scale, 1.01 * scale} {
				full := trial{Offered: 2 * scale, Sent: 2000, Arrived: 1000}
				t.Searches = append(t.Searches, search{Rate: rate, Limit: limitLoss, Trials: []trial{full, {Target: rate, Passed: true}}})
			}
			all = append(all, mode{Name: name, Rounds: []round{}, Throughput: t})
		}
		return all
	}
	rep.Modes = modes()
	if len(sizes) > 0 {
		rep.Modes, rep.Sweep = []mode{}, &sweep{Parameter: "size"}
		for _, size := range sizes {
			rep.Sweep.Points = append(rep.Sweep.Points, point{Value: size, Parameters: rep.Parameters, Modes: modes()})
		}
	}
	rep.finish(false)
	return rep
}

const goldenThroughput = `        mode  packets/s      min      max  Mbit/s  trials  full speed  arrived  limit
      inline    300,000  297,000  303,000     154       6     600,000  300,000   loss
   pool of 2    300,000  297,000  303,000     154       6     600,000  300,000   loss
`

func TestThroughputTable(t *testing.T) {
	rep := sampleThroughput(300_000)
	var text strings.Builder
	printThroughput(&text, rep)
	table, notes, _ := strings.Cut(text.String(), "\n\n")
	if got := strings.ReplaceAll(table, "\n    ", "\n   ")[1:] + "\n"; got != goldenThroughput {
		t.Errorf("got\n%s\nwant\n%s", got, goldenThroughput)
	}
	if s := rep.Modes[0].Summary[throughputRate]; s.Median != 300_000 || s.Noisy != "" {
		t.Errorf("summary %+v", s)
	}
	for _, want := range []string{"RFC 2544", "Trials of 1s", "1.0 %", "3 trials", "-trial 60s", "books"} {
		if !strings.Contains(notes, want) {
			t.Errorf("no %q in\n%s", want, notes)
		}
	}
}

// Whatever is printed of searches and sweeps fits into 100 columns, also with
// nothing measured.
func TestMeasuresWidth(t *testing.T) {
	for _, rep := range []*report{
		sampleThroughput(40_000_000, "64", "9000"), sampleThroughput(1), sampleThroughput(0, "64"),
	} {
		var text strings.Builder
		printHeader(&text, rep)
		printThroughput(&text, rep)
		wantLines(t, text.String(), 100)
	}
	for _, verdicts := range [][]uint64{{600, 1200, 560}, {19_000, 15_000, 18_000, 19_999}, {}} {
		rep := sampleSweep(verdicts...)
		var text strings.Builder
		printHeader(&text, rep)
		printSweep(&text, rep)
		wantLines(t, text.String(), 100)
	}
}

// sampleSweep has sampleReport's modes at each of two batches, twice as fast at
// the second.
func sampleSweep(verdicts ...uint64) *report {
	rep := sampleReport(1)
	rep.Sweep, rep.Modes = &sweep{Parameter: "batch", Numeric: true}, []mode{}
	for i, value := range []string{"8", "64"} {
		at := sampleReport(1000*uint64(i+1), verdicts...)
		rep.Sweep.Points = append(rep.Sweep.Points, point{Value: value, Number: float64(int(8) << (3 * i)), Parameters: at.Parameters, Setup: at.Setup, Modes: at.Modes})
	}
	rep.finish(false)
	return rep
}

func TestSweepTable(t *testing.T) {
	rep := sampleSweep(600, 610, 590)
	var text strings.Builder
	printSweep(&text, rep)
	for _, want := range []string{
		"batch         mode  verdicts/s   ±    lost, %  CPU ns  batch  allocs\n",
		"8           inline     300,000  2%       50.0   1,250   16.0   0.010\n",
		"64       pool of 2     600,000  2%       50.0   1,250   16.0   0.010\n",
	} {
		if !strings.Contains(text.String(), want) {
			t.Errorf("no %q in\n%s", want, text.String())
		}
	}
	noisy := sampleSweep(600, 1200, 560)
	text.Reset()
	if printSweep(&text, noisy); !strings.Contains(text.String(), "!: not to be relied on. 8, inline: varies by ") ||
		!strings.Contains(text.String(), "; and 1 more.") {
		t.Errorf("noise is not told:\n%s", text.String())
	}
}
