// Accept reads the packets of a queue and accepts every one of them: the
// example program of the libipq(3) manual page, written with goipq.
//
// As on that page, give it something to do with
//
//	iptables -A OUTPUT -p icmp -j QUEUE
//	ip6tables -A OUTPUT -p icmpv6 -j QUEUE
//
// "QUEUE" is queue 0, which is the one that the program reads. IPv4 and IPv6
// come out of the same queue. (Where iptables is made of nftables and the
// kernel is without its queue expression, this wants iptables-legacy.)
//
// With -v it prints a line for each packet. It ends with ^C. Without it, or
// anything else that reads the queue, such packets are dropped, so delete the
// rules, too.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/goipq/goipq/ipq"
)

// copyRange is how much of each packet the kernel copies: BUFSIZE on the
// manual page. Packets may be longer; they are accepted whole.
const copyRange = 2048

func main() {
	log.SetFlags(0)
	log.SetPrefix("accept: ")
	verbose := flag.Bool("v", false, "print a line for each packet")
	flag.Parse()

	if err := run(*verbose); err != nil {
		log.Fatal(err)
	}
}

func run(verbose bool) error {
	// ipq_create_handle and ipq_set_mode
	conn, err := ipq.Dial(ipq.Config{Queue: 0, Copy: ipq.CopyPacket, SnapLen: copyRange})
	if err != nil {
		return err
	}
	defer conn.Close() // ipq_destroy_handle

	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	log.Print("reading queue 0, ^C ends it")
	accepted, err := acceptAll(ctx, conn, verbose)
	log.Printf("%d packets accepted", accepted)
	return err
}

// acceptAll accepts packets until ctx has ended and those are read that came
// before, or conn fails, and returns how many.
func acceptAll(ctx context.Context, conn *ipq.Conn, verbose bool) (accepted int, err error) {
	for end := (time.Time{}); ; {
		timeout := 100 * time.Millisecond // within which it looks at ctx
		if ctx.Err() != nil {
			timeout = -1 // what is there already, for a second at the most
			if end.IsZero() {
				end = time.Now().Add(time.Second)
			}
			if time.Now().After(end) {
				return accepted, nil
			}
		}
		p, err := conn.Read(timeout) // ipq_read
		var refused *ipq.VerdictError
		switch {
		case errors.Is(err, ipq.ErrTimeout):
			if timeout < 0 {
				return accepted, nil
			}
			continue
		case errors.As(err, &refused): // NLMSG_ERROR, ipq_get_msgerr
			log.Print(refused)
			continue
		case err != nil:
			return accepted, err
		}
		if verbose { // IPQM_PACKET, ipq_get_packet
			fmt.Printf("packet %d at %v: %v, %d bytes\n", p.ID(), p.Hook(), p.Flow(), p.Len())
		}
		// ipq_set_verdict
		if err := conn.SetVerdict(p.ID(), ipq.Accept, nil); err != nil {
			return accepted, err
		}
		accepted++
	}
}
