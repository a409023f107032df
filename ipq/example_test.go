package ipq_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"os"
	"os/signal"
	"time"

	"github.com/goipq/goipq/ipq"
)

// Serve queue 0 until ^C, with a pool of workers.
func Example() {
	q, err := ipq.Open(ipq.Config{Queue: 0})
	if err != nil {
		log.Fatal(err)
	}
	defer q.Close()

	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	err = q.Run(ctx, ipq.HandlerFunc(func(p *ipq.Packet) ipq.Verdict {
		if p.Flow().DstPort == 23 {
			return ipq.Drop
		}
		return ipq.Accept
	}))
	if err != nil {
		log.Fatal(err)
	}
	s := q.Stats()
	fmt.Printf("%d accepted, %d dropped, %d lost\n", s.Accepted, s.Dropped, s.QueueDropped+s.SocketDropped)
}

// The fastest for handlers that never block: one queue for each of four CPUs,
// each with a receive loop of its own that runs the handlers. The rule spreads
// packets over them: nft "queue flags fanout,bypass num 0-3".
func ExampleOpen_inline() {
	q, err := ipq.Open(ipq.Config{
		Queue:   0,
		Queues:  4,
		PinCPU:  true,
		Workers: ipq.Inline,
		GSO:     true, // no payload is edited
		SnapLen: 256,  // the handler looks at headers only
	})
	if err != nil {
		log.Fatal(err)
	}
	defer q.Close()
}

// Errors say what was tried and what can be done; programs can tell them apart.
func ExampleOpen_errors() {
	_, err := ipq.Open(ipq.Config{Queue: 3, Conntrack: true})
	var taken *ipq.TakenError
	switch {
	case errors.As(err, &taken):
		fmt.Println("another program reads the queue: port id", taken.PortID)
	case errors.Is(err, os.ErrPermission):
		fmt.Println("not allowed:", err)
	case errors.Is(err, errors.ErrUnsupported):
		fmt.Println("try again without conntrack:", err)
	}
}

// Every packet that says "ping" says "pong" instead. Its lengths and checksums
// are made right.
func ExamplePacket_EditPayload() {
	_ = ipq.HandlerFunc(func(p *ipq.Packet) ipq.Verdict {
		if f := p.Flow(); f.Protocol != 17 || !f.Src.Is4() {
			return ipq.Accept
		}
		b, err := p.EditPayload()
		if err != nil { // truncated, or a GSO super-packet
			return ipq.Accept
		}
		const headers = 20 + 8 // of IPv4 without options, and UDP
		if string(b[min(headers, len(b)):]) == "ping" {
			copy(b[headers:], "pong")
		}
		return ipq.Accept
	})
}

// The rule lets packets with the mark pass: "meta mark 0x1 accept".
func ExampleVerdict_WithMark() {
	seen := ipq.Repeat.WithMark(1)
	fmt.Println(seen)
	fmt.Println(ipq.Requeue(7))
	// Output:
	// repeat, mark 0x1
	// queue 7
}

// libipq's own shape: read a packet, give a verdict.
func ExampleDial() {
	c, err := ipq.Dial(ipq.Config{Queue: 0})
	if err != nil {
		log.Fatal(err)
	}
	defer c.Close()
	for {
		p, err := c.Read(time.Second)
		switch {
		case errors.Is(err, ipq.ErrTimeout):
			continue
		case err != nil:
			log.Fatal(err)
		}
		if err := c.SetVerdict(p.ID(), ipq.Accept, nil); err != nil {
			log.Fatal(err)
		}
	}
}

// Refuse connections to a port so that clients know at once. The answers have a mark by
// which the rules pass them.
func ExampleVerdict_reject() {
	q, err := ipq.Open(ipq.Config{OwnMark: 0x1d})
	if err != nil {
		log.Fatal(err)
	}
	defer q.Close()
	err = q.Run(context.Background(), ipq.HandlerFunc(func(p *ipq.Packet) ipq.Verdict {
		if p.Flow().DstPort == 25 {
			return ipq.Reject
		}
		return ipq.Accept
	}))
	if err != nil {
		log.Fatal(err)
	}
}

// A handler that asks a server about packets it does not know yet. Its questions have a mark,
// which the rules pass before they queue anything: "meta mark 0x1d accept".
func ExampleDialer() {
	const own = 0x1d
	q, err := ipq.Open(ipq.Config{OwnMark: own})
	if err != nil {
		log.Fatal(err)
	}
	defer q.Close()
	server, err := ipq.Dialer(own).Dial("tcp", "policy.example:853")
	if err != nil {
		log.Fatal(err)
	}
	defer server.Close()
}

// Say what is missing before anything is opened.
func ExampleProbe() {
	s, err := ipq.Probe()
	if err != nil {
		log.Fatal(err)
	}
	for name, f := range s.All() {
		if f.State == ipq.Missing || f.State == ipq.Limited {
			fmt.Printf("%s: %s %s\n", name, f.Detail, f.Remedy)
		}
	}
	cfg := ipq.Config{Conntrack: s.Conntrack.State == ipq.Present}
	fmt.Println("connections are known:", cfg.Conntrack)
}
