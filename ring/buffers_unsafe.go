package ring

import "unsafe"

const (
	pageSize = 4096

	// Beyond largeSize the heap has whole pages for each buffer.
	largeSize = 32 << 10

	// bufferColour is what large buffers begin apart, beyond whole pages. If all began
	// at the same place of a page, the headers of all packets of a batch would fall
	// into the same few sets of a cache that is indexed by address bits 6 to 11; five
	// lines more (5 * 64) spread them, five being prime to the number of sets.
	bufferColour = 5 * 64
)

// NewBuffers returns n buffers of size bytes, as those that a batch receives into; see
// [Batch.Exchange].
//
// They are on the heap, rather than mapped, so that a slice kept too long is a stale
// slice and not a fault, and so that the race detector watches them. Large ones each
// have memory of their own, so that one that is kept keeps no other.
func NewBuffers(n, size int) [][]byte {
	buffers := make([][]byte, n)
	if size <= largeSize { // they stay dense
		stride := (size + 63) / 64 * 64
		slab := make([]byte, n*stride)
		for i := range buffers {
			buffers[i] = slab[i*stride:][:size:size]
		}
		return buffers
	}
	for i := range buffers {
		colour := i * bufferColour % pageSize
		buffers[i] = newUntouched(colour + size)[colour:][:size:size]
	}
	return buffers
}

// newUntouched returns n zero bytes of which few pages are in memory.
func newUntouched(n int) []byte {
	b := make([]byte, n)
	// Memory that the heap had before has just been cleared, which made it
	// resident. Its whole pages can go back: they read as zero until touched.
	addr := uintptr(unsafe.Pointer(&b[0]))
	head := int(-addr & (pageSize - 1))
	if whole := (n - head) &^ (pageSize - 1); n > head && whole > 0 {
		dropPages(b[head : head+whole])
	}
	return b
}
