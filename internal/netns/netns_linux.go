package netns

import (
	"fmt"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// Dup returns a duplicate of fd, which must be a descriptor of a network
// namespace, such as that of an open /proc/PID/ns/net. It is the caller's to
// close, and lives whatever becomes of fd.
//
// A descriptor that is not open is [syscall.EBADF], one of something else
// [ErrNotNetNS]. That a number was closed and opened again as another network
// namespace before the call cannot be seen.
func Dup(fd int) (*os.File, error) {
	dup, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("descriptor %d is not open: keep its file alive, as by runtime.KeepAlive: %w",
			fd, os.NewSyscallError("fcntl", err))
	}
	f := os.NewFile(uintptr(dup), "network namespace")
	if err := check(dup); err != nil {
		f.Close()
		return nil, fmt.Errorf("descriptor %d: %w", fd, err)
	}
	return f, nil
}

// check returns an error unless fd is of a network namespace, as far as this
// kernel tells: setns(2) tells the rest.
func check(fd int) error {
	var fs unix.Statfs_t
	if err := unix.Fstatfs(fd, &fs); err != nil {
		return os.NewSyscallError("fstatfs", err)
	}
	switch fs.Type {
	case unix.NSFS_MAGIC:
		kind, err := unix.IoctlRetInt(fd, unix.NS_GET_NSTYPE)
		if err != nil || kind == unix.CLONE_NEWNET { // an error: Linux before 4.11
			return nil
		}
	case unix.PROC_SUPER_MAGIC: // Linux before 3.19
		return nil
	}
	return fmt.Errorf("%w: %w", ErrNotNetNS, syscall.EINVAL)
}

// OfSocket returns the network namespace that a socket belongs to, wherever the
// caller is (SIOCGSKNS, Linux 4.10). It is the caller's to close. It needs
// CAP_NET_ADMIN over that namespace, without which it is [syscall.EPERM].
func OfSocket(fd int) (*os.File, error) {
	ns, err := unix.IoctlRetInt(fd, unix.SIOCGSKNS)
	if err != nil {
		return nil, os.NewSyscallError("ioctl SIOCGSKNS", err)
	}
	return os.NewFile(uintptr(ns), "network namespace"), nil
}

// Same reports whether two descriptors are of one namespace.
func Same(a, b int) (bool, error) {
	var x, y unix.Stat_t
	if err := unix.Fstat(a, &x); err != nil {
		return false, os.NewSyscallError("fstat", err)
	}
	if err := unix.Fstat(b, &y); err != nil {
		return false, os.NewSyscallError("fstat", err)
	}
	return x.Dev == y.Dev && x.Ino == y.Ino, nil
}
