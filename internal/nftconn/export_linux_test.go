package nftconn

import "golang.org/x/sys/unix"

// ShrinkReceiveBuffer makes the receive buffer as small as the kernel lets it be.
func (c *Conn) ShrinkReceiveBuffer() error {
	return unix.SetsockoptInt(c.fd, unix.SOL_SOCKET, unix.SO_RCVBUF, 1)
}
