package ipq

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"os"
	"runtime"

	"github.com/mdlayher/netlink"
	nlsocket "github.com/mdlayher/socket"
	"golang.org/x/sys/unix"

	"github.com/goipq/goipq/internal/netns"
)

// File returns a duplicate of the socket of the queue with number
// [Config.Queue] + i, for handing it to another process, which makes a Queue of
// it with [FromFile]. It is the caller's to close.
//
// The kernel knows the listener of a queue by its socket, not by its process,
// so that a program can be replaced by its next version without a packet being
// lost, in this order:
//
//  1. the old process starts the new one and passes the files, such as by
//     [os/exec.Cmd.ExtraFiles];
//  2. the new one calls FromFile, and says that it is ready;
//  3. the old one calls [Queue.Detach], which returns when everything that it
//     has received is decided, and says so;
//  4. the new one calls [Queue.Run].
//
// Between 3 and 4 packets wait in the kernel, up to [Config.MaxQueueLen]. The new
// process may also run its queue before 3. Each packet is then received, and
// decided, by one of the two, but packets of a flow can overtake each other.
//
// A process that is killed leaves what it had received undecided: the kernel
// drops it only when the last descriptor of the socket is closed, or the queue
// is unbound. A successor decides it with [Queue.Inherit].
//
// From the first call of File on, and with FromFile always, the verdicts on runs
// of packets that [Inline] has otherwise are given one by one: the kernel's
// verdict on a run (NFQNL_MSG_VERDICT_BATCH) decides all packets up to its last,
// and so those that another process has received. It costs what it costs while
// packets are deferred, see [Packet.Defer], and lasts as long as the Queue does,
// because nothing tells when the other process is gone. That others got the
// descriptor in some other way, such as by pidfd_getfd(2), a Queue cannot know:
// use File.
func (q *Queue) File(i int) (*os.File, error) {
	if i < 0 || i >= len(q.conns) {
		return nil, fmt.Errorf("ipq: File(%d): there are %d queues: %w", i, len(q.conns), os.ErrInvalid)
	}
	q.loops[i].deferrals.share()
	s := q.conns[i].sock
	var fd int
	var err error
	if cerr := s.raw.Control(func(sock uintptr) {
		fd, err = unix.FcntlInt(sock, unix.F_DUPFD_CLOEXEC, 0)
	}); cerr != nil {
		return nil, s.fail("file", ErrClosed)
	}
	if err != nil {
		return nil, s.fail("file", os.NewSyscallError("fcntl", err))
	}
	return os.NewFile(uintptr(fd), fmt.Sprintf("queue %d", s.queue)), nil
}

// FromFile makes a Queue of sockets that are bound already, those of another
// process, one for each of [Config.Queues]; see [Queue.File]. The files are
// duplicated, and are the caller's to close. cfg is that of [Open], whose
// errors it returns too; it takes effect on packets that come from now on. The
// network namespace is that of the sockets, wherever the process is:
// [Config.NetNS] may be 0, and must not be another. A socket that does not listen
// on its queue is an error that matches [ErrUnbound], or a [TakenError].
func FromFile(cfg Config, files ...*os.File) (*Queue, error) {
	release, err := cfg.holdNetNS()
	if err != nil {
		return nil, err
	}
	defer release()
	cfg, err = cfg.withDefaults()
	if err != nil {
		return nil, err
	}
	if len(files) != cfg.Queues {
		return nil, fmt.Errorf("%w: %d files for %d queues: %w", ErrConfig, len(files), cfg.Queues, os.ErrInvalid)
	}
	return openQueue(cfg, func(cfg *Config, queue uint16) (*socket, error) {
		return adoptSocket(cfg, queue, files[queue-cfg.Queue])
	})
}

// adoptSocket makes a socket of a file that is bound to a queue.
func adoptSocket(cfg *Config, queue uint16, f *os.File) (*socket, error) {
	fail := func(err error) (*socket, error) {
		return nil, &OpError{Op: "adopt", Queue: queue, Err: err}
	}
	conn, err := nlsocket.FileConn(f, "netlink")
	if err != nil {
		return fail(err)
	}
	portID, err := portIDOf(conn)
	if err != nil {
		conn.Close()
		return fail(err)
	}
	if portID == 0 { // it was bound to nothing, not even as a netlink socket
		conn.Close()
		return fail(errNotBound)
	}
	s, err := newSocket(cfg, queue, netlink.NewConn(adopted{conn}, portID))
	if err != nil {
		conn.Close()
		return fail(err)
	}
	s.adopted = true
	if err := s.openTables(cfg); err != nil {
		s.close()
		return fail(err)
	}
	if owner := s.proc.owner(queue); owner != portID && s.proc.queues != nil {
		s.close()
		if owner == 0 {
			return fail(errNotBound)
		}
		return fail(&TakenError{PortID: owner})
	}
	return s, nil
}

var errNotBound = fmt.Errorf("the socket does not listen on it: %w", ErrUnbound)

// openTables opens the kernel's tables of the network namespace that s belongs
// to, which need not be the caller's.
func (s *socket) openTables(cfg *Config) error {
	ns, err := netns.OfSocket(s.fd)
	switch {
	case errors.Is(err, unix.EPERM):
		return &CapabilityError{Capability: "CAP_NET_ADMIN", Err: unix.EPERM}
	case err != nil: // Linux before 4.10: the caller knows, if anybody does
		return inNetNS(cfg.NetNS, s.proc.open)
	}
	defer ns.Close()
	fd := int(ns.Fd())
	if cfg.NetNS != 0 {
		if same, err := netns.Same(fd, cfg.NetNS); err != nil {
			return err
		} else if !same {
			return fmt.Errorf("the socket belongs to another network namespace than Config.NetNS: leave that 0: %w", os.ErrInvalid)
		}
	}
	// Who is there already needs no right to go there.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	here, err := os.Open(threadNetNS)
	if err != nil {
		return err
	}
	defer here.Close()
	if same, err := netns.Same(fd, int(here.Fd())); err != nil {
		return err
	} else if same {
		return s.proc.open()
	}
	if err := inNetNS(fd, s.proc.open); !errors.Is(err, unix.EPERM) {
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
