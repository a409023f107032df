//go:build linux

package main

import (
	"errors"
	"fmt"
	"os/exec"
	"strconv"
	"time"

	"github.com/goipq/goipq/internal/flood"
	"github.com/goipq/goipq/internal/netlab"
	"github.com/goipq/goipq/internal/peers"
	"golang.org/x/sys/unix"
)

// The generators: the least that a program can do, and the flood that feeds the
// other contests and ipq-bench.
var (
	bareSender = contestant{
		name:     "c-sendmmsg",
		title:    "C, sendmmsg",
		settings: "packets that were made beforehand, over and over",
		needs:    []need{compiler},
	}
	ourFlood = contestant{
		name:     "flood",
		title:    "ipq-bench's flood",
		settings: "each packet numbered and sent to its flow",
	}
)

const (
	floodFlows = 256
	floodBurst = 32
	floodRoom  = 64 << 20 // bytes of send buffer
)

// generator is the contest of what one CPU can send, with nothing queued: what
// arrives on loopback is counted, and dropped, before anybody else sees it.
func (l *lab) generator(udp bool) *contest {
	kind, mode := "ICMP echo requests", peers.Generator
	if udp {
		kind, mode = "UDP datagrams", peers.GeneratorUDP
	}
	c := &contest{report: peers.Contest{
		Mode:  mode,
		Title: kind + " that one CPU sends in a second",
		Load: fmt.Sprintf("%s of %d bytes over %d flows on loopback, %d for each sendmmsg, counted and dropped at PREROUTING, not queued",
			kind, l.options.Size, floodFlows, floodBurst),
		Unit:      "packets/s",
		Bases:     []string{bareSender.name},
		FloodCPUs: l.cpus[:1],
	}}
	match := netlab.Match{EchoRequest: true}
	if udp {
		match = netlab.Match{L4Proto: unix.IPPROTO_UDP}
	}
	c.measure = func(one contestant) (got peers.Round, err error) {
		ns, err := netlab.New()
		if err != nil {
			return got, err
		}
		defer func() { err = errors.Join(err, ns.Close()) }()
		arrived, err := ns.InstallDrop(netlab.Prerouting, 0, match)
		if err != nil {
			return got, err
		}
		if one.name == ourFlood.name {
			got, err = l.runFlood(ns, arrived, udp)
		} else {
			got, err = l.runSender(ns, arrived, udp)
		}
		got.Value = perSecond(got, got.Packets)
		return got, err
	}
	return c
}

// runFlood measures our own generator.
func (l *lab) runFlood(ns *netlab.NS, arrived *netlab.Ruleset, udp bool) (got peers.Round, err error) {
	var f *flood.Flood
	if err := ns.Do(func() (err error) {
		f, err = flood.Start(l.ctx, flood.Config{
			UDP: udp, Size: l.options.Size, Flows: floodFlows, Burst: floodBurst, SendBuffer: floodRoom, CPUs: l.cpus[:1],
		})
		return err
	}); err != nil {
		return got, err
	}
	got, err = l.arrivals(arrived, func() time.Duration { return f.Stats().CPU })
	st, stopErr := f.Stop()
	got.Sent, got.Refused = st.Sent, st.Refused
	return got, errors.Join(err, stopErr)
}

// runSender measures the bare loop in C.
func (l *lab) runSender(ns *netlab.NS, arrived *netlab.Ruleset, udp bool) (got peers.Round, err error) {
	one := bareSender
	one.command = func(dir string, _ setup) (*exec.Cmd, error) {
		program, err := build(dir, "send")
		kind := "icmp"
		if udp {
			kind = "udp"
		}
		return exec.Command(program, kind, strconv.Itoa(l.options.Size), strconv.Itoa(floodFlows),
			strconv.Itoa(floodBurst), strconv.Itoa(floodRoom)), err
	}
	proc, err := one.start(l.dir, setup{}, ns, l.cpus[:1])
	if err != nil {
		return got, err
	}
	got, err = l.arrivals(arrived, proc.processCPU)
	f, endErr := proc.finish()
	got.Sent = f.Total
	return got, errors.Join(err, endErr)
}

// arrivals counts, with the kernel's own counter, what arrives in the measured
// time.
func (l *lab) arrivals(arrived *netlab.Ruleset, cpu func() time.Duration) (peers.Round, error) {
	return l.window(func() (sample, error) {
		all, err := arrived.Counters()
		if err != nil {
			return sample{}, err
		}
		return sample{time.Now(), all[0].Packets, cpu()}, nil
	})
}
