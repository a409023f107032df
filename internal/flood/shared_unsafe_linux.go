package flood

import (
	"fmt"
	"os"
	"unsafe"

	"golang.org/x/sys/unix"
)

// shared is the memory that parent and child both map. The child writes it; the parent
// clears the lag, see Flood.TakeMaxLag.
type shared struct {
	counters
	latency Latencies
}

const sharedLen = int(unsafe.Sizeof(shared{}))

// newSharedFile makes the memory file that both processes map.
func newSharedFile() (*os.File, error) {
	fd, err := unix.MemfdCreate("goipq-flood", unix.MFD_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("flood: memfd_create: %w", err)
	}
	f := os.NewFile(uintptr(fd), "goipq-flood")
	if err := f.Truncate(int64(sharedLen)); err != nil {
		f.Close()
		return nil, fmt.Errorf("flood: counters: %w", err)
	}
	return f, nil
}

// mapShared maps the memory of fd until unmap is called.
func mapShared(fd, prot int) (s *shared, unmap func() error, err error) {
	mem, err := unix.Mmap(fd, 0, sharedLen, prot, unix.MAP_SHARED)
	if err != nil {
		return nil, nil, fmt.Errorf("flood: map counters: %w", err)
	}
	return (*shared)(unsafe.Pointer(&mem[0])), func() error { return unix.Munmap(mem) }, nil
}
