package nfsock

import (
	"fmt"
	"syscall"
)

// A Refusal is why the kernel has not done what it was asked for.
type Refusal struct {
	Cause  Cause
	PortID uint32        // Taken: that of the listener, or 0 if it cannot be read
	Flags  uint32        // Unsupported: the NFQA_CFG_F_* that this kernel does not know
	Errno  syscall.Errno // the kernel's answer, if it has given one
}

// A Cause is what a refusal comes down to.
type Cause uint8

// The causes of a [Refusal].
const (
	Taken        Cause = iota + 1 // another socket listens on the queue
	NotPermitted                  // no CAP_NET_ADMIN over the network namespace
	Unsupported                   // flags that this kernel does not know
	NotBound                      // this socket does not listen on the queue
	NoQueues                      // the kernel has no queues: nfnetlink_queue is not loaded
)

// Error implements error.
func (r *Refusal) Error() string {
	switch r.Cause {
	case Taken:
		return fmt.Sprintf("port id %d listens on the queue", r.PortID)
	case NotPermitted:
		return "no CAP_NET_ADMIN"
	case Unsupported:
		return fmt.Sprintf("flags %#x are unknown to this kernel", r.Flags)
	}
	if r.Cause == NoQueues {
		return "nfnetlink_queue is not loaded"
	}
	return "the socket does not listen on the queue"
}

// Unwrap returns the kernel's answer.
func (r *Refusal) Unwrap() error {
	if r.Errno == 0 {
		return nil
	}
	return r.Errno
}
