//go:build !linux

package ipq

import (
	"errors"
	"os"
)

// Elsewhere there are no netfilter queues, but those that ipqtest makes up. Everything
// compiles, and dialing fails.

// File hands a queue over to another process, on Linux.
func (q *Queue) File(int) (*os.File, error) {
	return nil, q.loops[0].sock.fail("file", errors.ErrUnsupported)
}

// FromFile takes queues over from another process, on Linux.
func FromFile(cfg Config, _ ...*os.File) (*Queue, error) {
	return nil, &OpError{Op: "adopt", Queue: cfg.Queue, Err: errors.ErrUnsupported}
}

// Inherit takes packets over from another process, on Linux.
func (q *Queue) Inherit() error {
	return q.loops[0].sock.fail("inherit", errors.ErrUnsupported)
}

func markSocket(uintptr, uint32) error { return errors.ErrUnsupported }

func (*loop) inherit() {}
