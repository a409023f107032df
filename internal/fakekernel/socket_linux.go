package fakekernel

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

// Socket is the user's end of a socket pair as mdlayher/netlink wants it:
// netlink.NewConn makes a Conn of it.
type Socket struct {
	*os.File // SyscallConn and deadlines
	Control
	// Closed, if not nil, is called before the socket is closed.
	Closed func()
}

// Close implements netlink.Socket.
func (s *Socket) Close() error {
	if s.Closed != nil {
		s.Closed()
	}
	return s.File.Close()
}

// SetReadBuffer sets SO_RCVBUF.
func (s *Socket) SetReadBuffer(n int) error { return s.setOption(unix.SO_RCVBUF, n) }

// SetWriteBuffer sets SO_SNDBUF.
func (s *Socket) SetWriteBuffer(n int) error { return s.setOption(unix.SO_SNDBUF, n) }

// ReadBuffer returns SO_RCVBUF.
func (s *Socket) ReadBuffer() (int, error) { return s.option(unix.SO_RCVBUF) }

// WriteBuffer returns SO_SNDBUF.
func (s *Socket) WriteBuffer() (int, error) { return s.option(unix.SO_SNDBUF) }

func (s *Socket) setOption(opt, n int) error {
	return s.control(func(fd int) error { return unix.SetsockoptInt(fd, unix.SOL_SOCKET, opt, n) })
}

func (s *Socket) option(opt int) (n int, err error) {
	err = s.control(func(fd int) (err error) {
		n, err = unix.GetsockoptInt(fd, unix.SOL_SOCKET, opt)
		return err
	})
	return n, err
}

func (s *Socket) control(f func(fd int) error) error {
	raw, err := s.SyscallConn()
	if err != nil {
		return err
	}
	var ferr error
	return errors.Join(raw.Control(func(fd uintptr) { ferr = f(int(fd)) }), ferr)
}
