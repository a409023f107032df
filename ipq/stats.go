package ipq

import (
	"math/bits"
	"sync/atomic"
)

// Stats are counts since Open, over all queues of a [Queue], and a few states.
// Counts of user space are exact when Run has returned; while it runs they
// are taken one after the other and may differ by packets in flight.
type Stats struct {
	// Received counts packets read from the kernel, Batches the recvmmsg(2)
	// calls that brought any.
	Received, Batches uint64
	// BatchSizes counts Batches by how many messages, packets for the most part,
	// they brought: item i those with 2^i or more and fewer than 2^(i+1).
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
	// Modified counts verdicts that carried a new payload.
	Modified uint64

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
	// not deferred because too many were.
	Deferred, DeferExpired, DeferRefused uint64
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

// A counter is one of the engine's counters. To add one, add it here, its place
// in counterPlaces, and its field to Stats; whoever has counters then counts it.
type counter uint8

const (
	// Of verdicts: a writer counts these, and shows them once they are written.
	countVerdicts counter = iota
	countMessages
	countAccepted // the kinds, in the order of kinds
	countDropped
	countRepeated
	countStopped
	countRequeued
	countModified
	countInvalid
	countTimedOut
	countTooLarge
	countExcessAccepted
	countExcessDropped

	countReceived
	countWrites
	countWriteRetries
	countTruncated
	countUndecodable
	countUnknown
	countRefused
	countOther
	countOverruns
	countReadRetries
	countParks
	countWaits
	countOvertook
	countOrphans
	countPanics
	countBypassed
	countBypassFailed
	countDeferred
	countDeferExpired
	countDeferRefused

	ofVerdicts = countExcessDropped + 1
	ofAll      = countDeferRefused + 1
)

// counterPlaces says where Stats has each counter.
var counterPlaces = [ofAll]func(*Stats) *uint64{
	countVerdicts:       func(s *Stats) *uint64 { return &s.Verdicts },
	countMessages:       func(s *Stats) *uint64 { return &s.Messages },
	countAccepted:       func(s *Stats) *uint64 { return &s.Accepted },
	countDropped:        func(s *Stats) *uint64 { return &s.Dropped },
	countRepeated:       func(s *Stats) *uint64 { return &s.Repeated },
	countStopped:        func(s *Stats) *uint64 { return &s.Stopped },
	countRequeued:       func(s *Stats) *uint64 { return &s.Requeued },
	countModified:       func(s *Stats) *uint64 { return &s.Modified },
	countInvalid:        func(s *Stats) *uint64 { return &s.InvalidVerdicts },
	countTimedOut:       func(s *Stats) *uint64 { return &s.TimedOut },
	countTooLarge:       func(s *Stats) *uint64 { return &s.TooLarge },
	countExcessAccepted: func(s *Stats) *uint64 { return &s.ExcessAccepted },
	countExcessDropped:  func(s *Stats) *uint64 { return &s.ExcessDropped },
	countReceived:       func(s *Stats) *uint64 { return &s.Received },
	countWrites:         func(s *Stats) *uint64 { return &s.Writes },
	countWriteRetries:   func(s *Stats) *uint64 { return &s.WriteRetries },
	countTruncated:      func(s *Stats) *uint64 { return &s.Truncated },
	countUndecodable:    func(s *Stats) *uint64 { return &s.Undecodable },
	countUnknown:        func(s *Stats) *uint64 { return &s.UnknownVerdicts },
	countRefused:        func(s *Stats) *uint64 { return &s.RefusedVerdicts },
	countOther:          func(s *Stats) *uint64 { return &s.OtherMessages },
	countOverruns:       func(s *Stats) *uint64 { return &s.Overruns },
	countReadRetries:    func(s *Stats) *uint64 { return &s.ReadRetries },
	countParks:          func(s *Stats) *uint64 { return &s.Parks },
	countWaits:          func(s *Stats) *uint64 { return &s.Waits },
	countOvertook:       func(s *Stats) *uint64 { return &s.Overtook },
	countOrphans:        func(s *Stats) *uint64 { return &s.Orphans },
	countPanics:         func(s *Stats) *uint64 { return &s.Panics },
	countBypassed:       func(s *Stats) *uint64 { return &s.Bypassed },
	countBypassFailed:   func(s *Stats) *uint64 { return &s.BypassFailed },
	countDeferred:       func(s *Stats) *uint64 { return &s.Deferred },
	countDeferExpired:   func(s *Stats) *uint64 { return &s.DeferExpired },
	countDeferRefused:   func(s *Stats) *uint64 { return &s.DeferRefused },
}

// counters are a set of all counters. Most sets are written by one goroutine at a
// time; the padding keeps neighbours apart.
type counters struct {
	n [ofAll]atomic.Uint64
	_ [64]byte
}

func (c *counters) inc(k counter)           { c.n[k].Add(1) }
func (c *counters) add(k counter, n uint64) { c.n[k].Add(n) }

func (c *counters) addTo(s *Stats) {
	for k, place := range counterPlaces {
		*place(s) += c.n[k].Load()
	}
}

// batchClasses is how many powers of two there are up to maxBatchSize.
const batchClasses = 11

// batchSizes are the receive loop's side of Stats.BatchSizes, and of Batches,
// which is their sum.
type batchSizes [batchClasses]atomic.Uint64

// add counts a batch of n messages.
func (s *batchSizes) add(n int) { s[bits.Len(uint(n)>>1)].Add(1) }

func (s *batchSizes) addTo(to *Stats) {
	for i := range s {
		n := s[i].Load()
		to.BatchSizes[i] += n
		to.Batches += n
	}
}
