package ring

import "unsafe"

// newSlab returns n zero bytes of the Go heap. They are on the heap, rather
// than mapped, so that a slice kept too long is a stale slice and not a fault,
// and so that the race detector watches them.
func newSlab(n int) []byte {
	slab := make([]byte, n)
	// Memory that the heap had before has just been cleared, which made it
	// resident. Its whole pages can go back: they read as zero until touched.
	addr := uintptr(unsafe.Pointer(&slab[0]))
	head := int(-addr & (pageSize - 1))
	if whole := (n - head) &^ (pageSize - 1); n > head && whole > 0 {
		dropPages(slab[head : head+whole])
	}
	return slab
}
