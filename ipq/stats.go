package ipq

import "sync/atomic"

// Stats are counts since Open, over all queues of a [Queue], and a few states.
// Counts of user space are exact when Run has returned; while it runs they
// are taken one after the other and may differ by packets in flight.
type Stats struct {
	// Received counts packets read from the kernel, Batches the recvmmsg(2)
	// calls that brought any.
	Received, Batches uint64
	// Verdicts counts verdicts written, one for each packet, Messages the
	// netlink messages that carried them (one can decide a run of packets),
	// and Writes the sendmsg(2) calls that carried those.
	Verdicts, Messages, Writes uint64
	// Accepted, Dropped, Repeated, Stopped and Requeued count the verdicts by
	// kind.
	Accepted, Dropped, Repeated, Stopped, Requeued uint64
	// Modified counts verdicts that carried a new payload.
	Modified uint64

	// Bypassed counts verdicts whose flow [Config.Bypass] has settled,
	// BypassFailed those for which it could not, or which cannot be wished for.
	Bypassed, BypassFailed uint64

	// Panics counts handlers that panicked or called runtime.Goexit,
	// InvalidVerdicts verdicts that no kernel knows, which became Drop.
	Panics, InvalidVerdicts uint64
	// Truncated counts packets of which only a part was copied, Undecodable
	// messages that could not be read: those with a packet id were accepted
	// with FailOpen and dropped without.
	Truncated, Undecodable uint64
	// UnknownVerdicts counts verdicts that the kernel answered with ENOENT
	// because the packet was gone (flushed as a device or a chain went away),
	// RefusedVerdicts other refusals.
	UnknownVerdicts, RefusedVerdicts uint64
	// WriteRetries counts writes that had to be repeated because the kernel
	// was short of memory or socket buffer.
	WriteRetries uint64
	// OtherMessages counts netlink messages that are neither packets nor
	// errors.
	OtherMessages uint64
	// Overruns counts ENOBUFS from the socket, which kernels report only when
	// NETLINK_NO_ENOBUFS could not be set.
	Overruns uint64
	// Parks counts how often a receive loop found its socket empty and
	// slept, Waits how often it waited for a free batch of buffers.
	Parks, Waits uint64

	// Kernel tells whether QueueDropped, Waiting and Sequence are known.
	// They, and SocketDropped, come from
	// /proc/net/netfilter/nfnetlink_queue, which is for the root of the user
	// namespace that owns the network namespace, or, when both were made at
	// once (unshare -Urn), for that of the initial one. Others get
	// SocketDropped from /proc/net/netlink.
	Kernel bool
	// QueueDropped counts packets that the kernel dropped because the queue
	// was full (queue_dropped).
	QueueDropped uint64
	// SocketDropped counts packets that did not fit into the socket's receive
	// buffer (queue_user_dropped). With FailOpen they were accepted.
	SocketDropped uint64
	// Waiting is how many packets are queued in the kernel now, those being
	// handled included (queue_total).
	Waiting uint64
	// Sequence is the id of the last packet queued (id_sequence), summed over
	// the queues.
	Sequence uint64
	// ReadBuffer is the size in bytes of one socket's receive buffer as
	// granted; compare [Config.ReadBuffer].
	ReadBuffer int
}

// counters are the engine's side of Stats. Each instance is written by one
// goroutine at a time; the padding keeps writers of neighbours apart.
type counters struct {
	received, batches                              atomic.Uint64
	verdicts, messages, writes                     atomic.Uint64
	accepted, dropped, repeated, stopped, requeued atomic.Uint64
	modified, invalid, truncated, undecodable      atomic.Uint64
	unknown, refused, retries, other, overruns     atomic.Uint64
	parks, waits                                   atomic.Uint64
	_                                              [64]byte
}

func (c *counters) addTo(s *Stats) {
	for _, x := range []struct {
		to   *uint64
		from *atomic.Uint64
	}{
		{&s.Received, &c.received}, {&s.Batches, &c.batches},
		{&s.Verdicts, &c.verdicts}, {&s.Messages, &c.messages}, {&s.Writes, &c.writes},
		{&s.Accepted, &c.accepted}, {&s.Dropped, &c.dropped}, {&s.Repeated, &c.repeated},
		{&s.Stopped, &c.stopped}, {&s.Requeued, &c.requeued}, {&s.Modified, &c.modified},
		{&s.InvalidVerdicts, &c.invalid},
		{&s.Truncated, &c.truncated}, {&s.Undecodable, &c.undecodable},
		{&s.UnknownVerdicts, &c.unknown}, {&s.RefusedVerdicts, &c.refused},
		{&s.WriteRetries, &c.retries}, {&s.OtherMessages, &c.other},
		{&s.Overruns, &c.overruns}, {&s.Parks, &c.parks}, {&s.Waits, &c.waits},
	} {
		*x.to += x.from.Load()
	}
}

// kernelCounters are what the kernel counts for one queue.
type kernelCounters struct {
	full          bool // all fields are known, not only socketDropped
	waiting       uint64
	queueDropped  uint64
	socketDropped uint64
	sequence      uint64
}

func (k *kernelCounters) addTo(s *Stats) {
	s.Kernel = s.Kernel && k.full
	s.Waiting += k.waiting
	s.QueueDropped += k.queueDropped
	s.SocketDropped += k.socketDropped
	s.Sequence += k.sequence
}
