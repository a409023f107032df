package ipq

import (
	"reflect"
	"slices"
)

// Stats are the counts of a [Queue]: their sums over its queues, and those of each.
type Stats struct {
	Counts
	Queues []QueueStats // in the order of their numbers
}

// QueueStats are the counts of one kernel queue.
type QueueStats struct {
	Queue uint16 // its number
	Counts
}

// Counts are counts since Open, and a few states. Those of user space are exact
// when Run has returned; while it runs they are taken one after the other and may
// differ by packets in flight.
type Counts struct {
	// Received counts packets read from the kernel, Batches the recvmmsg(2)
	// calls that brought any.
	Received, Batches uint64
	// BatchSizes counts Batches by how many messages, packets for the most part,
	// they brought: item 0 those with one, item i those with more than 2^(i-1) and
	// no more than 2^i. A full batch is the last of its class.
	BatchSizes [batchClasses]uint64
	// Verdicts counts verdicts written, one for each packet, Messages the
	// netlink messages that carried them (one can decide a run of packets),
	// and Writes the sendmsg(2) calls that carried those.
	Verdicts, Messages, Writes uint64
	// Accepted, Dropped, Repeated, Stopped and Requeued count the verdicts by
	// kind. Those that the kernel refused because the capability was lost are in
	// RefusedVerdicts instead, as Run returns. Others that it refused are among
	// them as they were written.
	Accepted, Dropped, Repeated, Stopped, Requeued uint64
	// DroppedBy says why each packet was dropped, and PassedBy why each was accepted,
	// or passed by another verdict, without its handler having decided so. What the
	// kernel refused is in them as it is in the kinds.
	DroppedBy, PassedBy Causes
	// Modified counts verdicts that carried a new payload.
	Modified uint64
	// Rejects counts what came of the verdicts Reject and RejectBoth.
	Rejects Rejects

	// Bypassed counts verdicts whose flow [Config.Bypass] has settled. BypassFailed
	// counts those whose flow was not settled: the Bypasser returned an error, there
	// is none, or the verdict is neither Accept nor Drop.
	Bypassed, BypassFailed uint64

	// Panics counts handlers that panicked or called runtime.Goexit,
	// InvalidVerdicts verdicts that no kernel knows, and edits in place that
	// changed what must stay ([Packet.EditPayload]), which became Drop.
	Panics, InvalidVerdicts uint64
	// TimedOut counts packets that were given [Config.OnTimeout] because a
	// handler did not return: its own, and those that waited behind it. Stuck
	// is how many such handlers are running now.
	TimedOut uint64
	Stuck    int
	// ExcessAccepted and ExcessDropped count packets that were decided by
	// [Config.Overload], without the handler. Overtook counts those of the
	// accepted ones that left earlier packets of their flow, or of one that
	// shares its entry in a table of 4096, behind them in the pool.
	ExcessAccepted, ExcessDropped, Overtook uint64
	// Deferred counts packets that were deferred, DeferExpired those of them
	// that got the verdict of their handler because there was no other when
	// their time was over or the queue ended, and DeferRefused those that were
	// not deferred because too many were. DeferredNow is how many are deferred now.
	Deferred, DeferExpired, DeferRefused uint64
	DeferredNow                          int
	// Orphans counts packets that were decided because of [Queue.Inherit]. They
	// are in none of the other counts of user space: this process has not
	// received them. It is taken from the kernel's table, see KernelKnown, without
	// which it stays 0; with FailOpen it is a lower bound if packets came at that
	// moment.
	Orphans uint64
	// Truncated counts packets of which only a part was copied, Undecodable
	// messages that could not be read: those with a packet id were accepted
	// with FailOpen and dropped without.
	Truncated, Undecodable uint64
	// UnknownVerdicts counts verdicts that the kernel answered with ENOENT
	// because the packet was gone (flushed as a device or a chain went away). It
	// is a lower bound of such packets: a verdict on a run of packets is answered
	// so only if all of them are gone, and once, and an answer that finds the
	// socket's buffer full, or comes at the end of Run, is not read.
	// RefusedVerdicts counts other refusals, upon which the packet was dropped,
	// or with FailOpen accepted.
	UnknownVerdicts, RefusedVerdicts uint64
	// TooLarge counts verdicts whose payload the socket did not take, so that
	// the packets were dropped, or with FailOpen accepted, unchanged.
	TooLarge uint64
	// WriteRetries and ReadRetries count calls that had to be repeated because
	// the kernel was short of memory or socket buffer.
	WriteRetries, ReadRetries uint64
	// OtherMessages counts netlink messages that are neither packets nor
	// errors.
	OtherMessages uint64
	// Overruns counts ENOBUFS from the socket, which kernels report only when
	// NETLINK_NO_ENOBUFS could not be set.
	Overruns uint64
	// Parks counts how often a receive loop found its socket empty and
	// slept, Waits how often it waited for a free batch of buffers.
	Parks, Waits uint64

	// KernelKnown tells whether QueueDropped, Waiting and Sequence are known.
	// They, and SocketDropped, come from
	// /proc/net/netfilter/nfnetlink_queue, which is for the root of the user
	// namespace that owns the network namespace, or, when both were made at
	// once (unshare -Urn), for that of the initial one. Others get
	// SocketDropped from /proc/net/netlink. Without it, what was known
	// before stays as it was.
	//
	// The kernel's counters have 32 bits and wrap. Here they have 64 and never
	// go back, provided that Stats is called at least once while they count
	// 2^32: at a million packets a second, 71 minutes.
	KernelKnown bool
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

// Rejects count answers to packets that were given [Reject] or [RejectBoth], and packets
// that got none, by why.
type Rejects struct {
	// Resets counts TCP segments with RST that were sent, one or two for a packet, and
	// Prohibitions the messages of ICMP and ICMPv6.
	Resets, Prohibitions uint64
	// Exempt counts packets of which nobody must be told: RST, errors and redirects of ICMP,
	// neighbour discovery, broadcast, multicast, fragments.
	Exempt uint64
	// Damaged counts packets with a wrong length or checksum.
	Damaged uint64
	// Unknown counts packets of which goipq does not know enough: not IP, headers cut off,
	// too little copied for a checksum that nobody has verified, edited by the handler.
	Unknown uint64
	// Limited counts packets beyond [Config.RejectRate].
	Limited uint64
	// Failed counts answers that could not be sent: without CAP_NET_RAW, to packets of the
	// bridge family, to deferred packets whose time was over, and where the kernel refused to
	// send them, such as for want of a route.
	Failed uint64
}

// Causes count packets by why they got their verdict.
type Causes struct {
	// Handler: the handler, or who decided a deferred packet, said so. It is 0 in
	// [Counts.PassedBy].
	Handler uint64
	// NoHandler: there was no handler yet: [Config.BeforeHandler].
	NoHandler uint64
	// Own: the packet had [Config.OwnMark], and was accepted. It is 0 in DroppedBy.
	Own uint64
	// Invalid: the handler returned a verdict that no kernel knows, or changed what
	// must stay ([Packet.EditPayload]).
	Invalid uint64
	// Panic: the handler panicked, or called runtime.Goexit: [Config.OnPanic].
	Panic uint64
	// Timeout: a handler did not return within [Config.HandlerTimeout], this packet's
	// or that of one before it: [Config.OnTimeout].
	Timeout uint64
	// Deferral: the packet was deferred, and got what its handler returned because
	// [Config.DeferTimeout] was over.
	Deferral uint64
	// Overload: the pool was saturated: [Config.Overload].
	Overload uint64
	// Undecodable: the kernel's message could not be read.
	Undecodable uint64
	// TooLarge: the socket did not take the packet's new payload.
	TooLarge uint64
	// End: the run ended first. After [Config.DrainTimeout] it is OnTimeout, for
	// deferred packets what their handler returned.
	End uint64
	// Refused: the kernel refused the verdict, and was given this one. The packet is
	// counted by the kind of the refused verdict, too.
	Refused uint64
	// QueueFull and SocketFull: the packet did not fit into the kernel's queue, or the
	// socket's receive buffer. Only DroppedBy has them, and without [Config.FailOpen]:
	// with it the kernel accepts such packets, and counts those that did not fit into
	// the buffer only. They were not received, and are in no other count of user space.
	QueueFull, SocketFull uint64
}

// Sub returns what was counted since before was taken from the same Queue. States are
// those of s: Stuck, DeferredNow, Waiting, KernelKnown and ReadBuffer.
func (s Stats) Sub(before Stats) Stats {
	d := Stats{Counts: s.Counts.sub(&before.Counts), Queues: slices.Clone(s.Queues)}
	for i := range min(len(d.Queues), len(before.Queues)) {
		d.Queues[i].Counts = d.Queues[i].sub(&before.Queues[i].Counts)
	}
	return d
}

func (c Counts) sub(before *Counts) Counts {
	waiting := c.Waiting
	combine(reflect.ValueOf(&c).Elem(), reflect.ValueOf(before).Elem(), func(a, b uint64) uint64 { return a - min(a, b) })
	c.Waiting = waiting
	return c
}

// add adds the counts of another queue.
func (c *Counts) add(o *Counts) {
	combine(reflect.ValueOf(c).Elem(), reflect.ValueOf(o).Elem(), func(a, b uint64) uint64 { return a + b })
	c.Stuck += o.Stuck
	c.DeferredNow += o.DeferredNow
	c.KernelKnown = c.KernelKnown && o.KernelKnown
	c.ReadBuffer = o.ReadBuffer
}

// combine puts f of every two counts that are alike in place of the first.
func combine(a, b reflect.Value, f func(a, b uint64) uint64) {
	switch a.Kind() {
	case reflect.Uint64:
		a.SetUint(f(a.Uint(), b.Uint()))
	case reflect.Struct:
		for i := range a.NumField() {
			combine(a.Field(i), b.Field(i), f)
		}
	case reflect.Array:
		for i := range a.Len() {
			combine(a.Index(i), b.Index(i), f)
		}
	}
}

// batchClasses is how many powers of two there are up to maxBatchSize.
const batchClasses = 11

// Stats returns the counts so far. It may be called at any time, also after
// Close, and reads the kernel's tables unless Run has returned.
func (q *Queue) Stats() Stats {
	s := Stats{Counts: Counts{KernelKnown: true}, Queues: make([]QueueStats, 0, len(q.loops))}
	for _, l := range q.loops {
		c := l.counts()
		s.Counts.add(&c)
		s.Queues = append(s.Queues, QueueStats{Queue: l.sock.Queue(), Counts: c})
	}
	return s
}

// Histograms returns how long handlers and verdicts have taken so far, for each queue
// in the order of their numbers, or nil without [Config.Histograms]. Like [Queue.Stats]
// it may be called at any time. [Counts].BatchSizes, the third of the kind, needs no
// clock and is always there.
func (q *Queue) Histograms() []QueueHistograms {
	if !q.cfg.Histograms {
		return nil
	}
	all := make([]QueueHistograms, len(q.loops))
	for i, l := range q.loops {
		h := &all[i]
		h.Queue = l.sock.Queue()
		for _, w := range l.writers {
			w.watch.handler.addTo(&h.HandlerTime)
			w.watch.latency.addTo(&h.VerdictLatency)
		}
		l.deferrals.latency.addTo(&h.VerdictLatency)
	}
	return all
}

// counts returns what was counted for the loop's queue, and what the kernel counts.
func (l *loop) counts() (c Counts) {
	for _, x := range l.sets {
		x.addTo(&c)
	}
	l.sizes.addTo(&c)
	c.Stuck, c.DeferredNow = l.to.overrun(), l.runs.holds()
	c.ReadBuffer = l.sock.ReadBuffer()

	k := l.sock.Counters()
	c.KernelKnown, c.Waiting, c.Sequence = k.Known, k.Waiting, k.Sequence
	c.QueueDropped, c.SocketDropped = k.QueueDropped, k.SocketDropped
	if l.e.cfg.FailOpen || l.e.cfg.Observe {
		c.PassedBy.SocketFull = k.SocketDropped
	} else {
		c.DroppedBy.QueueFull, c.DroppedBy.SocketFull = k.QueueDropped, k.SocketDropped
	}
	return c
}

// SetReadBuffer changes the size of each socket's receive buffer, in bytes as
// [Config.ReadBuffer] counts them, and returns the least that was granted. It may be
// called at any time before Close, from any goroutine.
func (q *Queue) SetReadBuffer(bytes int) (granted int, err error) {
	for i, l := range q.loops {
		got, err := l.sock.resizeReadBuffer(bytes)
		if err != nil {
			return granted, err
		}
		if i == 0 || got < granted {
			granted = got
		}
	}
	return granted, nil
}
