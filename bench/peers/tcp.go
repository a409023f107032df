//go:build linux

package main

import (
	"errors"
	"fmt"
	"net/netip"
	"time"

	"github.com/goipq/goipq/internal/flood"
	"github.com/goipq/goipq/internal/netlab"
	"github.com/goipq/goipq/internal/peers"
	"golang.org/x/sys/unix"
)

// unqueued is what the others lose against: the same path with a rule that
// counts in the place of the one that queues.
var unqueued = contestant{
	name:     "unqueued",
	title:    "no queue",
	settings: "a rule that counts",
}

const tcpPort = 8080

// behindServer are addresses that networks are tested with (RFC 2544), all of
// them the server's.
var behindServer = netip.MustParsePrefix("198.19.0.0/16")

// tcp is the contest of bulk transfer through a router. The contestant has a
// CPU of its own, which without a queue is idle, or shares all CPUs with client
// and server.
func (l *lab) tcp(shared bool) *contest {
	c := &contest{report: peers.Contest{
		Mode:  peers.TCP,
		Title: "TCP through a router, decided on a CPU of its own",
		Load: fmt.Sprintf("%d TCP connections from a client through a router to a server, joined by veth pairs, queued in the router at FORWARD in both directions, in a queue of %d",
			l.options.Streams, l.options.MaxQueueLen),
		Unit:  "bits/s",
		Bases: []string{unqueued.name, goNFQueueExample.name},
	}}
	r := &c.report
	last := len(l.cpus) - 1
	r.FloodCPUs, r.QueueCPUs = l.cpus[:last], l.cpus[last:]
	if shared {
		r.Mode, r.Title = peers.TCPShared, "TCP through a router, decided where client and server run"
		r.FloodCPUs, r.QueueCPUs = l.cpus, l.cpus
	}
	c.measure = func(one contestant) (got peers.Round, err error) {
		n, err := newRoute()
		if err != nil {
			return got, errors.Join(err, n.close())
		}
		defer func() { err = errors.Join(err, n.close()) }()
		got, err = l.routed(n, one, r)
		got.Value = 8 * perSecond(got, got.Bytes)
		return got, err
	}
	return c
}

// A route is a network of client, router and server.
type route struct {
	client, router, server *netlab.NS
}

func newRoute() (n *route, err error) {
	n = new(route)
	for _, ns := range []**netlab.NS{&n.client, &n.router, &n.server} {
		if *ns, err = netlab.New(); err != nil {
			return n, err
		}
	}
	if err := n.router.Sysctl("net.ipv4.ip_forward", "1"); err != nil {
		return n, err
	}
	for i, end := range []*netlab.NS{n.client, n.server} {
		link, gate := fmt.Sprintf("eth%d", i), fmt.Sprintf("10.%d.0.1", i)
		for _, step := range []func() error{
			func() error { return netlab.Veth(end, "eth0", n.router, link) },
			func() error { return n.router.Addr(link, gate+"/24") },
			func() error { return end.Addr("eth0", fmt.Sprintf("10.%d.0.2/24", i)) },
			func() error { return end.Route("0.0.0.0/0", gate) },
		} {
			if err := step(); err != nil {
				return n, err
			}
		}
	}
	return n, errors.Join(n.server.Local(behindServer.String()), n.router.Route(behindServer.String(), "10.1.0.2"))
}

func (n *route) close() error {
	var errs []error
	for _, ns := range []*netlab.NS{n.client, n.router, n.server} {
		if ns != nil {
			errs = append(errs, ns.Close())
		}
	}
	return errors.Join(errs...)
}

// routed measures the transfer through a contestant.
func (l *lab) routed(n *route, c contestant, r *peers.Contest) (got peers.Round, err error) {
	match := netlab.Match{L4Proto: unix.IPPROTO_TCP}
	if c.command == nil {
		if _, err := n.router.InstallCounter(netlab.Forward, 0, match); err != nil {
			return got, err
		}
		return l.transfer(n, nil, r.FloodCPUs)
	}
	rules, err := n.router.InstallQueue(c.rule(netlab.Forward, match))
	if err != nil {
		return got, err
	}
	proc, err := c.start(l.dir, l.setup(true), n.router, r.QueueCPUs)
	if err != nil {
		return got, err
	}
	got, err = l.transfer(n, proc, r.FloodCPUs)
	k, kernelErr := drained(n.router, rules)
	f, endErr := proc.finish()
	got.Total, got.Kernel, got.Said = f.Total, &k, proc.said()
	return got, errors.Join(err, kernelErr, endErr)
}

// transfer fills the connections and measures.
func (l *lab) transfer(n *route, proc *running, cpus []int) (got peers.Round, err error) {
	var server, client *flood.Flood
	if err := n.server.Do(func() (err error) {
		server, err = flood.StartServer(l.ctx, flood.Server{
			Listen: netip.AddrPortFrom(netip.IPv4Unspecified(), tcpPort),
			CPUs:   cpus,
		})
		return err
	}); err != nil {
		return got, err
	}
	stop := func(f *flood.Flood) {
		if _, stopErr := f.Stop(); err == nil {
			err = stopErr
		}
	}
	defer stop(server)
	if err := n.client.Do(func() (err error) {
		client, err = flood.StartClient(l.ctx, flood.Client{
			To: behindServer, Port: tcpPort, Streams: l.options.Streams, CPUs: cpus,
		})
		return err
	}); err != nil {
		return got, err
	}
	defer stop(client)

	var bytes []uint64
	got, err = l.window(func() (now sample, err error) {
		now.at = time.Now()
		if proc != nil {
			now, err = proc.sample(n.router)
		}
		bytes = append(bytes, server.Stats().Bytes)
		return now, err
	})
	if err == nil {
		got.Bytes = bytes[1] - bytes[0]
	}
	return got, err
}
