// Settle inspects the first packets of each flow that it is given, drops UDP to
// port 9, and has the kernel decide the rest of every flow. It makes its own
// rules, at the output hook, and removes them when it is interrupted.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log"
	"log/slog"
	"os"
	"os/signal"
	"syscall"

	"github.com/goipq/goipq/ipq"
	"github.com/goipq/goipq/ipq/bypass"
)

func decide(p *ipq.Packet) ipq.Verdict {
	switch f := p.Flow(); {
	case f.Unknown: // what the receiver will make of it cannot be told
		return ipq.Drop
	case f.Protocol == syscall.IPPROTO_UDP && f.DstPort == 9:
		return ipq.Drop.Bypass()
	}
	return ipq.Accept
}

func main() {
	packets := flag.Uint64("packets", 10, "packets of each flow to inspect")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := settle(ctx, *packets); err != nil {
		log.Fatal(err)
	}
}

// settle serves the queue until ctx ends. What it has made goes in the opposite
// order, also after an error: rules that stay would go on deciding.
func settle(ctx context.Context, packets uint64) (err error) {
	b, err := bypass.New(bypass.Config{Logger: slog.Default()})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, b.Close()) }()
	rules, err := b.Install(bypass.Rules{
		Hook:  ipq.Output,
		Match: []bypass.Match{{Protocol: syscall.IPPROTO_UDP}},
		Queue: 0,
	})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, rules.Remove()) }()
	handler, err := b.Inspect(ipq.HandlerFunc(decide), bypass.Inspection{Packets: packets})
	if err != nil {
		return err
	}
	q, err := ipq.Open(ipq.Config{Queue: 0, Bypass: b})
	if err != nil {
		return err
	}
	fmt.Println("waiting for packets")
	err = errors.Join(q.Run(ctx, handler), q.Close())

	c, countErr := rules.Counters()
	fmt.Printf("queued %d packets, the kernel accepted %d and dropped %d\n", c.Queued.Packets, c.Accepted.Packets, c.Dropped.Packets)
	return errors.Join(err, countErr)
}
