package main

import (
	"errors"
	"net/netip"
	"syscall"
	"time"

	"github.com/goipq/goipq/internal/bench/report"
	"github.com/goipq/goipq/internal/flood"
	"github.com/goipq/goipq/internal/netlab"
)

// icmp sends echo requests over the loopback link, and queues them where they
// are sent.
type icmp struct{}

// Unless replies are asked for, accepted packets are dropped on arrival. The kernel
// would answer them within the consumer's system call, and the answer costs as much
// CPU as everything else.
func (icmp) build(o *options) (*site, error) {
	return loopback(netlab.Match{Family: o.family(), EchoRequest: true}, !o.Replies)
}

func (icmp) start(s *site, o *options, on report.Placement, sendBuffer int) (*load, error) {
	return startFloods(s, o, on, flood.Config{SendBuffer: sendBuffer})
}

// udp sends datagrams over the loopback link.
type udp struct{}

func (udp) build(o *options) (*site, error) {
	s, err := loopback(netlab.Match{Family: o.family(), L4Proto: syscall.IPPROTO_UDP}, !o.Latency)
	if err != nil || !o.IPv6 {
		return s, err
	}
	// IPv4 has a whole network on loopback, IPv6 one address.
	if err := s.at.Local(testNet6.String()); err != nil {
		return nil, errors.Join(err, s.close())
	}
	return s, nil
}

func (udp) start(s *site, o *options, on report.Placement, sendBuffer int) (*load, error) {
	cfg := flood.Config{UDP: true, SendBuffer: sendBuffer}
	if o.IPv6 {
		cfg.To = testNet6
	}
	return startFloods(s, o, on, cfg)
}

// loopback returns a network of one namespace, in which what matches is queued
// as it is sent.
func loopback(match netlab.Match, drop bool) (*site, error) {
	// In the namespace that Enter made, the kernel shows the drop counters of queues
	// to root of the machine only. So this is another.
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

// startFloods starts a flood like cfg on each of the floods' CPUs.
func startFloods(s *site, o *options, on report.Placement, cfg flood.Config) (*load, error) {
	cfg.IPv6 = o.IPv6
	cfg.Flows = o.flows()
	cfg.Sizes = o.sizes()
	cfg.Rate = o.Rate / float64(len(on.Flood))
	cfg.Timed = o.Latency
	if o.RFC2544 && o.Rate > 0 {
		// A sender that was late must not fill the queue when it catches up.
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

// anyAddress is what servers listen on.
func (o *options) anyAddress(port uint16) netip.AddrPort {
	if o.IPv6 {
		return netip.AddrPortFrom(netip.IPv6Unspecified(), port)
	}
	return netip.AddrPortFrom(netip.IPv4Unspecified(), port)
}
