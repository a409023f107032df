//go:build linux

package main

import (
	"context"

	"github.com/goipq/goipq/ipq"
)

// goipq with its defaults in both of its modes, the read buffer apart, which all
// have in common; and with two queues.
var (
	goipqInline = goipq(contestant{
		name:     "goipq-inline",
		title:    "goipq, inline",
		settings: "Workers: Inline; GSO in tcp",
	}, ipq.Config{Workers: ipq.Inline})

	// Two workers, also where there is one CPU for both.
	goipqPool = goipq(contestant{
		name:     "goipq-pool",
		title:    "goipq, pool of 2",
		settings: "Workers: 2; GSO in tcp",
	}, ipq.Config{Workers: 2})

	// For who decides by addresses and ports: the copy is most of what a
	// super-packet costs.
	goipqHeaders = goipq(contestant{
		name:     "goipq-headers",
		title:    "goipq, inline, headers only",
		settings: "Workers: Inline, SnapLen: 128; GSO in tcp",
	}, ipq.Config{Workers: ipq.Inline, SnapLen: 128})

	goipqTwoQueues = goipq(contestant{
		name:     "goipq-two-queues",
		title:    "goipq, two queues",
		settings: "Workers: Inline, Queues: 2, PinCPU, the rule's fan-out by CPU; two CPUs, shared with the floods where there are no others",
		queues:   2,
	}, ipq.Config{Workers: ipq.Inline, Queues: 2, PinCPU: true})
)

func goipq(c contestant, cfg ipq.Config) contestant {
	return inGo(c, func(s setup, m *meter) error {
		cfg.Queue, cfg.MaxQueueLen, cfg.ReadBuffer, cfg.GSO = s.Queue, s.MaxQueueLen, s.ReadBuffer, s.GSO
		q, err := ipq.Open(cfg)
		if err != nil {
			return err
		}
		defer q.Close()
		m.count = func() uint64 { return q.Stats().Verdicts }
		ctx, cancel := context.WithCancel(context.Background())
		defer cancel()
		go func() {
			<-m.done
			cancel()
		}()
		if err := m.ready(); err != nil {
			return err
		}
		return q.Run(ctx, ipq.HandlerFunc(func(*ipq.Packet) ipq.Verdict { return ipq.Accept }))
	})
}
