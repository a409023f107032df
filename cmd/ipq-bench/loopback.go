package main

import (
	"fmt"
	"net/netip"
	"time"

	"github.com/goipq/goipq/internal/flood"
	"github.com/goipq/goipq/internal/netlab"
)

// loopback returns a network of one namespace, in which what matches is queued
// as it is sent.
func loopback(match netlab.Match, drop bool) (*site, error) {
	// Not the namespace that Enter made: there, the kernel shows its queues'
	// drop counters to root of the machine only.
	lab, err := netlab.New()
	if err != nil {
		return nil, err
	}
	return &site{
		client: lab, at: lab, server: lab,
		spaces: []*netlab.NS{lab},
		rule:   netlab.Rule{Hook: netlab.Output, Match: match},
		sinks:  []sink{{lab, netlab.Input, match, drop}},
		sent:   true,
	}, nil
}

// startFloods starts a flood on each CPU for them, like cfg.
func startFloods(s *site, o *options, on placement, cfg flood.Config) (*load, error) {
	cfg.IPv6 = o.IPv6
	cfg.Flows = o.flows()
	cfg.Sizes = o.sizes()
	cfg.Rate = o.Rate / float64(len(on.Flood))
	cfg.Timed = o.Latency
	if o.RFC2544 && o.Rate > 0 {
		// A sender that was late must not fill the queue with what it makes up for.
		cfg.CatchUp = time.Duration(float64(o.MaxQueueLen) / 4 / o.Rate * float64(time.Second))
	}
	l := new(load)
	if o.Latency {
		if err := l.add(&l.receivers, s.server, func() (*flood.Flood, error) {
			return flood.StartReceiver(l.context(), flood.Receiver{Listen: o.anyAddress(flood.UDPPort), CPUs: on.Flood})
		}); err != nil {
			return l, err
		}
	}
	for _, cpu := range on.Flood {
		cfg.CPUs = []int{cpu}
		if err := l.add(&l.senders, s.client, func() (*flood.Flood, error) {
			return flood.Start(l.context(), cfg)
		}); err != nil {
			return l, err
		}
	}
	return l, nil
}

// packets describes a flood of packets.
func (p *parameters) packets() string {
	size := fmt.Sprintf("%d-byte packets", p.Size)
	if p.IMIX {
		size = "packets of 64, 576 and 1500 bytes as 7:4:1"
	}
	rate := "at full speed"
	switch {
	case p.Trial > 0:
		rate = "at the rates of the search"
	case p.Rate > 0:
		rate = fixed(p.Rate, 0) + "/s"
	}
	return fmt.Sprintf("%s%s, %s flows, %s", size, p.over(), commas(uint64(p.Flows)), rate)
}

// fate says what becomes of datagrams at the end of their path.
func (p *parameters) fate(where string) string {
	if p.Latency {
		return ", timed " + where
	}
	return ", dropped " + where
}

// over says which IP it is when it is not the usual one.
func (p *parameters) over() string {
	if p.IPv6 {
		return " over IPv6"
	}
	return ""
}

// anyAddress is what servers listen on.
func (o *options) anyAddress(port uint16) netip.AddrPort {
	if o.IPv6 {
		return netip.AddrPortFrom(netip.IPv6Unspecified(), port)
	}
	return netip.AddrPortFrom(netip.IPv4Unspecified(), port)
}
