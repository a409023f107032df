package main

import (
	"errors"
	"fmt"
	"syscall"

	"github.com/goipq/goipq/internal/bench/report"
	"github.com/goipq/goipq/internal/flood"
	"github.com/goipq/goipq/internal/netlab"
)

const (
	// maxRouted is the largest packet of the routed links: a jumbo frame's.
	maxRouted = 9000
	usualMTU  = 1500
	// tcpPort is where the servers of connections listen.
	tcpPort = 8080
)

// forwardUDP sends datagrams through a router.
type forwardUDP struct{}

func (forwardUDP) build(o *options) (*site, error) {
	match := netlab.Match{Family: o.family(), L4Proto: syscall.IPPROTO_UDP}
	s, err := route(o, match)
	if err != nil {
		return nil, err
	}
	s.sinks = []sink{{s.server, netlab.Prerouting, match, !o.Latency}}
	s.sent = true
	return s, nil
}

func (forwardUDP) start(s *site, o *options, on report.Placement, sendBuffer int) (*load, error) {
	return startFloods(s, o, on, flood.Config{UDP: true, To: o.testNet(), SendBuffer: sendBuffer})
}

// forwardTCP sends as much as TCP connections take through a router.
type forwardTCP struct{}

func (forwardTCP) build(o *options) (*site, error) { return routeTCP(o) }

func (forwardTCP) start(s *site, o *options, on report.Placement, _ int) (*load, error) {
	return startTCP(s, o, on, 0)
}

// churn makes short TCP connections through a router.
type churn struct{}

func (churn) build(o *options) (*site, error) { return routeTCP(o) }

func (churn) start(s *site, o *options, on report.Placement, _ int) (*load, error) {
	return startTCP(s, o, on, report.ChurnBytes)
}

// route returns a network of client, router and server, joined by veth pairs.
// What matches is queued in the router, where it is forwarded.
func route(o *options, match netlab.Match) (*site, error) {
	s := &site{rule: netlab.Rule{Hook: netlab.Forward, Match: match}}
	for _, ns := range []**netlab.NS{&s.client, &s.at, &s.server} {
		made, err := netlab.New()
		if err != nil {
			return nil, errors.Join(err, s.close())
		}
		*ns = made
		s.spaces = append(s.spaces, made)
	}
	if err := s.wire(o); err != nil {
		return nil, errors.Join(err, s.close())
	}
	return s, nil
}

// wire joins the three namespaces: networks 10.1.0.0/24 and fd00:1::/64 on the
// client's side, 10.2.0.0/24 and fd00:2::/64 on the server's, and the addresses
// for tests behind the server.
func (s *site) wire(o *options) error {
	forwarding := "net.ipv4.ip_forward"
	addr, gate, all := "10.%d.0.%d/24", "10.%d.0.%d", "0.0.0.0/0"
	if o.IPv6 {
		forwarding = "net.ipv6.conf.all.forwarding"
		addr, gate, all = "fd00:%d::%d/64", "fd00:%d::%d", "::/0"
	}
	if err := s.at.Sysctl(forwarding, "1"); err != nil {
		return err
	}
	const near, far = "eth0", "eth%d"
	for i, end := range []*netlab.NS{s.client, s.server} {
		network, link := i+1, fmt.Sprintf(far, i+1)
		if err := inTurn(
			func() error { return netlab.Veth(end, near, s.at, link) },
			func() error { return s.at.Addr(link, fmt.Sprintf(addr, network, 1)) },
			func() error { return end.Addr(near, fmt.Sprintf(addr, network, 2)) },
			func() error { return end.Route(all, fmt.Sprintf(gate, network, 1)) },
			func() error { return end.SetMTU(near, max(usualMTU, o.Size)) },
			func() error { return s.at.SetMTU(link, max(usualMTU, o.Size)) },
		); err != nil {
			return err
		}
	}
	return inTurn(
		func() error { return s.server.Local(o.testNet().String()) },
		func() error { return s.at.Route(o.testNet().String(), fmt.Sprintf(gate, 2, 2)) },
	)
}

// inTurn takes steps until one fails.
func inTurn(steps ...func() error) error {
	for _, step := range steps {
		if err := step(); err != nil {
			return err
		}
	}
	return nil
}

// routeTCP is route for connections, of which both directions are queued.
func routeTCP(o *options) (*site, error) {
	match := netlab.Match{Family: o.family(), L4Proto: syscall.IPPROTO_TCP}
	s, err := route(o, match)
	if err != nil {
		return nil, err
	}
	s.sinks = []sink{
		{s.server, netlab.Prerouting, match, false},
		{s.client, netlab.Prerouting, match, false},
	}
	return s, s.shut()
}

// startTCP starts a server and then a client that share the floods' CPUs.
func startTCP(s *site, o *options, on report.Placement, churn int) (*load, error) {
	l := new(load)
	err := l.add(&l.receivers, s.server, func() (*flood.Flood, error) {
		return flood.StartServer(l.context(), flood.Server{
			Listen: o.anyAddress(tcpPort),
			Answer: churn,
			CPUs:   on.Flood,
		})
	})
	if err != nil {
		return l, err
	}
	return l, l.add(&l.senders, s.client, func() (*flood.Flood, error) {
		return flood.StartClient(l.context(), flood.Client{
			To:      o.testNet(),
			Port:    tcpPort,
			Streams: o.flows(),
			Churn:   churn,
			Rate:    o.Rate,
			CPUs:    on.Flood,
		})
	})
}
