//go:build linux

package main

import (
	"context"

	"github.com/goipq/goipq/ipq"
)

// goipq with its defaults, in both of its modes. The pool has two workers on
// the one CPU that every consumer has.
var (
	goipqInline = goipq("goipq-inline", ipq.Inline)
	goipqPool   = goipq("goipq-pool", 2)
)

func goipq(name string, workers int) consumer {
	return goConsumer(name, 1, func(s setup, m *meter) error {
		q, err := ipq.Open(ipq.Config{Queue: s.Queue, MaxLen: s.MaxLen, ReadBuffer: s.ReadBuffer, Workers: workers})
		if err != nil {
			return err
		}
		defer q.Close()
		m.count = func() uint64 { return q.Stats().Verdicts }
		ctx, cancel := context.WithCancel(context.Background())
		go func() {
			<-m.done
			cancel()
		}()
		if err := m.ready(); err != nil {
			cancel()
			return err
		}
		return q.Run(ctx, ipq.HandlerFunc(func(*ipq.Packet) ipq.Verdict { return ipq.Accept }))
	})
}
