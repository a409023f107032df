package nfsock

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"os"

	"github.com/mdlayher/netlink"
	nlsocket "github.com/mdlayher/socket"
	"golang.org/x/sys/unix"

	"github.com/goipq/goipq/internal/netns"
	"github.com/goipq/goipq/internal/zerocopy"
)

// Adopt makes a Socket of a file that another process has bound to the queue.
// The file is duplicated. A socket that does not listen on the queue is a
// [*Refusal].
func Adopt(o *Options, f *os.File) (*Socket, error) {
	s, portID, err := ofFile(o, f)
	if err != nil {
		return nil, err
	}
	s.adopted = true
	if owner := s.tables.owner(o.Queue); owner != portID && s.tables.queues != nil {
		s.Close()
		if owner == 0 {
			return nil, &Refusal{Cause: NotBound}
		}
		return nil, &Refusal{Cause: Taken, PortID: owner}
	}
	return s, nil
}

// HandsOver says whether sockets can be handed over to other processes here.
const HandsOver = true

// File returns a duplicate of the socket, which [Adopt] takes in another process. It is
// the caller's to close.
func (s *Socket) File() (*os.File, error) {
	var fd int
	var err error
	if cerr := s.raw.Control(func(sock uintptr) {
		fd, err = unix.FcntlInt(sock, unix.F_DUPFD_CLOEXEC, 0)
	}); cerr != nil {
		return nil, os.ErrClosed
	}
	if err != nil {
		return nil, os.NewSyscallError("fcntl", err)
	}
	return os.NewFile(uintptr(fd), fmt.Sprintf("queue %d", s.queue)), nil
}

// Take makes a Socket of a file that listens on no queue: Bind binds it. The file is
// duplicated.
func Take(o *Options, f *os.File) (*Socket, error) {
	s, _, err := ofFile(o, f)
	if err != nil || s.tables.queues != nil {
		return s, err
	}
	// As in Dial: a message has the kernel load the module.
	_, _ = s.ask(func(ae *netlink.AttributeEncoder) { putCommand(ae, zerocopy.CmdPFUnbind) })
	s.tables.close()
	if err := s.openTables(o); err != nil {
		s.Close()
		return nil, err
	}
	return s, nil
}

// ofFile makes a Socket of a file, which it duplicates.
func ofFile(o *Options, f *os.File) (s *Socket, portID uint32, err error) {
	conn, err := nlsocket.FileConn(f, "netlink")
	if err != nil {
		return nil, 0, err
	}
	portID, err = portIDOf(conn)
	if err == nil && portID == 0 { // it was bound to nothing, not even as a netlink socket
		err = &Refusal{Cause: NotBound}
	}
	if err == nil {
		s, err = New(o, netlink.NewConn(adopted{conn}, portID))
	}
	if err != nil {
		conn.Close()
		return nil, 0, err
	}
	s.kernels = true
	if err := s.openTables(o); err != nil {
		s.Close()
		return nil, 0, err
	}
	return s, portID, nil
}

// openTables opens the kernel's tables of the network namespace that s belongs
// to, which need not be the caller's.
func (s *Socket) openTables(o *Options) error {
	ns, err := netns.OfSocket(s.fd)
	switch {
	case errors.Is(err, unix.EPERM):
		return &Refusal{Cause: NotPermitted, Errno: unix.EPERM}
	case err != nil: // Linux before 4.10: the caller knows, if anybody does
		return netns.Visit(o.NetNS, s.tables.open)
	}
	defer ns.Close()
	fd := int(ns.Fd())
	if o.NetNS != 0 {
		if same, err := netns.Same(fd, o.NetNS); err != nil {
			return err
		} else if !same {
			return fmt.Errorf("the socket belongs to another network namespace than Config.NetNS: leave that 0: %w", os.ErrInvalid)
		}
	}
	if err := netns.Visit(fd, s.tables.open); !errors.Is(err, unix.EPERM) {
		return err
	}
	return nil // without the tables, as for others who may not read them
}

// portIDOf returns the port id of a socket, which must be one for netfilter.
func portIDOf(conn *nlsocket.Conn) (uint32, error) {
	addr, err := conn.Getsockname()
	if err != nil {
		return 0, err
	}
	nl, ok := addr.(*unix.SockaddrNetlink)
	if !ok {
		return 0, fmt.Errorf("not a netlink socket: %w", os.ErrInvalid)
	}
	if proto, err := conn.GetsockoptInt(unix.SOL_SOCKET, unix.SO_PROTOCOL); err != nil || proto != unix.NETLINK_NETFILTER {
		return 0, fmt.Errorf("not a netlink socket for netfilter (protocol %d): %w", proto, errors.Join(err, os.ErrInvalid))
	}
	return nl.Pid, nil
}

// adopted is a socket as mdlayher/netlink wants it, which dials its own.
type adopted struct{ *nlsocket.Conn }

// Send implements netlink.Socket.
func (a adopted) Send(m netlink.Message) error {
	b, err := m.MarshalBinary()
	if err != nil {
		return err
	}
	return a.Sendto(context.Background(), b, 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK})
}

// SendMessages implements netlink.Socket.
func (a adopted) SendMessages(ms []netlink.Message) error {
	for _, m := range ms {
		if err := a.Send(m); err != nil {
			return err
		}
	}
	return nil
}

// Receive is not how packets are received.
func (a adopted) Receive() ([]netlink.Message, error) { return nil, errors.ErrUnsupported }

// ReceiveIter is not how packets are received.
func (a adopted) ReceiveIter() iter.Seq2[netlink.Message, error] {
	return func(yield func(netlink.Message, error) bool) { yield(netlink.Message{}, errors.ErrUnsupported) }
}

// SetOption sets the two options that a queue has.
func (a adopted) SetOption(option netlink.ConnOption, enable bool) error {
	number, ok := map[netlink.ConnOption]int{
		netlink.NoENOBUFS:      unix.NETLINK_NO_ENOBUFS,
		netlink.CapAcknowledge: unix.NETLINK_CAP_ACK,
	}[option]
	if !ok {
		return errors.ErrUnsupported
	}
	value := 0
	if enable {
		value = 1
	}
	return a.SetsockoptInt(unix.SOL_NETLINK, number, value)
}
