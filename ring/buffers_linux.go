package ring

import "golang.org/x/sys/unix"

// dropPages gives page-aligned memory that holds only zeroes back to the
// kernel. A refusal (a kernel with larger pages finds it misaligned) costs
// resident memory, nothing else.
func dropPages(b []byte) { _ = unix.Madvise(b, unix.MADV_DONTNEED) }
