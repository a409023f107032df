package report

import (
	"fmt"
	"math"
	"time"

	"github.com/goipq/goipq/internal/bench/plain"
)

// A MachineCPU is what all CPUs of the machine did in a window, as /proc/stat
// counts it: in ticks of 10 ms, so that windows of less than a second tell
// little. Times are summed over the CPUs.
type MachineCPU struct {
	User    time.Duration `json:"user_ns"`    // in processes, low priorities included
	System  time.Duration `json:"system_ns"`  // in their system calls
	SoftIRQ time.Duration `json:"softirq_ns"` // in interrupts of both kinds
	Idle    time.Duration `json:"idle_ns"`    // waiting for disks included
	Steal   time.Duration `json:"steal_ns"`   // taken by the hypervisor
}

func (c MachineCPU) Plus(more MachineCPU) MachineCPU {
	return more.Minus(MachineCPU{}.Minus(c))
}

func (c MachineCPU) Minus(before MachineCPU) MachineCPU {
	return MachineCPU{
		User:    c.User - before.User,
		System:  c.System - before.System,
		SoftIRQ: c.SoftIRQ - before.SoftIRQ,
		Idle:    c.Idle - before.Idle,
		Steal:   c.Steal - before.Steal,
	}
}

// What makes a round, a search or a figure noisy: other processes, the
// hypervisor, or rounds that differ.
const (
	// othersAllowed and stealAllowed are how much of one CPU others may take,
	// from any, before a round counts as disturbed: a daemon that wakes now and
	// then takes less. What they take in the kernel cannot be told from what the
	// packets take there, so that only their user time counts.
	othersAllowed = 0.05
	stealAllowed  = 0.01
	// fewestTicks is what must have been counted beyond that: /proc/stat samples.
	fewestTicks = 3 * 10 * time.Millisecond
	// MaxWobble is how much of the median may lie between the least and the most of
	// a figure until it is marked.
	MaxWobble = 0.15
)

// NoiseOf says what disturbed a window in which the processes of the run had
// that much user time.
func NoiseOf(window time.Duration, all MachineCPU, user time.Duration) (noise []string) {
	for _, x := range []struct {
		taken   time.Duration
		allowed float64
		text    string
	}{
		{all.User - user, othersAllowed, "other processes used %s %% of a CPU"},
		{all.Steal, stealAllowed, "the hypervisor took %s %% of a CPU"},
	} {
		if x.taken > fewestTicks && x.taken.Seconds() > x.allowed*window.Seconds() {
			noise = append(noise, fmt.Sprintf(x.text, plain.Fixed(100*x.taken.Seconds()/window.Seconds(), 0)))
		}
	}
	return noise
}

// noiseIn says why a figure over rounds that were disturbed as noise says is not
// to be relied on: it varies, by more than its last decimal's tenfold, or half of
// its rounds were disturbed; the median bears fewer. Two rounds or one do not tell
// how much they vary.
func noiseIn(s Spread, decimals int, noise [][]string) string {
	wide := s.Max-s.Min > math.Pow10(1-decimals)
	if wobble := (s.Max - s.Min) / s.Median; wide && len(noise) > 2 && s.Median > 0 && wobble > MaxWobble {
		return fmt.Sprintf("varies by %s %% between rounds", plain.Fixed(100*wobble, 0))
	}
	disturbed, said := 0, ""
	for _, n := range noise {
		if len(n) > 0 {
			disturbed, said = disturbed+1, n[0]
		}
	}
	if disturbed > 0 && 2*disturbed >= len(noise) {
		return fmt.Sprintf("disturbed in %d of %d rounds: %s in the last of them", disturbed, len(noise), said)
	}
	return ""
}
