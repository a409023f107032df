package nftconn

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/goipq/goipq/internal/netns"
)

// ErrChanged is returned by [Conn.Commit] when somebody has changed the
// namespace's rules since the generation that the transaction was made for.
var ErrChanged = errors.New("the rules were changed meanwhile")

// A Refused says which change of a transaction the kernel did not make. Then it
// has made none.
type Refused struct {
	What  string // as the change was called; "" for one without a name
	Errno syscall.Errno
}

// Error implements error.
func (e *Refused) Error() string {
	if e.What == "" {
		return e.Errno.Error()
	}
	return fmt.Sprintf("%s: %v", e.What, e.Errno)
}

// Unwrap returns the errno.
func (e *Refused) Unwrap() error { return e.Errno }

// A Conn is a netlink socket. It is for one goroutine at a time.
type Conn struct {
	fd     int
	number uint32 // of the last message
	buf    []byte
}

// room is for one answer: 32 KiB are the most that the kernel puts in one.
const room = 64 << 10

// Dial opens a socket in the network namespace ns, or the caller's for 0.
func Dial(ns int) (*Conn, error) {
	c := &Conn{fd: -1}
	err := netns.Visit(ns, func() (err error) {
		c.fd, err = open(0)
		return err
	})
	if err != nil {
		return nil, err
	}
	// So that a refusal does not bring back what was refused. And nothing waits
	// for ever for an answer, which the kernel gives at once.
	err = errors.Join(
		os.NewSyscallError("setsockopt", unix.SetsockoptInt(c.fd, unix.SOL_NETLINK, unix.NETLINK_CAP_ACK, 1)),
		os.NewSyscallError("setsockopt", unix.SetsockoptTimeval(c.fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Sec: 30})),
	)
	if err != nil {
		c.Close()
		return nil, err
	}
	c.buf = make([]byte, room)
	return c, nil
}

func open(flags int) (fd int, err error) {
	fd, err = unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC|flags, unix.NETLINK_NETFILTER)
	if err != nil {
		return -1, os.NewSyscallError("socket", err)
	}
	if err := unix.Bind(fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		unix.Close(fd)
		return -1, os.NewSyscallError("bind", err)
	}
	return fd, nil
}

// Close closes the socket.
func (c *Conn) Close() error { return os.NewSyscallError("close", unix.Close(c.fd)) }

// MaxBatch returns how large a transaction may be, having asked the kernel for
// as much as want takes. A transaction is one message to the socket, which the
// send buffer must hold, and net.core.wmem_max limits that of a user without
// CAP_NET_ADMIN in the initial user namespace.
func (c *Conn) MaxBatch(want int) int {
	const overhead = 32 // netlink_sendmsg: len > sk->sk_sndbuf - 32
	have := func() int {
		n, err := unix.GetsockoptInt(c.fd, unix.SOL_SOCKET, unix.SO_SNDBUF)
		if err != nil {
			return 0
		}
		return n - overhead
	}
	if have() < want { // the kernel doubles what it is told
		if unix.SetsockoptInt(c.fd, unix.SOL_SOCKET, unix.SO_SNDBUFFORCE, want) != nil {
			unix.SetsockoptInt(c.fd, unix.SOL_SOCKET, unix.SO_SNDBUF, want)
		}
	}
	return have()
}

// Commit has the kernel make all changes of the batch, or none, which an error
// says: [ErrChanged] if the namespace's rules are not of that generation any more,
// but with 0 that does not matter; or a [Refused]. The batch must fit, see
// [Conn.MaxBatch].
//
// When it returns, no packet is on its way through former rules any more. So what
// Commit does next meets no packet that is two generations behind: the kernel has
// two sets of rules, and a packet that started with one of them jumps to what stands
// in its place by then.
func (c *Conn) Commit(b *Batch, generation uint32) error {
	if b.err != nil || b.Empty() {
		return b.err
	}
	first := c.number + 1 // the number of the message that begins it
	last := first + uint32(len(b.changes))
	c.number = last + 1
	if err := unix.Sendto(c.fd, b.encode(first, generation), 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		return os.NewSyscallError("sendto", err)
	}
	// The kernel has answered within sendto. It goes on behind what it refuses,
	// so that the first is what counts.
	refused, errno := last+1, syscall.Errno(0)
	acknowledged := false
	for {
		n, err := c.receive(unix.MSG_DONTWAIT)
		if errors.Is(err, unix.EAGAIN) {
			break
		}
		if err != nil {
			return err
		}
		for m := range messages(c.buf[:n]) {
			if m.typ != unix.NLMSG_ERROR || m.number < first || m.number > last {
				continue
			}
			code := m.errno()
			acknowledged = acknowledged || code == 0
			if code != 0 && m.number < refused {
				refused, errno = m.number, code
			}
		}
	}
	switch {
	case errno == unix.ERESTART && refused == first:
		return ErrChanged
	case errno != 0 && refused > first:
		return &Refused{What: b.changes[refused-first-1].what, Errno: errno}
	case errno != 0:
		return &Refused{Errno: errno}
	case !acknowledged:
		return errors.New("the kernel has not answered to a transaction")
	}
	if !b.fresh { // else there are no former rules to be on the way through
		settle()
	}
	return nil
}

const (
	membarrierGlobal = 1 // MEMBARRIER_CMD_GLOBAL: synchronize_rcu, Linux 4.3
	// longTraversal is for kernels that do not offer it, as those with nohz_full
	// CPUs: no packet takes so long through its rules.
	longTraversal = 50 * time.Millisecond
)

// settle waits until every packet that was on its way through the rules has left
// them: rules run inside of RCU's read sides.
func settle() {
	if _, _, errno := unix.Syscall(unix.SYS_MEMBARRIER, membarrierGlobal, 0, 0); errno != 0 {
		time.Sleep(longTraversal)
	}
}

func (c *Conn) receive(flags int) (int, error) {
	for {
		n, _, err := unix.Recvfrom(c.fd, c.buf, flags)
		if err == nil {
			return n, nil
		}
		if !errors.Is(err, unix.EINTR) {
			return 0, os.NewSyscallError("recvfrom", err)
		}
	}
}

// ask sends a request and hands its answers to each. With unix.NLM_F_DUMP in
// flags there are any number.
func (c *Conn) ask(typ, flags uint16, family uint8, body attrs, each func([]byte)) error {
	c.number++
	request := appendMessage(nil, unix.NFNL_SUBSYS_NFTABLES<<8|typ, unix.NLM_F_REQUEST|flags, c.number, family, 0, body)
	if err := unix.Sendto(c.fd, request, 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		return os.NewSyscallError("sendto", err)
	}
	for {
		n, err := c.receive(0)
		if err != nil {
			return err
		}
		for m := range messages(c.buf[:n]) {
			switch {
			case m.number != c.number:
			case m.typ == unix.NLMSG_DONE, m.typ == unix.NLMSG_ERROR:
				if errno := m.errno(); errno != 0 {
					return errno
				}
				return nil
			case len(m.data) >= 4:
				each(m.data)
				if flags&unix.NLM_F_DUMP == 0 {
					return nil
				}
			}
		}
	}
}

type message struct {
	typ    uint16
	number uint32
	port   uint32
	data   []byte // from struct nfgenmsg on
}

// errno returns what an NLMSG_ERROR or NLMSG_DONE says, 0 for no error.
func (m message) errno() syscall.Errno {
	if len(m.data) < 4 {
		return unix.EBADMSG
	}
	return syscall.Errno(-int32(binary.NativeEndian.Uint32(m.data)))
}

// messages returns the messages in a datagram.
func messages(b []byte) func(func(message) bool) {
	return func(yield func(message) bool) {
		for len(b) >= unix.SizeofNlMsghdr {
			n := int(binary.NativeEndian.Uint32(b))
			if n < unix.SizeofNlMsghdr || n > len(b) {
				return
			}
			m := message{
				typ:    binary.NativeEndian.Uint16(b[4:]),
				number: binary.NativeEndian.Uint32(b[8:]),
				port:   binary.NativeEndian.Uint32(b[12:]),
				data:   b[unix.SizeofNlMsghdr:n],
			}
			if !yield(m) {
				return
			}
			b = b[min(len(b), (n+3)&^3):]
		}
	}
}
