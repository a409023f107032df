package nfsock

import (
	"log/slog"

	"github.com/mdlayher/netlink"

	"github.com/goipq/goipq/internal/zerocopy"
)

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
