package doctor

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"syscall"
	"time"

	"github.com/goipq/goipq/internal/netlab"
	"github.com/goipq/goipq/ipq"
)

// sight sends a datagram through a queue on loopback, has it accepted, and
// returns what came with it. It is an error if it does not arrive.
func sight(ns *netlab.NS, cfg ipq.Config, ipv6 bool) (sighting, error) {
	const port = 9 // discard
	to := netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), port)
	if ipv6 {
		to = netip.AddrPortFrom(netip.IPv6Loopback(), port)
	}
	_, err := ns.InstallQueue(netlab.Rule{
		Hook: netlab.Output, Match: netlab.Match{L4Proto: syscall.IPPROTO_UDP, DstPort: port},
	})
	if err != nil {
		return sighting{}, err
	}
	cfg.NetNS, cfg.Workers = ns.FD(), ipq.Inline
	q, err := ipq.Open(cfg)
	if err != nil {
		return sighting{}, err
	}
	var got sighting
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() {
		ended <- q.Run(ctx, ipq.HandlerFunc(func(p *ipq.Packet) ipq.Verdict {
			_, got.uid = p.UID()
			got.context = len(p.SecurityContext()) > 0
			return ipq.Accept
		}))
	}()
	err = ns.Do(func() error { return deliver(to) })
	cancel()
	return got, errors.Join(err, <-ended, q.Close())
}

// deliver sends a datagram and waits until it has arrived.
func deliver(to netip.AddrPort) error {
	server, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(to))
	if err != nil {
		return err
	}
	defer server.Close()
	client, err := net.DialUDP("udp", nil, net.UDPAddrFromAddrPort(to))
	if err != nil {
		return err
	}
	defer client.Close()
	// Far more than a packet spends in a queue on a busy machine.
	if err := server.SetReadDeadline(time.Now().Add(5 * time.Second)); err != nil {
		return err
	}
	if _, err := client.Write([]byte("doctor")); err != nil {
		return err
	}
	if _, err := server.Read(make([]byte, 16)); err != nil {
		return fmt.Errorf("a datagram that was queued and accepted did not arrive: %w", err)
	}
	return nil
}
