//go:build linux

package main

import (
	"errors"
	"fmt"
	"slices"

	"github.com/goipq/goipq/internal/flood"
	"github.com/goipq/goipq/internal/netlab"
	"github.com/goipq/goipq/internal/peers"
)

// usualSendBuffer is the kernel's default (net.core.wmem_default). A flood that
// shares its CPU with a contestant has it: it waits when 256 of its small
// packets are queued, rather than spend the CPU that would decide them on
// packets that find the queue full.
const usualSendBuffer = 212992

// packets is the contest on loopback: echo requests as fast as they go, or at a
// rate that all should carry.
func (l *lab) packets(paced bool) *contest {
	o := &l.options
	c := &contest{report: peers.Contest{
		Mode:  peers.Saturated,
		Title: "Packets decided in a second, when there are always more",
		Unit:  "packets/s",
		Bases: []string{goNFQueue.name, bareBatch.name, clientOverGoNFQueue.name},
	}}
	r := &c.report
	r.FloodCPUs, r.QueueCPUs = l.place(1)
	how := "as fast as they go"
	if paced {
		r.Mode = peers.Paced
		r.Title = fmt.Sprintf("CPU time of a packet, at %.0f a second", o.Rate)
		r.Unit, r.LessIsBetter = "CPU ns/packet", true
		r.FloodCPUs = r.FloodCPUs[:1]
		how = fmt.Sprintf("%.0f a second", o.Rate)
	} else {
		r.Shared = o.Share == "yes" || o.Share == "auto" && len(l.cpus) == 2
	}
	r.Load = fmt.Sprintf("ICMP echo requests of %d bytes over 256 flows on loopback, %s, queued at OUTPUT in a queue of %d", o.Size, how, o.MaxQueueLen)
	c.measure = func(one contestant) (peers.Round, error) {
		got, err := l.flooded(one, r)
		got.Value = perSecond(got, got.Packets)
		if paced && got.Packets > 0 {
			got.Value = float64(got.CPU) / float64(got.Packets)
		}
		return got, err
	}
	return c
}

// place says on which CPUs floods and a contestant with that many queues run.
// Where there are enough, two floods feed each queue, so that they offer more
// than it can carry. The rule's fan-out puts what CPU c sends into queue c mod
// queues.
func (l *lab) place(queues int) (floods, contestant []int) {
	n := len(l.cpus)
	switch {
	case n >= 3*queues:
		return l.cpus[:2*queues], l.cpus[2*queues : 3*queues]
	case n >= 2*queues:
		return l.cpus[:queues], l.cpus[queues : 2*queues]
	}
	return l.cpus[:queues], l.cpus[:queues]
}

// flooded measures one contestant under floods on loopback.
func (l *lab) flooded(c contestant, r *peers.Contest) (got peers.Round, err error) {
	ns, err := netlab.New()
	if err != nil {
		return got, err
	}
	defer func() { err = errors.Join(err, ns.Close()) }()
	if !l.options.Replies {
		// An accepted request goes as far as ICMP, and the answer to it would
		// be made within the contestant's verdict: as much work again, and the
		// same for all.
		if err := ns.Sysctl("net.ipv4.icmp_echo_ignore_all", "1"); err != nil {
			return got, err
		}
	}
	rules, err := ns.InstallQueue(c.rule(netlab.Output, netlab.Match{EchoRequest: true}))
	if err != nil {
		return got, err
	}
	cpus, on := r.QueueCPUs, r.FloodCPUs
	if c.queues > 1 {
		on, cpus = l.place(c.queues)
	}
	proc, err := c.start(l.dir, l.setup(false), ns, cpus)
	if err != nil {
		return got, err
	}
	if r.Shared {
		defer startHog(r.QueueCPUs[len(r.QueueCPUs)-1])()
	}
	var sent flood.Stats
	got, sent, err = l.flood(ns, proc, on, cpus, r.Mode == peers.Paced)
	if err != nil {
		proc.kill()
		return got, err
	}
	k, kernelErr := drained(ns, rules)
	f, err := proc.finish()
	got.Total, got.Sent, got.Refused, got.Kernel, got.Said = f.Total, sent.Sent, sent.Refused, &k, proc.said()
	got.Disagreement = compare(&k, got.Sent, got.Total)
	return got, errors.Join(err, kernelErr)
}

// flood sends from each of the CPUs on while the contestant on cpus is warmed up
// and measured.
func (l *lab) flood(ns *netlab.NS, proc *running, on, cpus []int, paced bool) (got peers.Round, sum flood.Stats, err error) {
	var floods []*flood.Flood
	defer func() {
		for _, f := range floods {
			st, stopErr := f.Stop()
			sum.Sent += st.Sent
			sum.Refused += st.Refused
			err = errors.Join(err, stopErr)
		}
	}()
	for _, cpu := range on {
		cfg := flood.Config{Size: l.options.Size, CPUs: []int{cpu}}
		if paced {
			cfg.Rate = l.options.Rate / float64(len(on))
		}
		if slices.Contains(cpus, cpu) {
			cfg.SendBuffer = usualSendBuffer
		}
		err = ns.Do(func() error {
			f, err := flood.Start(l.ctx, cfg)
			if err == nil {
				floods = append(floods, f)
			}
			return err
		})
		if err != nil {
			return got, sum, err
		}
	}
	got, err = l.window(func() (sample, error) { return proc.sample(ns) })
	return got, sum, err
}
