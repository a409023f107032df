package nfsock

import (
	"log/slog"
	"syscall"

	"github.com/mdlayher/netlink"

	"github.com/goipq/goipq/internal/zerocopy"
)

// Answers are what the kernel tells who would open a queue.
type Answers struct {
	// Errno is that of a message that asks for nothing: EPERM without the right to queues,
	// EINVAL without nfnetlink_queue.
	Errno      syscall.Errno
	Flags      uint32 // NFQA_CFG_F_* that it takes; 0 if Errno is not
	ReadBuffer int    // the largest that it grants, up to that of the longest queue with full frames
	RawErr     error  // of raw sockets
}

// Probe asks the kernel in the caller's network namespace. It binds nothing.
func Probe() (Answers, error) {
	const longest, fullFrame = 65536, 2304
	// The number is as good as any: no message changes its queue, whosever it is.
	s, err := Dial(&Options{Queue: 0xffff, ReadBuffer: longest * fullFrame, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		return Answers{}, err
	}
	defer s.Close()
	a := Answers{ReadBuffer: s.ReadBuffer()}
	if a.Errno, err = s.ask(func(ae *netlink.AttributeEncoder) { putCommand(ae, zerocopy.CmdPFUnbind) }); err != nil {
		return Answers{}, err
	}
	if a.Errno == 0 {
		for _, f := range flags {
			if !s.lacks(f) {
				a.Flags |= f
			}
		}
	}
	raw, err := s.DialRaw(0)
	if err != nil {
		a.RawErr = err
		return a, nil
	}
	return a, raw.Close()
}
