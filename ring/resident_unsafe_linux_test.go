package ring

import (
	"runtime"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"
)

// residentPages counts the pages behind b that are in memory.
func residentPages(t *testing.T, b []byte) int {
	t.Helper()
	start := uintptr(unsafe.Pointer(&b[0])) &^ (pageSize - 1)
	pages := (uintptr(unsafe.Pointer(&b[0])) + uintptr(len(b)) - start + pageSize - 1) / pageSize
	vec := make([]byte, pages)
	if _, _, errno := unix.Syscall(unix.SYS_MINCORE, start, pages*pageSize, uintptr(unsafe.Pointer(&vec[0]))); errno != 0 {
		t.Fatal(errno)
	}
	runtime.KeepAlive(b)
	n := 0
	for _, v := range vec {
		n += int(v & 1)
	}
	return n
}

// A slot for the largest packet costs memory only as far as packets reach,
// also when the heap had the memory in use before.
func TestLargeSlotsAreNotResident(t *testing.T) {
	cfg := Config{Batches: 4, Slots: 16, SlotSize: 68 << 10, RecvSize: 66 << 10}
	resident := func(b *Batch) (n int) {
		for i := range b.Slots() {
			n += residentPages(t, b.Slot(i))
		}
		return n
	}
	for round := range 3 {
		dirty := make([]byte, 16<<20)
		for i := range dirty {
			dirty[i] = 1
		}
		runtime.KeepAlive(dirty)
		dirty = nil
		runtime.GC()

		r := mustNew(t, cfg)
		for _, b := range r.Batches() {
			// The ends of a buffer share their pages with others.
			if n := resident(b); n > 2*cfg.Slots {
				t.Fatalf("round %d: batch %d has %d resident pages before use", round, b.Index(), n)
			}
		}
		recv, send := pair(t)
		for range cfg.Slots {
			write(t, send, make([]byte, 100))
		}
		b := r.TryGet()
		if n, errno := b.Recv(recv); n != cfg.Slots || errno != 0 {
			t.Fatal(n, errno)
		}
		if n := resident(b); n > 3*cfg.Slots {
			t.Errorf("round %d: %d small packets made %d pages resident", round, cfg.Slots, n)
		}
	}
}
