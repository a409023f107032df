package fakekernel

import (
	"os"
	"syscall"
	"time"
)

// A memoryConn is the user's end of a memory, as mdlayher/netlink wants it.
type memoryConn struct {
	Control
	poller         *poller
	closing        func()
	received, sent int // sizes of the buffers
}

func newMemoryConn(config Control, closing func()) *memoryConn {
	return &memoryConn{Control: config, poller: newPoller(), closing: closing, received: maxDatagram, sent: maxDatagram}
}

// Close implements netlink.Socket.
func (c *memoryConn) Close() error {
	c.closing()
	if !c.poller.close() {
		return os.ErrClosed
	}
	return nil
}

// SyscallConn implements syscall.Conn.
func (c *memoryConn) SyscallConn() (syscall.RawConn, error) { return c.poller, nil }

// SetDeadline sets the deadline for reads: writes never wait.
func (c *memoryConn) SetDeadline(t time.Time) error { return c.poller.setDeadline(t) }

// SetReadDeadline sets the deadline for reads.
func (c *memoryConn) SetReadDeadline(t time.Time) error { return c.poller.setDeadline(t) }

// SetWriteDeadline does nothing: writes never wait.
func (c *memoryConn) SetWriteDeadline(time.Time) error { return nil }

// SetReadBuffer and SetWriteBuffer remember a size. Like the kernel, a memoryConn counts
// twice as much. Neither is a limit.
func (c *memoryConn) SetReadBuffer(n int) error  { c.received = 2 * n; return nil }
func (c *memoryConn) SetWriteBuffer(n int) error { c.sent = 2 * n; return nil }

// ReadBuffer and WriteBuffer return the sizes.
func (c *memoryConn) ReadBuffer() (int, error)  { return c.received, nil }
func (c *memoryConn) WriteBuffer() (int, error) { return c.sent, nil }
