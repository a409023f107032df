package nfsock

import (
	"errors"
	"fmt"
	"os"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"

	"github.com/goipq/goipq/internal/netns"
	"github.com/goipq/goipq/internal/zerocopy"
)

const (
	// sendOverhead is what netlink_sendmsg keeps free of SO_SNDBUF.
	sendOverhead = 32
	// maxAutoReadBuffer bounds the receive buffer that is sized from QueueLen.
	maxAutoReadBuffer = 64 << 20
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

// New makes a Socket of nl, and sets its options.
func New(o *Options, nl *netlink.Conn) (*Socket, error) {
	s := &Socket{queue: o.Queue, nl: nl}
	var err error
	if s.raw, err = nl.SyscallConn(); err != nil {
		return nil, err
	}
	if err := s.raw.Control(func(fd uintptr) { s.fd = int(fd) }); err != nil {
		return nil, err
	}
	// Without it an overrun stops delivery until the socket has been drained
	// to the last byte. The kernel's drop counters tell what got lost.
	if err := nl.SetOption(netlink.NoENOBUFS, true); err != nil {
		o.Logger.Warn("ipq: NETLINK_NO_ENOBUFS refused; overruns will lose more packets", "queue", o.Queue, "err", err)
	}
	// The header in an error names the packet; its payload would fill the
	// buffer. Kernels before 4.3 do not know the option and send it all.
	_ = nl.SetOption(netlink.CapAcknowledge, true)

	if err := s.sizeBuffers(o); err != nil {
		return nil, err
	}
	return s, nil
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

func (s *Socket) sizeBuffers(o *Options) error {
	want := o.ReadBuffer
	if want == 0 {
		want = min(o.QueueLen*truesize(o), maxAutoReadBuffer)
	}
	// The kernel doubles what is set, and counts by the doubled.
	if err := s.nl.SetReadBuffer((want + 1) / 2); err != nil {
		return fmt.Errorf("set the receive buffer to %d bytes: %w", want, err)
	}
	got, err := s.nl.ReadBuffer()
	if err != nil {
		return err
	}
	s.readBuffer = got
	if got < want {
		o.Logger.Warn("ipq: receive buffer is smaller than asked for: raise net.core.rmem_max, or lower MaxQueueLen",
			"queue", s.queue, "want", want, "got", got)
	}

	size, err := s.nl.WriteBuffer()
	if err == nil && size < MaxSendLimit+sendOverhead {
		if err = s.nl.SetWriteBuffer(MaxSendLimit); err == nil {
			size, err = s.nl.WriteBuffer()
		}
	}
	s.sendLimit = min(size-sendOverhead, MaxSendLimit)
	return err
}

// truesize returns about what a usual packet takes of the receive buffer: the
// power of two that holds its bytes and 512 of attributes and bookkeeping, and
// 384. That makes 896 for the smallest packets and 2432 for a full frame. The
// kernel takes 256 for the sk_buff and, for its data, at least 576 or, configured
// as Debian's is since 6.3, 640: 832 or 896, and 2304.
func truesize(o *Options) int {
	n := 1500 // a full frame
	if o.Flags&zerocopy.FlagGSO != 0 {
		n = o.CopyRange
	}
	if o.CopyMode == zerocopy.CopyMeta {
		n = 0
	}
	n = min(n, o.CopyRange) + 512
	size := 512
	for size < n {
		size *= 2
	}
	return size + 384
}
