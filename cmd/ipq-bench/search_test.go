package main

import (
	"context"
	"errors"
	"io"
	"math"
	"testing"

	"github.com/goipq/goipq/internal/bench/report"
)

// A path loses packets above its capacity, and its senders offer no more than
// most.
type path struct {
	capacity, most float64
	disturbed      map[int]bool // trials, counted from 0, that lose packets anyway
	trials         int
}

func (p *path) offer(_ context.Context, target float64) (report.Trial, error) {
	const sent = 1_000_000
	t := report.Trial{Target: target, Offered: p.most, Sent: sent, Arrived: sent}
	if target > 0 {
		t.Offered = min(target, p.most)
	}
	if p.disturbed[p.trials] {
		t.Lost.SocketFull = 1
	}
	if t.Offered > p.capacity {
		t.Lost.QueueFull = uint64(sent * (1 - p.capacity/t.Offered))
	}
	t.Arrived -= t.Lost.InKernel()
	t.Passed = t.Lost.InKernel() == 0
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
		{path{capacity: 123_456, most: 1e6}, 0.01, report.LimitLoss, 123_456},
		{path{capacity: 123_456, most: 130_000}, 0.001, report.LimitLoss, 123_456},
		{path{capacity: 5_000, most: 1e6}, 0.05, report.LimitLoss, 5_000},
		{path{capacity: 1e6, most: 800_000}, 0.01, report.LimitSender, 800_000},
		{path{capacity: 0, most: 1e6}, 0.01, report.LimitLoss, 0},
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
		f := finder{resolution: 0.01, tries: 1, offer: func(ctx context.Context, target float64) (report.Trial, error) {
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
	if err != nil || got.Rate != 800_000 || got.Limit != report.LimitSender || len(got.Trials) != 3 {
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
		f := finder{resolution: 0.01, tries: 1, offer: func(ctx context.Context, target float64) (report.Trial, error) {
			if target > 0 && fail {
				return report.Trial{}, broken
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

// Counts that stand still are not yet the last ones: a busy machine keeps packets
// waiting. They are when all are there, or as many readings were the same as it takes.
func TestAwait(t *testing.T) {
	reads := 0
	read := func() (int, bool, error) {
		reads++
		return reads / 20, reads == 60, nil
	}
	if err := await(100, read); err != nil || reads != 60 {
		t.Errorf("%d readings of 60, %v", reads, err)
	}
	if err := await(3, func() (int, bool, error) { return 1, false, nil }); err != nil {
		t.Error(err)
	}
	if err := await(100, func() (int, bool, error) { return 0, false, io.EOF }); err != io.EOF {
		t.Errorf("got %v, want the reader's error", err)
	}
}
