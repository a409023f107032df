package ipq

import (
	"encoding/binary"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/mdlayher/netlink"

	"github.com/goipq/goipq/internal/zerocopy"
	"github.com/goipq/goipq/ring"
)

// A socket is one netlink socket bound to one queue: the control plane. What
// is fast goes past it, through raw.
type socket struct {
	queue uint16
	nl    *netlink.Conn
	raw   syscall.RawConn
	fd    int // valid until nl is closed

	adopted bool // bound by another process

	// The two calls of the hot path, which tests have fail.
	recv func(b *ring.Batch, fd int) (int, syscall.Errno)
	send func(g *ring.Gather, fd int) syscall.Errno

	readBuffer int // granted, in bytes
	sendLimit  int // bytes that one write may have

	names nameCache
	proc  procFiles

	hasty      atomic.Bool // writes are not repeated any more
	closed     atomic.Bool
	held       atomic.Bool // a handler that does not return keeps nl from being closed
	unbindOnce sync.Once
	unbindErr  error
	tally      kernelTally
}

// maxPayload returns the longest payload that fits into a write.
func (s *socket) maxPayload() int { return s.sendLimit - zerocopy.MaxVerdictLen - 3 }

// configure sends one NFQNL_MSG_CONFIG without asking for an acknowledgement: it
// would come in between the packets.
func (s *socket) configure(encode func(*netlink.AttributeEncoder)) error {
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
		return ErrClosed
	}
	_, err = s.nl.Send(netlink.Message{
		Header: netlink.Header{
			Type:  netlink.HeaderType(zerocopy.TypeConfig),
			Flags: netlink.Request,
		},
		Data: append(gen, attrs...),
	})
	if err != nil && s.closed.Load() { // meanwhile
		return ErrClosed
	}
	return err
}

func putCommand(ae *netlink.AttributeEncoder, cmd uint8) {
	// struct nfqnl_msg_config_cmd {u8 command, u8 pad, be16 pf}
	ae.Bytes(zerocopy.CfgCmd, []byte{cmd, 0, 0, 0})
}

func putParams(ae *netlink.AttributeEncoder, mode CopyMode, snapLen int) {
	m := byte(zerocopy.CopyPacket)
	if mode == CopyMeta {
		m = zerocopy.CopyMeta
	}
	// struct nfqnl_msg_config_params {be32 copy_range, u8 copy_mode}, packed
	ae.Bytes(zerocopy.CfgParams, append(binary.BigEndian.AppendUint32(nil, uint32(snapLen)), m))
}

func putFlags(ae *netlink.AttributeEncoder, flags uint32) {
	ae.Uint32(zerocopy.CfgMask, flags)
	ae.Uint32(zerocopy.CfgFlags, flags)
}

// setMode sends NFQA_CFG_PARAMS.
func (s *socket) setMode(mode CopyMode, snapLen int) error {
	return s.configure(func(ae *netlink.AttributeEncoder) { putParams(ae, mode, snapLen) })
}

// shut makes the kernel queue no more: a queue of length 0 is always full. So
// what is left to decide is what it holds now, however fast packets come.
func (s *socket) shut() error {
	return s.configure(func(ae *netlink.AttributeEncoder) { ae.Uint32(zerocopy.CfgQueueMaxlen, 0) })
}

// unbind gives the queue up, once. The kernel drops what it still holds.
func (s *socket) unbind() error {
	s.unbindOnce.Do(func() {
		s.kernelCounters(true)
		s.unbindErr = s.configure(func(ae *netlink.AttributeEncoder) { putCommand(ae, zerocopy.CmdUnbind) })
	})
	return s.unbindErr
}

// kernelCounters returns the kernel's counters of the queue, or what they were
// when it was unbound: no update comes behind the last one.
func (s *socket) kernelCounters(last bool) kernelCounters {
	return s.tally.update(func() (kernelCounters, bool) { return s.proc.read(s.queue, s.nl.PID()) }, last)
}

// close closes the socket, whereupon the kernel unbinds the queue if that has
// not been done.
func (s *socket) close() error {
	if s.closed.Swap(true) {
		return nil
	}
	s.kernelCounters(true)
	s.proc.close()
	if s.held.Load() {
		go s.nl.Close()
		return nil
	}
	return s.nl.Close()
}

// wake makes a read that waits, or will, return os.ErrDeadlineExceeded.
func (s *socket) wake() error { return s.nl.SetReadDeadline(time.Unix(1, 0)) }

func (s *socket) fail(op string, err error) error {
	return &OpError{Op: op, Queue: s.queue, Err: err}
}
