//go:build linux

package main

import (
	"context"
	"fmt"
	"io"
	"math"
	"slices"
	"time"

	"github.com/goipq/goipq/internal/netlab"
	"github.com/goipq/goipq/internal/peers"
)

// A lab is what all contests of a run share.
type lab struct {
	ctx      context.Context // ends with the program
	options  peers.Options
	dir      string // with the C programs
	cpus     []int  // that this process may use, two at least
	progress io.Writer
}

// A contest is one load, and what measures how a contestant carries it. Its
// report names the load; run fills in the contestants.
type contest struct {
	report  peers.Contest
	measure func(c contestant) (peers.Round, error)
}

// contest returns the one of a mode.
func (l *lab) contest(mode string) *contest {
	switch mode {
	case peers.TCP, peers.TCPShared:
		return l.tcp(mode == peers.TCPShared)
	case peers.Generator, peers.GeneratorUDP:
		return l.generator(mode == peers.GeneratorUDP)
	}
	return l.packets(mode == peers.Paced)
}

// patience is how often a measurement is repeated that found nothing: on a busy
// machine another program may have had the CPU, or TCP waited for its timer.
const patience = 3

// run measures every contestant in each round, starting with another one each
// time so that none always follows the same. Its report is complete, or has
// what was measured before the error.
func (c *contest) run(l *lab, all []contestant) error {
	r := &c.report
	for _, one := range all {
		entry := one.entry()
		if one.queues > 0 {
			floods, cpus := l.place(one.queues)
			entry.FloodsWait = floods[0] == cpus[0]
		}
		r.Contestants = append(r.Contestants, entry)
	}
	r.Bases = slices.DeleteFunc(r.Bases, func(base string) bool {
		return !slices.ContainsFunc(all, func(one contestant) bool { return one.name == base })
	})
	defer r.Summarise()
	for round := range l.options.Rounds {
		for i := range all {
			i = (i + round) % len(all)
			got, err := c.measure(all[i])
			for again := 0; err == nil && got.Value == 0 && again < patience; again++ {
				fmt.Fprintf(l.progress, "%s, round %d: nothing in the measured time, once more\n", all[i].name, round+1)
				got, err = c.measure(all[i])
			}
			if err != nil {
				return fmt.Errorf("%s, round %d, %s: %w", r.Mode, round+1, all[i].name, err)
			}
			got.Round = round
			r.Contestants[i].Rounds = append(r.Contestants[i].Rounds, got)
			fmt.Fprintf(l.progress, "%s, round %d of %d: %s %s\n", r.Mode, round+1, l.options.Rounds, all[i].name, amount(got.Value, r.Unit))
		}
	}
	return nil
}

// sleep returns early, with the reason, when the program is told to end.
func (l *lab) sleep(d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-l.ctx.Done():
		return context.Cause(l.ctx)
	}
}

// window takes samples at the begin and the end of the measured time, after the
// warm-up.
func (l *lab) window(take func() (sample, error)) (got peers.Round, err error) {
	if err := l.sleep(l.options.WarmUp); err != nil {
		return got, err
	}
	begin, err := take()
	if err != nil {
		return got, err
	}
	if err := l.sleep(l.options.Duration); err != nil {
		return got, err
	}
	end, err := take()
	return between(begin, end), err
}

// What the kernel charges a socket for, with room to spare: 2304 bytes for a
// message with a packet of 1500, and a little more than itself for one of TCP's
// super-packets of 64 KiB.
const (
	framePrice = 2 * 2304
	superPrice = 1<<16 + 4096
)

// setup is what contestants are told: to have a read buffer that a full queue
// fits into, unless their settings say otherwise. Where it does not, TCP loses
// super-packets, and much of its rate.
func (l *lab) setup(gso bool) setup {
	price := framePrice
	if gso {
		price = superPrice
	}
	return setup{Queue: queue, MaxQueueLen: l.options.MaxQueueLen, ReadBuffer: min(price*l.options.MaxQueueLen, math.MaxInt32), GSO: gso}
}

// queue is the number of every (first) queue.
const queue = 0

// rule is the queue rule for a contestant. Several queues are chosen by the CPU
// that a packet is on.
func (c contestant) rule(hook netlab.Hook, match netlab.Match) netlab.Rule {
	return netlab.Rule{Hook: hook, Match: match, Queue: queue, Queues: c.queues, FanoutCPU: c.queues > 1}
}
