//go:build linux

package ring_test

import (
	"context"
	"fmt"
	"log"

	"golang.org/x/sys/unix"

	"github.com/goipq/goipq/ring"
)

func Example() {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET, 0)
	if err != nil {
		log.Fatal(err)
	}
	r, err := ring.New(ring.Config{Batches: 2, Slots: 16, SlotSize: 2048, RecvSize: 2048})
	if err != nil {
		log.Fatal(err)
	}

	// Three slices leave as one datagram, and another as a second.
	g := ring.NewGather(3, 1)
	for _, s := range []string{"many pieces, ", "one ", "write"} {
		g.Add([]byte(s))
	}
	g.Send(fds[0])
	g.Reset()
	g.Add([]byte("another"))
	g.Send(fds[0])

	// One call receives both.
	b, err := r.Get(context.Background())
	if err != nil {
		log.Fatal(err)
	}
	n, errno := b.Recv(fds[1])
	if errno != 0 {
		log.Fatal(errno)
	}
	for i := range n {
		fmt.Printf("%s\n", b.Msg(i))
	}
	r.Put(b)
	// Output:
	// many pieces, one write
	// another
}
