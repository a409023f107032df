package main

import (
	"errors"
	"syscall"

	"github.com/goipq/goipq/internal/flood"
	"github.com/goipq/goipq/internal/netlab"
)

// udp sends datagrams over the loopback link.
type udp struct{}

func (udp) describe(*parameters) string { return "UDP on loopback" }

func (udp) load(p *parameters) string { return p.packets() + p.fate("on arrival") }

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

func (udp) start(s *site, o *options, on placement, sendBuffer int) (*load, error) {
	cfg := flood.Config{UDP: true, SendBuffer: sendBuffer}
	if o.IPv6 {
		cfg.To = testNet6
	}
	return startFloods(s, o, on, cfg)
}
