// Embed is the least program that decides packets with goipq: it drops UDP to
// port 9 and accepts everything else that comes to queue 0.
package main

import (
	"context"
	"errors"
	"fmt"
	"log"
	"os"
	"os/signal"
	"syscall"

	"github.com/goipq/goipq/ipq"
)

func decide(p *ipq.Packet) ipq.Verdict {
	switch f := p.Flow(); {
	case f.Unknown: // what the receiver will make of it cannot be told
		return ipq.Drop
	case f.Protocol == syscall.IPPROTO_UDP && (f.DstPort == 9 || f.Fragment): // fragments show no ports
		return ipq.Drop
	}
	return ipq.Accept
}

func main() {
	q, err := ipq.Open(ipq.Config{Queue: 0})
	if err != nil {
		log.Fatal(err)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	err = errors.Join(q.Run(ctx, ipq.HandlerFunc(decide)), q.Close())

	s := q.Stats()
	fmt.Printf("%d packets: %d accepted, %d dropped\n", s.Received, s.Accepted, s.Dropped)
	if err != nil {
		log.Fatal(err)
	}
}
