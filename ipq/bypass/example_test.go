package bypass_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"log/slog"
	"time"

	"github.com/goipq/goipq/ipq"
	"github.com/goipq/goipq/ipq/bypass"
)

// Inspect the first ten packets of each forwarded flow, and accept the rest in
// the kernel, with another look every gigabyte.
func Example() {
	b, err := bypass.New(bypass.Config{
		Limits: bypass.Limits{MaxBytes: 1 << 30},
		Logger: slog.Default(),
	})
	if err != nil {
		log.Fatal(err)
	}
	rules, err := b.Install(bypass.Rules{Hook: ipq.Forward, Queue: 0})
	if err != nil {
		log.Fatal(err)
	}
	q, err := ipq.Open(ipq.Config{Queue: 0, GSO: true, Bypass: b})
	if err != nil {
		log.Fatal(err)
	}
	inspect := ipq.HandlerFunc(func(p *ipq.Packet) ipq.Verdict {
		if p.Flow().DstPort == 23 {
			return ipq.Drop.Bypass()
		}
		return ipq.Accept
	})
	handler, err := b.Inspect(inspect, bypass.Inspection{Packets: 10})
	if err != nil {
		log.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Hour)
	defer cancel()
	if err := errors.Join(q.Run(ctx, handler), q.Close(), rules.Remove(), b.Close()); err != nil {
		log.Fatal(err)
	}
}

// Flows of which the kernel has decided over a million packets.
func ExampleTable_Iterate() {
	var b *bypass.Bypasser // of bypass.New

	err := b.Table().Iterate(func(f ipq.Flow, e bypass.Entry) bool {
		if e.Packets > 1_000_000 {
			fmt.Println(f, e.Verdict, e.Packets, e.LastSeen)
		}
		return true
	})
	if err != nil {
		log.Fatal(err)
	}
}

// The commands for rules that are kept elsewhere.
func ExampleBypasser_Lines() {
	b, err := bypass.New(bypass.Config{PinDir: "/sys/fs/bpf/goipq"})
	if err != nil {
		log.Fatal(err)
	}
	lines, err := b.Lines(bypass.Rules{Hook: ipq.Forward, Queue: 0, QueueBypass: true})
	if err != nil {
		log.Fatal(err)
	}
	for _, line := range lines {
		fmt.Println(line)
	}
}
