package fakekernel

import "syscall"

// Counters are what the kernel has counted.
type Counters struct {
	// Queued counts packets that were queued and delivered; Delivered those of
	// them whose id user space can read.
	Queued, Delivered uint64
	// QueueDropped counts packets dropped because the queue was full
	// (queue_dropped), UserDropped because the socket was (queue_user_dropped),
	// FailedOpen those accepted instead, and NoListener those dropped because
	// the queue was not bound or had no copy mode.
	QueueDropped, UserDropped, FailedOpen, NoListener uint64

	// Verdicts counts packets decided by user space, Void those of them that
	// the kernel had decided before; ByCode counts them by NF_DROP to NF_STOP,
	// Modified with a payload.
	Verdicts, Void uint64
	ByCode         [maxVerdict + 1]uint64
	Modified       uint64
	// Flushed counts packets that the kernel decided itself.
	Flushed uint64

	// Writes counts datagrams from user space, Messages the netlink messages
	// in them, Batches those that were NFQNL_MSG_VERDICT_BATCH.
	Writes, Messages, Batches uint64
	// Again counts the messages that took the place of refused ones, which an
	// nlmsg_pid tells.
	Again uint64
	// Foreign counts messages sent that were neither packets nor errors.
	Foreign uint64
	// Errors counts NLMSG_ERROR delivered for verdicts, by errno; ErrorsLost
	// those that did not fit the socket.
	Errors     [maxErrno]uint64
	ErrorsLost uint64
	// RecvFaults and SendFaults count the calls that were made to fail, by
	// errno.
	RecvFaults, SendFaults [maxErrno]uint64
}

// maxErrno bounds the error numbers that are told apart: EHWPOISON, 133, is the
// last.
const maxErrno = 134

// ErrorsBut counts the errors of any errno but one.
func (c *Counters) ErrorsBut(not syscall.Errno) (n uint64) {
	for errno, x := range c.Errors {
		if syscall.Errno(errno) != not {
			n += x
		}
	}
	return n
}
