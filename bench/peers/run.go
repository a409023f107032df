//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"time"

	"github.com/goipq/goipq/internal/flood"
	"github.com/goipq/goipq/internal/netlab"
	"golang.org/x/sys/unix"
)

const (
	floodCPU    = 0
	consumerCPU = 1

	warmUp = 300 * time.Millisecond

	// drainTime is how long the queue may take to run empty after the flood.
	drainTime = 2 * time.Second
)

// A lab measures consumers one at a time in the private namespace of this
// process.
type lab struct {
	ctx      context.Context // ends with the program
	ns       *netlab.NS
	dir      string // for programs that must be built
	load     flood.Config
	setup    setup
	duration time.Duration
}

// A result is one consumer's part of a round.
type result struct {
	Consumer string `json:"consumer"`
	Round    int    `json:"round"`
	figures
	Rate         float64 `json:"packets_per_second"`
	CPUPerPacket float64 `json:"cpu_nanos_per_packet"`
	Sent         uint64  `json:"sent"`    // by the flood, warm-up included
	Refused      uint64  `json:"refused"` // to the flood by its own socket
	Kernel       kernel  `json:"kernel"`
	// Disagreement says how the kernel's count differs from the consumer's
	// or the flood's; empty when all agree.
	Disagreement string `json:"disagreement,omitempty"`
	Said         string `json:"said,omitempty"` // by the consumer, of its troubles
}

// measure runs one consumer under the load.
func (l *lab) measure(c consumer) (res result, err error) {
	rules, err := l.ns.InstallQueue(netlab.Rule{
		Hook:      netlab.Output,
		Match:     netlab.Match{EchoRequest: true},
		Queue:     l.setup.Queue,
		Queues:    c.queues,
		FanoutCPU: c.queues > 1,
	})
	if err != nil {
		return res, err
	}
	// The consumer is gone by then, so no packet waits.
	defer func() { err = errors.Join(err, rules.Remove()) }()

	r, err := c.start(l.dir, l.setup, consumerCPU)
	if err != nil {
		return res, err
	}
	f, err := flood.Start(l.ctx, l.load)
	if err != nil {
		r.kill()
		return res, err
	}
	l.sleep(warmUp)
	r.cmd.Process.Signal(unix.SIGUSR1)
	l.sleep(l.duration)
	r.cmd.Process.Signal(unix.SIGUSR2)
	sent, err := f.Stop()
	if err != nil {
		r.kill()
		return res, err
	}
	k, kernelErr := l.drained(rules)
	got, err := r.finish()
	if err = errors.Join(err, kernelErr); err != nil {
		return res, err
	}
	return result{
		Consumer:     c.name,
		figures:      got,
		Rate:         got.rate(),
		CPUPerPacket: got.cpuPerPacket(),
		Sent:         sent.Sent,
		Refused:      sent.Refused,
		Kernel:       k,
		Disagreement: k.compare(sent.Sent, got.Total),
		Said:         r.said(),
	}, nil
}

// sleep returns early when the program is told to end; the flood has then ended
// too, with an error.
func (l *lab) sleep(d time.Duration) {
	select {
	case <-time.After(d):
	case <-l.ctx.Done():
	}
}

// kernel is the kernel's own account of a run.
type kernel struct {
	Matched uint64 `json:"matched"` // packets that met the queue rule
	// Known is false for an ordinary user, who may not read the rest.
	Known       bool   `json:"known"`
	Waiting     uint64 `json:"waiting"`      // still, drainTime after the flood
	Delivered   uint64 `json:"delivered"`    // to the consumer's socket
	Dropped     uint64 `json:"dropped"`      // the queue was full
	UserDropped uint64 `json:"user_dropped"` // the socket was full
}

// drained waits until no packet waits in a queue, at most drainTime, and reads
// the kernel's counters.
func (l *lab) drained(rules *netlab.Ruleset) (kernel, error) {
	var k kernel
	counters, err := rules.Counters()
	if err != nil {
		return k, err
	}
	for _, c := range counters {
		k.Matched += c.Packets
	}
	for deadline := time.Now().Add(drainTime); ; time.Sleep(10 * time.Millisecond) {
		stats, err := l.ns.QueueStats()
		if errors.Is(err, fs.ErrPermission) {
			time.Sleep(drainTime / 10) // there is no way to see it
			return k, nil
		}
		if err != nil {
			return k, err
		}
		k = kernel{Matched: k.Matched, Known: true}
		for _, s := range stats {
			k.Waiting += uint64(s.Waiting)
			// A packet that the socket refused has had an id.
			k.Delivered += uint64(s.IDSequence - s.UserDropped)
			k.Dropped += uint64(s.Dropped)
			k.UserDropped += uint64(s.UserDropped)
		}
		if k.Waiting == 0 || time.Now().After(deadline) {
			return k, nil
		}
	}
}

// compare holds the kernel's account against what both processes say.
func (k kernel) compare(sent, decided uint64) string {
	switch {
	case k.Matched != sent:
		return fmt.Sprintf("the flood sent %d packets, the rule met %d", sent, k.Matched)
	case k.Known && k.Delivered+k.Dropped+k.UserDropped != sent:
		return fmt.Sprintf("the flood sent %d packets, the queue knows of %d", sent, k.Delivered+k.Dropped+k.UserDropped)
	case k.Waiting > 0:
		return fmt.Sprintf("%d packets had no verdict %v after the flood", k.Waiting, drainTime)
	case k.Known && k.Delivered != decided:
		return fmt.Sprintf("the kernel delivered %d packets, the consumer decided %d", k.Delivered, decided)
	default:
		return ""
	}
}
