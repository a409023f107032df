package main

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"slices"

	"github.com/goipq/goipq/internal/bench/plain"
	"github.com/goipq/goipq/internal/bench/report"
)

const (
	// leastRate is where a search gives up, in packets a second. What loses packets
	// at a lower rate is not slow: it is broken, or its machine is busy.
	leastRate = 100
	// firstShare is where a search begins, as a share of the rate that arrived at
	// full speed. An even load gets through where a flood loses some.
	firstShare = 0.9
	// searchMaxQueueLen is how many packets the kernel may hold for a search: what
	// arrives in some 40 ms. Its own 1,024 are full after 2.5 ms. On a shared machine
	// the receive loop may stall for that long, and a search would measure the stalls
	// and not the loop.
	searchMaxQueueLen = 16384
	// maxVoid is how many void trials of a rate are repeated.
	maxVoid = 3
)

// A finder searches for the highest rate that passes.
type finder struct {
	resolution float64 // as a share of the rate
	tries      int     // trials of each rate, of which most must pass
	// offer makes a trial; a target of 0 is full speed.
	offer func(ctx context.Context, target float64) (report.Trial, error)
}

// find begins at full speed, which is the upper bound, and goes on somewhat below what
// arrived then. After that it halves the gap between the lowest rate that lost packets
// and the highest that did not, until the gap is as small as the resolution wants. The
// search ends when ctx does.
func (f *finder) find(ctx context.Context) (report.Search, error) {
	found := report.Search{Limit: report.LimitLoss, Trials: []report.Trial{}}
	passed, offered, trials, err := f.try(ctx, 0)
	found.Trials = append(found.Trials, trials...)
	if err != nil || ctx.Err() != nil {
		return found, err
	}
	if passed {
		found.Rate, found.Limit = offered, report.LimitSender
		return found, nil
	}
	flat := slices.MaxFunc(trials, func(a, b report.Trial) int { return cmp.Compare(a.Offered, b.Offered) })
	low, high := 0.0, flat.Offered
	target := firstShare * flat.Offered * report.Ratio(flat.Arrived+flat.Lost.Handler, flat.Sent)
	for high-low > f.resolution*high && high > leastRate {
		if !(target > low && target < high) {
			target = (low + high) / 2
		}
		passed, offered, trials, err := f.try(ctx, target)
		found.Trials = append(found.Trials, trials...)
		if err != nil || ctx.Err() != nil {
			return found, err
		}
		before := low
		if passed {
			low = max(low, offered)
		} else {
			high = target
		}
		if passed && f.slow(offered, target) && offered <= (1+f.resolution)*before {
			found.Limit = report.LimitSender // a higher target has brought no more
			break
		}
		target = (low + high) / 2
	}
	found.Rate = low
	return found, nil
}

// slow reports whether the senders did not keep the rate.
func (f *finder) slow(offered, target float64) bool { return offered < (1-f.resolution)*target }

// try makes trials of a rate until most of them have passed, or have not. It returns
// the lowest rate that was offered in those that passed. A trial is void if the
// senders did not offer what they should have, since it says nothing about the queue.
// Up to maxVoid of them are repeated.
func (f *finder) try(ctx context.Context, target float64) (passed bool, offered float64, trials []report.Trial, err error) {
	offered = math.Inf(1)
	void := 0
	most := f.tries/2 + 1
	for good, bad := 0, 0; good < most && bad <= f.tries-most; {
		t, err := f.offer(ctx, target)
		if err != nil || ctx.Err() != nil {
			return false, 0, trials, err
		}
		if t.Void == "" && f.slow(t.Offered, target) {
			t.Void = fmt.Sprintf("the senders offered %s/s", plain.Fixed(t.Offered, 0))
		}
		trials = append(trials, t)
		if t.Void != "" && void < maxVoid {
			void++
			continue
		}
		if t.Passed {
			good++
			offered = min(offered, t.Offered)
		} else {
			bad++
		}
		passed = good == most
	}
	return passed, offered, trials, nil
}
