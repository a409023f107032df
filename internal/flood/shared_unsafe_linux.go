package flood

import (
	"fmt"
	"os"
	"unsafe"

	"golang.org/x/sys/unix"
)

const countersLen = int(unsafe.Sizeof(counters{}))

// newCountersFile makes the memory file that both processes map.
func newCountersFile() (*os.File, error) {
	fd, err := unix.MemfdCreate("goipq-flood", unix.MFD_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("flood: memfd_create: %w", err)
	}
	f := os.NewFile(uintptr(fd), "goipq-flood")
	if err := f.Truncate(int64(countersLen)); err != nil {
		f.Close()
		return nil, fmt.Errorf("flood: counters: %w", err)
	}
	return f, nil
}

// mapCounters maps the counters of fd until unmap is called.
func mapCounters(fd, prot int) (c *counters, unmap func() error, err error) {
	mem, err := unix.Mmap(fd, 0, countersLen, prot, unix.MAP_SHARED)
	if err != nil {
		return nil, nil, fmt.Errorf("flood: map counters: %w", err)
	}
	return (*counters)(unsafe.Pointer(&mem[0])), func() error { return unix.Munmap(mem) }, nil
}
