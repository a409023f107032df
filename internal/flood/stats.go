package flood

import (
	"sync/atomic"
	"time"
)

// Stats is what a flood has done so far. At the end of a closed loop, Sent is
// Replies plus Lost.
type Stats struct {
	Sent    uint64 // echo requests that the kernel took
	Dropped uint64 // those of Sent that a rule on OUTPUT dropped at once (EPERM)
	// Refused counts what the socket had no room for (EAGAIN, ENOBUFS):
	// packets that missed their turn when a Rate is set, calls to sendmmsg
	// that were cut short and continued later otherwise.
	Refused uint64

	Replies    uint64 // closed loop: requests answered in time
	Lost       uint64 // closed loop: requests given up after Timeout
	Late       uint64 // closed loop: replies to requests already given up
	Duplicates uint64 // closed loop: further replies to an answered request
	OutOfOrder uint64 // closed loop: replies after one to a later request of their flow

	// Of a Client or a Server: connections made, ended in order and failed, and
	// bytes written by a client or read by a server.
	Opened, Finished, Failed, Bytes uint64

	// Of a Receiver: datagrams that it has timed, and those that its socket had
	// no room for.
	Received, Overflowed uint64

	MaxLag  time.Duration // the furthest that a packet was sent behind its turn, since TakeMaxLag; zero without a Rate
	Elapsed time.Duration // from the start to the latest packet sent or answered
	CPU     time.Duration // CPU time of the process, its start included
	UserCPU time.Duration // that outside of the kernel, of which the kernel knows only samples
}

// counters are the figures in the memory that both processes map. Only the
// child writes them, once a batch, but for the lag, which the parent may clear.
type counters struct {
	sent, dropped, refused    atomic.Uint64
	replies, lost, late       atomic.Uint64
	duplicates, outOfOrder    atomic.Uint64
	opened, finished, failed  atomic.Uint64
	bytes                     atomic.Uint64
	received, overflowed      atomic.Uint64
	maxLagNanos, elapsedNanos atomic.Int64
}

func (c *counters) stats() Stats {
	return Stats{
		Sent:       c.sent.Load(),
		Dropped:    c.dropped.Load(),
		Refused:    c.refused.Load(),
		Replies:    c.replies.Load(),
		Lost:       c.lost.Load(),
		Late:       c.late.Load(),
		Duplicates: c.duplicates.Load(),
		OutOfOrder: c.outOfOrder.Load(),
		Opened:     c.opened.Load(),
		Finished:   c.finished.Load(),
		Failed:     c.failed.Load(),
		Bytes:      c.bytes.Load(),
		Received:   c.received.Load(),
		Overflowed: c.overflowed.Load(),
		MaxLag:     time.Duration(c.maxLagNanos.Load()),
		Elapsed:    time.Duration(c.elapsedNanos.Load()),
	}
}
