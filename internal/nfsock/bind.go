package nfsock

import (
	"syscall"

	"github.com/mdlayher/netlink"

	"github.com/goipq/goipq/internal/zerocopy"
)

// flags are those that this package knows, by single bits.
var flags = []uint32{
	zerocopy.FlagFailOpen, zerocopy.FlagConntrack, zerocopy.FlagGSO, zerocopy.FlagUIDGID, zerocopy.FlagSecCtx,
}

// Bind binds the queue and configures it, in one message: packets that come
// between a bind and the choice of a copy mode are dropped. A queue that was
// adopted is bound, and only configured. What the kernel refuses for a reason
// that is known is a [*Refusal].
func (s *Socket) Bind(o *Options) error {
	if s.adopted {
		return s.reconfigure(o)
	}
	errno, err := s.ask(func(ae *netlink.AttributeEncoder) {
		putCommand(ae, zerocopy.CmdBind)
		putCopy(ae, o.CopyMode, o.CopyRange)
		putQueueLen(ae, o.QueueLen)
		if o.Flags != 0 {
			putFlags(ae, o.Flags, o.Flags)
		}
	})
	if err == nil && errno != 0 {
		err = s.diagnose(o, errno)
	}
	return err
}

// reconfigure configures a queue that is bound. Where it is, the kernel's answer
// may stand behind packets: whoever reads them finds it. Where it is not there
// are none.
func (s *Socket) reconfigure(o *Options) error {
	errno, err := s.ask(func(ae *netlink.AttributeEncoder) {
		putCopy(ae, o.CopyMode, o.CopyRange)
		putQueueLen(ae, o.QueueLen)
		var known uint32
		for _, f := range flags {
			known |= f
		}
		putFlags(ae, known, o.Flags)
	})
	if err == nil && errno != 0 {
		err = s.Refused(errno)
	}
	return err
}

// ask sends a config message, on a socket that no queue is bound to as far as
// anybody knows, and returns the kernel's answer.
//
// It asks for no acknowledgement, which could stand behind any number of
// packets once the queue is bound. The kernel works on the message before
// sendmsg returns, and a refusal is then the first thing in the socket: no
// packet comes before it, because nothing was bound. So a look at the socket
// tells, and takes nothing out unless it is the refusal. Where there is no
// descriptor to look at, whoever receives comes across a refusal.
func (s *Socket) ask(encode func(*netlink.AttributeEncoder)) (errno syscall.Errno, err error) {
	if err := s.configure(encode); err != nil {
		return 0, err
	}
	if s.fd == noDescriptor {
		return 0, nil
	}
	var buf [256]byte
	n, err := s.look(buf[:], true)
	if err != nil || n == 0 {
		return 0, err
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
	if _, err := s.look(buf[:], false); err != nil {
		return 0, err
	}
	return syscall.Errno(e.Errno), nil
}

// diagnose finds out what a refusal to bind means, by asking the kernel
// questions that change nothing.
func (s *Socket) diagnose(o *Options, errno syscall.Errno) error {
	switch errno {
	case syscall.EPERM, syscall.EBUSY:
		// PF_UNBIND does nothing, for anybody who has the capability.
		answer, err := s.ask(func(ae *netlink.AttributeEncoder) { putCommand(ae, zerocopy.CmdPFUnbind) })
		if err == nil && answer == syscall.EPERM {
			return &Refusal{Cause: NotPermitted, Errno: errno}
		}
		return &Refusal{Cause: Taken, PortID: s.tables.owner(s.queue), Errno: errno}
	case syscall.EINVAL:
		// So the kernel answers messages for a part of netfilter that it does not have.
		answer, err := s.ask(func(ae *netlink.AttributeEncoder) { putCommand(ae, zerocopy.CmdPFUnbind) })
		if err == nil && answer == syscall.EINVAL {
			return &Refusal{Cause: NoQueues, Errno: errno}
		}
	case syscall.EOPNOTSUPP:
		var missing uint32
		for _, f := range flags {
			if o.Flags&f != 0 && s.lacks(f) {
				missing |= f
			}
		}
		if missing != 0 {
			return &Refusal{Cause: Unsupported, Flags: missing, Errno: errno}
		}
	}
	return errno
}

// lacks reports whether this kernel does not know a flag. Flags are looked at before the
// queue, which is not this socket's: one that is known is answered with ENODEV, or EPERM.
func (s *Socket) lacks(flag uint32) bool {
	answer, err := s.ask(func(ae *netlink.AttributeEncoder) { putFlags(ae, flag, flag) })
	return err == nil && answer == syscall.EOPNOTSUPP
}

// Refused finds out what it means that the kernel refuses to configure a queue
// that was bound, or a verdict on it: a [*Refusal], or errno itself.
func (s *Socket) Refused(errno syscall.Errno) error {
	switch errno {
	case syscall.EPERM:
		if owner := s.tables.owner(s.queue); owner != 0 && owner != s.nl.PID() {
			return &Refusal{Cause: Taken, PortID: owner, Errno: errno}
		}
		return &Refusal{Cause: NotPermitted, Errno: errno}
	case syscall.ENODEV:
		return &Refusal{Cause: NotBound, Errno: errno}
	}
	return errno
}
