package netlab

import (
	"fmt"
	"math"
	"os"
	"slices"

	"golang.org/x/sys/unix"

	"github.com/goipq/goipq/internal/nftexpr"
)

// expand returns the conditions of m, once for each kernel rule that it takes:
// echo requests of both families are two protocols, so they take two. It refuses
// what could never match.
func (m Match) expand() ([][]nftexpr.Condition, error) {
	switch {
	case m.Family != 0 && m.Family != unix.AF_INET && m.Family != unix.AF_INET6:
		return nil, invalid("family %d is neither AF_INET nor AF_INET6", m.Family)
	case m.EchoRequest && (m.L4Proto != 0 || m.DstPort != 0):
		return nil, invalid("EchoRequest excludes L4Proto and DstPort")
	case m.DstPort != 0 && m.L4Proto == 0:
		return nil, invalid("DstPort needs L4Proto")
	case len(m.InDev) >= unix.IFNAMSIZ || len(m.OutDev) >= unix.IFNAMSIZ:
		return nil, invalid("link name over %d bytes", unix.IFNAMSIZ-1)
	}
	if !m.EchoRequest {
		return [][]nftexpr.Condition{m.conditions()}, nil
	}
	echo := nftexpr.EchoRequests(m.Family)
	m.Family = 0 // which the protocol tells
	for i := range echo {
		echo[i] = slices.Concat(m.conditions(), echo[i])
	}
	return echo, nil
}

// conditions returns those that are no matter of EchoRequest.
func (m Match) conditions() []nftexpr.Condition {
	var all []nftexpr.Condition
	if m.Family != 0 {
		all = append(all, nftexpr.Family(m.Family))
	}
	if m.L4Proto != 0 {
		all = append(all, nftexpr.Protocol(m.L4Proto))
	}
	if m.Mark != 0 {
		all = append(all, nftexpr.PacketMark.Is(m.Mark, math.MaxUint32))
	}
	if m.NotMark != 0 {
		all = append(all, nftexpr.PacketMark.Is(m.NotMark, math.MaxUint32).Not())
	}
	if m.InDev != "" {
		all = append(all, nftexpr.InDev(m.InDev))
	}
	if m.OutDev != "" {
		all = append(all, nftexpr.OutDev(m.OutDev))
	}
	if m.DstPort != 0 {
		all = append(all, nftexpr.DstPort(m.DstPort))
	}
	return all
}

// queue returns the queues that the rule fills.
func (r Rule) queue() (nftexpr.Queue, error) {
	// The last number is 65535; so is the highest count, even from 0 on.
	limit := min(1<<16-int(r.Queue), math.MaxUint16)
	if r.Queues < 0 || r.Queues > limit {
		return nftexpr.Queue{}, invalid("%d queues from queue %d on: at most %d are possible", r.Queues, r.Queue, limit)
	}
	return nftexpr.Queue{First: r.Queue, Count: uint16(max(r.Queues, 1)), Bypass: r.Bypass, FanoutCPU: r.FanoutCPU}, nil
}

func invalid(format string, args ...any) error {
	return fmt.Errorf("netlab: rule: "+format+": %w", append(args, os.ErrInvalid)...)
}
