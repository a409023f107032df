package main

import (
	"fmt"
	"syscall"

	"github.com/goipq/goipq/internal/flood"
	"github.com/goipq/goipq/internal/netlab"
)

// forwardUDP sends datagrams through a router.
type forwardUDP struct{}

func (forwardUDP) describe(*parameters) string { return "UDP through a router between veth pairs" }

func (forwardUDP) load(p *parameters) string { return p.packets() + p.fate("at the server") }

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

func (forwardUDP) start(s *site, o *options, on placement, sendBuffer int) (*load, error) {
	return startFloods(s, o, on, flood.Config{UDP: true, To: o.testNet(), SendBuffer: sendBuffer})
}

// forwardTCP sends as much as TCP connections take through a router.
type forwardTCP struct{}

func (forwardTCP) describe(p *parameters) string {
	return "TCP in both directions through a router between veth pairs" + p.segments()
}

func (forwardTCP) load(p *parameters) string {
	return fmt.Sprintf("%s%s, each as fast as TCP goes, to a server that reads and drops",
		plural(p.Flows, "connection"), p.over())
}

func (forwardTCP) build(o *options) (*site, error) { return routeTCP(o) }

func (forwardTCP) start(s *site, o *options, on placement, _ int) (*load, error) {
	return startTCP(s, o, on, 0)
}
