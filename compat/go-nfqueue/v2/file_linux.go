package nfqueue

import (
	"os"

	"golang.org/x/sys/unix"
)

// duplicate returns another descriptor of a socket.
func duplicate(fd uintptr) (*os.File, error) {
	dup, err := unix.FcntlInt(fd, unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return nil, os.NewSyscallError("fcntl", err)
	}
	return os.NewFile(uintptr(dup), "netlink"), nil
}

// discard takes one datagram out of a socket, or says why there is none.
func discard(fd uintptr) error {
	var b [1]byte // the rest goes, too
	_, _, err := unix.Recvfrom(int(fd), b[:], unix.MSG_DONTWAIT)
	return err
}
