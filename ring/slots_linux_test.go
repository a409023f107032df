package ring

import (
	"testing"

	"golang.org/x/sys/unix"
)

// A batch is empty once it is recycled, and once a receive has failed.
func TestBatchesAreEmptiedByRecycleAndError(t *testing.T) {
	recv, send := pair(t)
	b := mustNew(t, small).TryGet()
	for what, empty := range map[string]func(){
		"Recycle": b.Recycle,
		"a receive that fails": func() {
			if n, errno := b.Recv(recv); n != 0 || errno != unix.EAGAIN {
				t.Errorf("empty socket: %d, %v", n, errno)
			}
		},
	} {
		write(t, send, []byte("text"))
		if n, errno := b.Recv(recv); n != 1 || errno != 0 || b.Len() != 1 {
			t.Fatal(n, errno)
		}
		if empty(); b.Len() != 0 {
			t.Errorf("%d datagrams after %s", b.Len(), what)
		}
	}
}

// The headers of large slots lie in different sets of the cache, and small
// slots in few lines.
func TestSlotsAreSpread(t *testing.T) {
	const slots = 16
	first := func(size int) (offsets map[int]bool, bytes int) {
		b := mustNew(t, Config{Batches: 1, Slots: slots, SlotSize: size, RecvSize: size}).TryGet()
		offsets = map[int]bool{}
		for i := range slots {
			offsets[i*b.stride%pageSize/64] = true
		}
		return offsets, len(b.slab)
	}
	for _, size := range []int{pageSize, 68 << 10, 70_000} {
		if sets, _ := first(size); len(sets) != slots {
			t.Errorf("slots of %d bytes begin in %d sets, want %d", size, len(sets), slots)
		}
	}
	if _, bytes := first(100); bytes != slots*128 {
		t.Errorf("slots of 100 bytes take %d, want whole lines of 64", bytes)
	}
}

// A datagram can grow within its slot, and no further.
func TestMessagesEndWithTheirSlot(t *testing.T) {
	recv, send := pair(t)
	b := mustNew(t, Config{Batches: 1, Slots: 2, SlotSize: 100, RecvSize: 50}).TryGet()
	write(t, send, []byte("text"))
	if n, errno := b.Recv(recv); n != 1 || errno != 0 {
		t.Fatal(n, errno)
	}
	if c := cap(b.Msg(0)); c != 100 {
		t.Errorf("a message may grow to %d bytes in a slot of 100", c)
	}
}
