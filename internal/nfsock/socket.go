package nfsock

import (
	"encoding/binary"
	"log/slog"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/mdlayher/netlink"

	"github.com/goipq/goipq/internal/zerocopy"
)

// Options say how a queue is to be served.
type Options struct {
	Queue     uint16 // number
	NetNS     int    // a descriptor of the network namespace; 0: the caller's
	CopyMode  uint8  // zerocopy.CopyMeta or CopyPacket
	CopyRange int    // in bytes
	QueueLen  int    // packets that the kernel may hold
	Flags     uint32 // NFQA_CFG_F_*
	// ReadBuffer is the size of the receive buffer as the kernel counts it; 0
	// sizes it so that QueueLen packets fit.
	ReadBuffer int
	Logger     *slog.Logger
}

// Answers are what the kernel tells who would open a queue.
type Answers struct {
	// Errno is that of a message that asks for nothing: EPERM without the right to queues,
	// EINVAL without nfnetlink_queue.
	Errno      syscall.Errno
	Flags      uint32 // NFQA_CFG_F_* that it takes; 0 if Errno is not
	ReadBuffer int    // the largest that it grants, up to that of the longest queue with full frames
	RawErr     error  // of raw sockets
}

// A Socket is one netlink socket for one queue. Its methods may be called from
// any goroutine, but for those that configure it: these are for one at a time.
type Socket struct {
	queue uint16
	nl    *netlink.Conn
	raw   syscall.RawConn
	fd    int

	kernels bool // it is the kernel's, and no test's
	adopted bool // bound by another process

	readBuffer atomic.Int64
	sendLimit  int

	names  nameCache
	tables tables
	count  extender
	labels atomic.Pointer[labelsAnswer]

	closed     atomic.Bool
	held       atomic.Bool
	unbindOnce sync.Once
	unbindErr  error
}

// A labelsAnswer is what the kernel has answered about labels of connections.
type labelsAnswer struct {
	at   time.Time
	none bool
}

// noDescriptor is the descriptor of a socket that has none: one made up by tests.
const noDescriptor = -1

// MaxSendLimit is the most that one write has: two of the largest payloads with
// what goes with them.
const MaxSendLimit = 2 * (zerocopy.MaxCopyRange + zerocopy.MaxVerdictLen + 3)

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

// Queue returns the number of the queue.
func (s *Socket) Queue() uint16 { return s.queue }

// FD returns the descriptor, which is valid until Close. One that tests have made up may
// have none: -1.
func (s *Socket) FD() int { return s.fd }

// Raw returns the socket for calls that are to wait in the runtime's poller, or
// must not be overtaken by Close.
func (s *Socket) Raw() syscall.RawConn { return s.raw }

// PortID returns the netlink port id.
func (s *Socket) PortID() uint32 { return s.nl.PID() }

// Adopted reports whether the socket was bound by another process.
func (s *Socket) Adopted() bool { return s.adopted }

// ReadBuffer returns the size of the receive buffer, as the kernel counts it.
func (s *Socket) ReadBuffer() int { return int(s.readBuffer.Load()) }

// SendLimit returns how many bytes one write may have.
func (s *Socket) SendLimit() int { return s.sendLimit }

// configure sends one NFQNL_MSG_CONFIG without asking for an acknowledgement: it
// would come in between the packets.
func (s *Socket) configure(encode func(*netlink.AttributeEncoder)) error {
	ae := netlink.NewAttributeEncoder()
	ae.ByteOrder = binary.BigEndian
	encode(ae)
	attrs, err := ae.Encode()
	if err != nil {
		return err
	}
	const afUnspec, version0 = 0, 0
	gen := binary.BigEndian.AppendUint16([]byte{afUnspec, version0}, s.queue)
	if s.closed.Load() {
		return os.ErrClosed
	}
	_, err = s.nl.Send(netlink.Message{
		Header: netlink.Header{
			Type:  netlink.HeaderType(zerocopy.TypeConfig),
			Flags: netlink.Request,
		},
		Data: append(gen, attrs...),
	})
	if err != nil && s.closed.Load() { // meanwhile
		return os.ErrClosed
	}
	return err
}

func putCommand(ae *netlink.AttributeEncoder, cmd uint8) {
	// struct nfqnl_msg_config_cmd {u8 command, u8 pad, be16 pf}
	ae.Bytes(zerocopy.CfgCmd, []byte{cmd, 0, 0, 0})
}

func putCopy(ae *netlink.AttributeEncoder, mode uint8, copyRange int) {
	// struct nfqnl_msg_config_params {be32 copy_range, u8 copy_mode}, packed
	ae.Bytes(zerocopy.CfgParams, append(binary.BigEndian.AppendUint32(nil, uint32(copyRange)), mode))
}

func putQueueLen(ae *netlink.AttributeEncoder, packets int) {
	ae.Uint32(zerocopy.CfgQueueMaxlen, uint32(packets))
}

func putFlags(ae *netlink.AttributeEncoder, mask, flags uint32) {
	ae.Uint32(zerocopy.CfgMask, mask)
	ae.Uint32(zerocopy.CfgFlags, flags)
}

// SetCopy changes the copy mode and range of packets that are queued from now
// on. Like SetQueueLen it returns before the kernel has answered: a refusal is a
// message in the socket.
func (s *Socket) SetCopy(mode uint8, copyRange int) error {
	return s.configure(func(ae *netlink.AttributeEncoder) { putCopy(ae, mode, copyRange) })
}

// SetQueueLen changes how many packets the kernel may hold. At 0 it queues no
// more: a queue of that length is always full.
func (s *Socket) SetQueueLen(packets int) error {
	return s.configure(func(ae *netlink.AttributeEncoder) { putQueueLen(ae, packets) })
}

// Unbind gives the queue up, once. The kernel drops what it still holds.
func (s *Socket) Unbind() error {
	s.unbindOnce.Do(func() {
		s.readCounters(true)
		s.unbindErr = s.configure(func(ae *netlink.AttributeEncoder) { putCommand(ae, zerocopy.CmdUnbind) })
	})
	return s.unbindErr
}

// Close closes the socket, once, whereupon the kernel unbinds the queue if that
// has not been done. It returns nil when it was called before.
func (s *Socket) Close() error {
	if s.closed.Swap(true) {
		return nil
	}
	s.readCounters(true)
	s.tables.close()
	if s.held.Load() {
		go s.nl.Close()
		return nil
	}
	return s.nl.Close()
}

// Closed reports whether Close was called.
func (s *Socket) Closed() bool { return s.closed.Load() }

// Hold says that a call of Raw().Read may not return for long. Close then does
// not wait for it, and the descriptor lives until it has returned.
func (s *Socket) Hold() { s.held.Store(true) }

// Wake makes a read that waits, or will, return os.ErrDeadlineExceeded.
func (s *Socket) Wake() error { return s.nl.SetReadDeadline(time.Unix(1, 0)) }

// SetReadDeadline sets the time after which reads do not wait any more; the zero
// time is none.
func (s *Socket) SetReadDeadline(t time.Time) error { return s.nl.SetReadDeadline(t) }
