package ring

import (
	"testing"
	"unsafe"

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
	places := func(size int, within uintptr) int {
		b := mustNew(t, Config{Batches: 1, Slots: slots, SlotSize: size, RecvSize: size}).TryGet()
		lines := map[uintptr]bool{}
		for i := range slots {
			lines[uintptr(unsafe.Pointer(&b.Slot(i)[0]))%within/64] = true
		}
		return len(lines)
	}
	for _, size := range []int{largeSize + 1, 68 << 10, 70_000} {
		if sets := places(size, pageSize); sets != slots {
			t.Errorf("slots of %d bytes begin in %d sets, want %d", size, sets, slots)
		}
	}
	b := mustNew(t, Config{Batches: 1, Slots: slots, SlotSize: 100, RecvSize: 100}).TryGet()
	first, last := uintptr(unsafe.Pointer(&b.Slot(0)[0])), uintptr(unsafe.Pointer(&b.Slot(slots - 1)[0]))
	if last-first != (slots-1)*128 {
		t.Errorf("%d slots of 100 bytes begin within %d, want whole lines of 64", slots, last-first)
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

// A datagram whose buffer was exchanged stays as it is, and the next one of its slot comes
// into the other buffer; one of another length is refused.
func TestExchange(t *testing.T) {
	recv, send := pair(t)
	b := mustNew(t, Config{Batches: 1, Slots: 2, SlotSize: 100, RecvSize: 50}).TryGet()
	receive := func(text string) {
		t.Helper()
		write(t, send, []byte(text))
		if n, errno := b.Recv(recv); n != 1 || errno != 0 || string(b.Msg(0)) != text {
			t.Fatal(n, errno, b.Msg(0))
		}
	}
	receive("first")
	mine := make([]byte, 100, 200)
	if _, ok := b.Exchange(0, mine[:99]); ok {
		t.Error("a buffer that is too short was taken")
	}
	old, ok := b.Exchange(0, mine)
	if !ok || string(old[:5]) != "first" || len(old) != 100 {
		t.Fatalf("%q, %v", old, ok)
	}
	b.Recycle()
	receive("second")
	if string(old[:5]) != "first" || string(mine[:6]) != "second" || cap(b.Slot(0)) != 100 {
		t.Errorf("%q, %q, %d", old[:6], mine[:6], cap(b.Slot(0)))
	}
}
