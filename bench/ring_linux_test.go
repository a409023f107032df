package bench

import (
	"fmt"
	"testing"

	"github.com/goipq/goipq/internal/zerocopy"
	"github.com/goipq/goipq/ring"
	"golang.org/x/sys/unix"
)

// BenchmarkRing receives packets in batches of at most 1, 16 and 64. An
// operation is a packet.
func BenchmarkRing(b *testing.B) {
	for _, batch := range []int{1, 16, 64} {
		b.Run(fmt.Sprintf("batch=%d", batch), func(b *testing.B) { benchRing(b, batch) })
	}
}

func benchRing(b *testing.B, slots int) {
	const slotSize = 2048
	r, err := ring.New(ring.Config{
		Batches: 2, Slots: slots, SlotSize: slotSize, RecvSize: slotSize, VerdictSize: zerocopy.MaxVerdictLen,
	})
	if err != nil {
		b.Fatal(err)
	}
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		b.Fatal(err)
	}
	defer unix.Close(fds[0])
	defer unix.Close(fds[1])
	msg := packetMessage(udp4(64))

	b.ReportAllocs()
	b.ResetTimer()
	for left := b.N; left > 0; {
		// Filling the socket is not the ring's work. A round is long enough to
		// hide what stopping the timer costs, and fits into the usual send
		// buffer: 64 packets of at most 1 KiB as the kernel counts, of 208 KiB
		// (net.core.wmem_default).
		const round = 64
		b.StopTimer()
		filled := min(left, round)
		for range filled {
			if _, err := unix.Write(fds[0], msg); err != nil {
				b.Fatal(err)
			}
		}
		b.StartTimer()
		for got := 0; got < filled; {
			batch, err := r.Get(b.Context())
			if err != nil {
				b.Fatal(err)
			}
			n, errno := batch.Recv(fds[1])
			if errno != 0 {
				b.Fatal(errno)
			}
			got += n
			r.Put(batch)
		}
		left -= filled
	}
}
