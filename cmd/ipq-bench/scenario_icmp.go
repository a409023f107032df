package main

import (
	"github.com/goipq/goipq/internal/flood"
	"github.com/goipq/goipq/internal/netlab"
)

// icmp sends echo requests over the loopback link, and queues them where they
// are sent.
type icmp struct{}

func (icmp) describe(*parameters) string { return "ICMP echo requests on loopback" }

func (icmp) load(p *parameters) string {
	end := "dropped on arrival"
	if p.Replies {
		end = "answered by the kernel"
	}
	return p.packets() + ", " + end
}

// Unless replies are asked for, what the consumer has accepted is dropped on its
// arrival: the kernel would answer within the consumer's own system call, and
// the answer costs as much CPU as everything else.
func (icmp) build(o *options) (*site, error) {
	return loopback(netlab.Match{Family: o.family(), EchoRequest: true}, !o.Replies)
}

func (icmp) start(s *site, o *options, on placement, sendBuffer int) (*load, error) {
	return startFloods(s, o, on, flood.Config{SendBuffer: sendBuffer})
}
