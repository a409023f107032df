package nfsock

import (
	"os"
	"runtime"
	"unsafe"

	"golang.org/x/sys/unix"
)

// ProbeEBPF has the kernel make an eBPF table such as ipq/bypass has, which takes the
// rights that its programs take, and gives it up again.
func ProbeEBPF() error {
	// The beginning of union bpf_attr, for BPF_MAP_CREATE.
	attr := struct{ mapType, keySize, valueSize, maxEntries, flags uint32 }{unix.BPF_MAP_TYPE_LRU_HASH, 4, 4, 1, 0}
	fd, _, errno := unix.Syscall(unix.SYS_BPF, unix.BPF_MAP_CREATE, uintptr(unsafe.Pointer(&attr)), unsafe.Sizeof(attr))
	runtime.KeepAlive(&attr)
	if errno != 0 {
		return os.NewSyscallError("bpf BPF_MAP_CREATE", errno)
	}
	return os.NewSyscallError("close", unix.Close(int(fd)))
}
