package ipq

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

func markSocket(fd uintptr, mark uint32) error {
	err := unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_MARK, int(mark))
	if err != nil {
		return fmt.Errorf("give a socket the mark %#x, which takes CAP_NET_ADMIN or CAP_NET_RAW: %w", mark, os.NewSyscallError("setsockopt", err))
	}
	return nil
}
