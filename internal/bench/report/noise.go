package report

import (
	"fmt"
	"math"
	"time"

	"github.com/goipq/goipq/internal/bench/plain"
	"github.com/goipq/goipq/internal/peers"
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
	// othersAllowed and stealAllowed are how much of one CPU other processes and
	// the hypervisor may take before a round counts as disturbed. A daemon that
	// wakes now and then takes less. Only user time counts: time in the kernel
	// may be the packets' own.
	othersAllowed = 0.05
	stealAllowed  = 0.01
	// fewestTicks is the least that counts as taken: /proc/stat only samples.
	fewestTicks = 3 * 10 * time.Millisecond
)

// NoiseOf says what disturbed a window. all is what the CPUs of the machine did in
// it, and user is the user time of the run's own processes.
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

// noiseIn says why a figure is not to be relied on; "" if it is. noise has what
// disturbed each of its rounds. Either the median is not known well enough, which
// takes three rounds to tell, and a range of more than ten times its last decimal. Or
// half of the rounds were disturbed, since the median bears fewer.
func noiseIn(s Spread, decimals int, noise [][]string) string {
	wide := s.High-s.Low > math.Pow10(1-decimals)
	if wide && len(noise) > 2 && s.Percent() > peers.MaxPercent {
		return fmt.Sprintf("is known to ±%s %% only", plain.Fixed(s.Percent(), 0))
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
