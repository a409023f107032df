package nfsock

import (
	"errors"
	"os"
	"syscall"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"

	"github.com/goipq/goipq/internal/netns"
	"github.com/goipq/goipq/internal/zerocopy"
)

// Dial opens a socket, and does not bind it.
func Dial(o *Options) (*Socket, error) {
	nl, err := netlink.Dial(unix.NETLINK_NETFILTER, &netlink.Config{NetNS: o.NetNS})
	if err != nil {
		return nil, err
	}
	s, err := New(o, nl)
	if err != nil {
		nl.Close()
		return nil, err
	}
	s.kernels = true
	err = netns.Visit(o.NetNS, s.tables.open)
	if err == nil && s.tables.queues == nil {
		// It may not be read, or nobody has used a queue yet: then there is none
		// until a message has the kernel load the module. PF_UNBIND does nothing
		// else, and what refuses it will refuse the bind, too.
		_, _ = s.ask(func(ae *netlink.AttributeEncoder) { putCommand(ae, zerocopy.CmdPFUnbind) })
		s.tables.close()
		err = netns.Visit(o.NetNS, s.tables.open)
	}
	if err != nil {
		s.Close()
		return nil, err
	}
	return s, nil
}

// look reads the first message in the socket, which stays there if it only peeks. It
// returns 0 if there is none.
func (s *Socket) look(buf []byte, peek bool) (n int, err error) {
	var errno syscall.Errno
	cerr := s.raw.Control(func(fd uintptr) { n, errno = Recv(int(fd), buf, peek) })
	switch {
	case cerr != nil:
		return 0, cerr
	case errno == unix.EAGAIN, errno == 0:
		return n, nil
	}
	return n, os.NewSyscallError("recvfrom", errno)
}

// Recv reads the first message in a socket, or as much of it as buf has room for. The
// message stays there if it only peeks. It does not wait for one.
func Recv(fd int, buf []byte, peek bool) (n int, errno syscall.Errno) {
	flags := unix.MSG_DONTWAIT
	if peek {
		flags |= unix.MSG_PEEK
	}
	n, _, err := unix.Recvfrom(fd, buf, flags)
	if errors.As(err, &errno) {
		return 0, errno
	}
	return n, 0
}

// visit runs f on a thread in the network namespace that s belongs to.
func (s *Socket) visit(f func() error) error {
	if !s.kernels {
		return errors.ErrUnsupported
	}
	var ns *os.File
	var err error
	if cerr := s.raw.Control(func(fd uintptr) { ns, err = netns.OfSocket(int(fd)) }); cerr != nil || err != nil {
		return errors.Join(cerr, err)
	}
	defer ns.Close()
	return netns.Visit(int(ns.Fd()), f)
}
