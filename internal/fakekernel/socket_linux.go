package fakekernel

import (
	"errors"
	"iter"
	"os"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// socket is the user's end as mdlayher/netlink wants it.
type socket struct {
	*os.File // SyscallConn, deadlines and Close
	k        *Kernel
}

func (s *socket) Send(m netlink.Message) error { return s.k.config(m) }

func (s *socket) SendMessages(ms []netlink.Message) error {
	for _, m := range ms {
		if err := s.k.config(m); err != nil {
			return err
		}
	}
	return nil
}

// Receive is not how packets are received.
func (s *socket) Receive() ([]netlink.Message, error) { return nil, errors.ErrUnsupported }

// ReceiveIter is not how packets are received.
func (s *socket) ReceiveIter() iter.Seq2[netlink.Message, error] {
	return func(yield func(netlink.Message, error) bool) { yield(netlink.Message{}, errors.ErrUnsupported) }
}

func (s *socket) SetOption(netlink.ConnOption, bool) error { return nil }

func (s *socket) SetReadBuffer(n int) error  { return s.setOption(unix.SO_RCVBUF, n) }
func (s *socket) SetWriteBuffer(n int) error { return s.setOption(unix.SO_SNDBUF, n) }

func (s *socket) ReadBuffer() (int, error)  { return s.option(unix.SO_RCVBUF) }
func (s *socket) WriteBuffer() (int, error) { return s.option(unix.SO_SNDBUF) }

func (s *socket) setOption(opt, n int) error {
	return s.control(func(fd int) error { return unix.SetsockoptInt(fd, unix.SOL_SOCKET, opt, n) })
}

func (s *socket) option(opt int) (n int, err error) {
	err = s.control(func(fd int) (err error) {
		n, err = unix.GetsockoptInt(fd, unix.SOL_SOCKET, opt)
		return err
	})
	return n, err
}

func (s *socket) control(f func(fd int) error) error {
	raw, err := s.SyscallConn()
	if err != nil {
		return err
	}
	var ferr error
	return errors.Join(raw.Control(func(fd uintptr) { ferr = f(int(fd)) }), ferr)
}
