package ipq

import (
	"errors"
	"fmt"
	"os"
	"syscall"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"

	"github.com/goipq/goipq/internal/zerocopy"
	"github.com/goipq/goipq/ring"
)

const (
	// wantSendLimit is how much one write should be able to carry: two of the
	// largest payloads with what goes with them.
	wantSendLimit = 2 * (zerocopy.MaxCopyRange + zerocopy.MaxVerdictLen + 3)
	// sendOverhead is what netlink_sendmsg keeps free of SO_SNDBUF.
	sendOverhead = 32
	// maxAutoReadBuffer bounds the receive buffer that is sized from MaxQueueLen.
	maxAutoReadBuffer = 64 << 20
)

// dialSocket opens a netlink socket in cfg's namespace, without binding it to
// a queue.
func dialSocket(cfg *Config, queue uint16) (*socket, error) {
	nl, err := netlink.Dial(unix.NETLINK_NETFILTER, &netlink.Config{NetNS: cfg.NetNS})
	if err != nil {
		return nil, &OpError{Op: "open", Queue: queue, Err: err}
	}
	s, err := newSocket(cfg, queue, nl)
	if err != nil {
		nl.Close()
		return nil, &OpError{Op: "open", Queue: queue, Err: err}
	}
	err = inNetNS(cfg.NetNS, s.proc.open)
	if err == nil && s.proc.queues == nil {
		// It may not be read, or nobody has used a queue yet: then there is none
		// until a message has the kernel load the module. PF_UNBIND does nothing
		// else, and what refuses it will refuse the bind, too.
		_, _ = s.ask(func(ae *netlink.AttributeEncoder) { putCommand(ae, zerocopy.CmdPFUnbind) })
		s.proc.close()
		err = inNetNS(cfg.NetNS, s.proc.open)
	}
	if err != nil {
		s.close()
		return nil, &OpError{Op: "open", Queue: queue, Err: err}
	}
	return s, nil
}

// newSocket sets the options of nl.
func newSocket(cfg *Config, queue uint16, nl *netlink.Conn) (*socket, error) {
	s := &socket{queue: queue, nl: nl, recv: (*ring.Batch).Recv, send: (*ring.Gather).Send}
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
		cfg.Logger.Warn("ipq: NETLINK_NO_ENOBUFS refused; overruns will lose more packets", "queue", queue, "err", err)
	}
	// The header in an error names the packet; its payload would fill the
	// buffer. Kernels before 4.3 do not know the option and send it all.
	_ = nl.SetOption(netlink.CapAcknowledge, true)

	if err := s.sizeBuffers(cfg); err != nil {
		return nil, err
	}
	return s, nil
}

func (s *socket) sizeBuffers(cfg *Config) error {
	want := cfg.ReadBuffer
	if want == 0 {
		want = min(cfg.MaxQueueLen*truesize(cfg), maxAutoReadBuffer)
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
		cfg.Logger.Warn("ipq: receive buffer is smaller than asked for: raise net.core.rmem_max, or lower MaxQueueLen",
			"queue", s.queue, "want", want, "got", got)
	}

	size, err := s.nl.WriteBuffer()
	if err == nil && size < wantSendLimit+sendOverhead {
		if err = s.nl.SetWriteBuffer(wantSendLimit); err == nil {
			size, err = s.nl.WriteBuffer()
		}
	}
	s.sendLimit = min(size-sendOverhead, wantSendLimit)
	return err
}

// truesize returns about what a usual packet takes of the receive buffer: the
// power of two that holds its bytes and 512 of attributes and bookkeeping, and
// 384. That makes 896 for the smallest packets and 2432 for a full frame. The
// kernel takes 256 for the sk_buff and, for its data, at least 576 or, configured
// as Debian's is since 6.3, 640: 832 or 896, and 2304.
func truesize(cfg *Config) int {
	n := 1500 // a full frame
	if cfg.GSO {
		n = cfg.SnapLen
	}
	if cfg.Copy == CopyMeta {
		n = 0
	}
	n = min(n, cfg.SnapLen) + 512
	size := 512
	for size < n {
		size *= 2
	}
	return size + 384
}

// bind binds the queue and configures it, in one message: packets that come
// between a bind and the choice of a copy mode are dropped.
func (s *socket) bind(cfg *Config) error {
	if s.adopted {
		return s.adopt(cfg)
	}
	errno, err := s.ask(func(ae *netlink.AttributeEncoder) {
		putCommand(ae, zerocopy.CmdBind)
		putParams(ae, cfg.Copy, cfg.SnapLen)
		ae.Uint32(zerocopy.CfgQueueMaxlen, uint32(cfg.MaxQueueLen))
		if f := cfg.flags(); f != 0 {
			putFlags(ae, f)
		}
	})
	switch {
	case err != nil:
		return s.fail("bind", err)
	case errno != 0:
		return s.fail("bind", s.diagnose(cfg, errno))
	}
	return nil
}

// adopt configures a queue that is bound. Where it is, the kernel's answer may
// stand behind packets: a refusal then ends Run. Where it is not there are none.
func (s *socket) adopt(cfg *Config) error {
	errno, err := s.ask(func(ae *netlink.AttributeEncoder) {
		putParams(ae, cfg.Copy, cfg.SnapLen)
		ae.Uint32(zerocopy.CfgQueueMaxlen, uint32(cfg.MaxQueueLen))
		var known uint32
		for _, f := range configFlags {
			known |= f.flag
		}
		ae.Uint32(zerocopy.CfgMask, known)
		ae.Uint32(zerocopy.CfgFlags, cfg.flags())
	})
	switch {
	case err != nil:
		return s.fail("configure", err)
	case errno != 0:
		return s.fail("configure", s.refusal(errno))
	}
	return nil
}

// ask sends a config message, on a socket that no queue is bound to as far as
// anybody knows, and returns the kernel's answer.
//
// It asks for no acknowledgement, which could stand behind any number of
// packets once the queue is bound. The kernel works on the message before
// sendmsg returns, and a refusal is then the first thing in the socket: no
// packet comes before it, because nothing was bound. So a look at the socket
// tells, and takes nothing out unless it is the refusal.
func (s *socket) ask(encode func(*netlink.AttributeEncoder)) (errno syscall.Errno, err error) {
	if err := s.configure(encode); err != nil {
		return 0, err
	}
	var buf [256]byte
	var n int
	look := func(flags int) error {
		var rerr error
		err := s.raw.Control(func(fd uintptr) {
			n, _, rerr = unix.Recvfrom(int(fd), buf[:], flags|unix.MSG_DONTWAIT)
		})
		return errors.Join(err, rerr)
	}
	switch err := look(unix.MSG_PEEK); {
	case errors.Is(err, unix.EAGAIN):
		return 0, nil
	case err != nil:
		return 0, os.NewSyscallError("recvfrom", err)
	}
	h, ok := zerocopy.ParseHeader(buf[:n])
	if !ok || h.Type != zerocopy.TypeError {
		return 0, nil
	}
	e, err := zerocopy.DecodeError(buf[:n])
	if err != nil {
		return 0, err
	}
	if e.Type != zerocopy.TypeConfig {
		return 0, nil // about a verdict: the queue is bound
	}
	if err := look(0); err != nil {
		return 0, os.NewSyscallError("recvfrom", err)
	}
	return syscall.Errno(e.Errno), nil
}

// diagnose finds out what a refusal of bind means, by asking the kernel
// questions that change nothing.
func (s *socket) diagnose(cfg *Config, errno syscall.Errno) error {
	switch errno {
	case unix.EPERM, unix.EBUSY:
		// PF_UNBIND does nothing, for anybody who has the capability.
		answer, err := s.ask(func(ae *netlink.AttributeEncoder) { putCommand(ae, zerocopy.CmdPFUnbind) })
		if err == nil && answer == unix.EPERM {
			return &CapabilityError{Capability: "CAP_NET_ADMIN", Err: errno}
		}
		return &TakenError{PortID: s.proc.owner(s.queue)}
	case unix.EOPNOTSUPP:
		// Flags are looked at before the queue, which is not bound: a flag
		// that is known is answered with ENODEV.
		var missing []string
		for _, f := range configFlags {
			if !f.set(cfg) {
				continue
			}
			answer, err := s.ask(func(ae *netlink.AttributeEncoder) { putFlags(ae, f.flag) })
			if err == nil && answer == unix.EOPNOTSUPP {
				missing = append(missing, f.name)
			}
		}
		if missing != nil {
			return &FeatureError{Features: missing, Err: errno}
		}
	}
	return errno
}

// notPermitted finds out what it means that the kernel does not let a verdict
// be given on a queue that was bound.
func (s *socket) notPermitted(errno syscall.Errno) error {
	if owner := s.proc.owner(s.queue); owner != 0 && owner != s.nl.PID() {
		return &TakenError{PortID: owner}
	}
	return &CapabilityError{Capability: "CAP_NET_ADMIN", Err: errno}
}
