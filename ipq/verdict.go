package ipq

import (
	"fmt"
	"strings"
)

// A Verdict says what becomes of a packet. It is a plain value: a handler
// returns it, constants can be compared, and the zero value is [Drop].
//
// The low byte is the kernel's verdict (NF_DROP and so on). The next byte says
// what goes with it. The upper half of the low word is the target of a [Requeue],
// and the high word is a mark.
type Verdict uint64

// The kernel's verdicts that user space may give. NF_STOLEN is not among them:
// the kernel refuses it from user space.
const (
	// Drop discards the packet.
	Drop Verdict = 0
	// Accept lets the packet go on at the next hook function: not at the next
	// rule of the chain that queued it.
	Accept Verdict = 1
	// Repeat runs the packet through the same hook again, so the rule that
	// queued it must have a way of telling that it has been here, such as a
	// mark given with [Verdict.WithMark]; otherwise it loops.
	Repeat Verdict = 4
	// Stop accepts the packet and skips the remaining functions of its hook.
	Stop Verdict = 5
)

// Drop, and tell.
const (
	// Reject discards the packet as Drop does, and tells its sender, so that it gives up at
	// once: by a TCP segment with RST, which ends a connection ("connection refused", or
	// "reset"), and for other protocols by ICMP's or ICMPv6's "administratively
	// prohibited". Connected sockets of Linux get EHOSTUNREACH from that over IPv4, and
	// EACCES over IPv6.
	//
	// It works at all hooks of IPv4 and IPv6. The answer comes from a raw socket, which Open
	// makes, and for which it takes CAP_NET_RAW; without, nobody is told. The kernel routes
	// it, and runs it through the rules for packets that this host sends. If those queue it,
	// it is a packet like any other, so give it a mark by [Config.OwnMark] and have the rules
	// pass that. Where the packet's connection is translated (NAT), so is the answer, except
	// to the connection's first packet, which the kernel does not know yet: at a hook behind
	// the translation of that, it takes [Config.Conntrack].
	//
	// Nobody is told of a TCP segment with RST, of ICMP's errors and neighbour discovery,
	// broadcast, multicast, fragments, packets with wrong checksums, those whose headers are
	// cut off, those whose payload the handler has edited, and packets of the bridge family.
	// Nor are there more answers than [Config.RejectRate]. [Counts.Rejects] counts what came
	// of it; the packet counts as dropped. The kernel does not tell packets that came in a
	// broadcast frame from others.
	Reject = Drop | verdictReject
	// RejectBoth is Reject that also ends the connection of a TCP segment for its receiver.
	// What the receiver takes for the end is a segment that is next in order; others it
	// asks the sender about, and that, having been told, ends it.
	RejectBoth = Reject | verdictBoth
)

const (
	verdictQueue  Verdict = 3 // NF_QUEUE
	verdictCode   Verdict = 0xff
	verdictMark   Verdict = 1 << 8 // the high word holds a mark
	verdictBypass Verdict = 1 << 9
	verdictReject Verdict = 1 << 10 // the sender is told
	verdictBoth   Verdict = 1 << 11 // the receiver, too
	verdictPass   Verdict = 1 << 15 // NF_VERDICT_FLAG_QUEUE_BYPASS
	queueShift            = 16      // NF_VERDICT_QBITS
	markShift             = 32
	kernelBits    Verdict = 0xffff_00ff // what becomes of the packet

	// wishes are what the engine does beside the verdict.
	wishes = verdictBypass | verdictReject | verdictBoth
)

// Requeue passes the packet on to another queue, at its end. It is dropped when nobody
// listens on that queue, or that is full; [RequeueBypass] is for the first.
//
// Of a packet that is dropped for want of a listener the kernel tells nobody, and counts
// it nowhere: not in [Counts], which have it as requeued, nor in the kernel's own table of
// queues, which has no line for a queue without a listener. Only a listener's
// Counts.Received, beside Counts.Requeued here, can tell.
func Requeue(queue uint16) Verdict {
	return Verdict(queue)<<queueShift | verdictQueue
}

// RequeueBypass is Requeue that lets the packet go on, as [Accept] does, when nobody
// listens on the other queue (the kernel's NF_VERDICT_FLAG_QUEUE_BYPASS). When that queue
// is full it is dropped all the same, or accepted if its listener fails open.
func RequeueBypass(queue uint16) Verdict { return Requeue(queue) | verdictPass }

// WithMark returns v with a packet mark (skb->mark, what rules see as "meta
// mark") that the kernel sets as the verdict takes effect. It replaces the
// whole mark; a mark of 0 is set, too.
func (v Verdict) WithMark(mark uint32) Verdict {
	return v&(1<<markShift-1) | verdictMark | Verdict(mark)<<markShift
}

// Kind returns v without its mark and without [Verdict.Bypass]: [Drop], [Accept],
// [Repeat], [Stop] or a [Requeue], so that it can be compared with these. That of
// [Reject] and [RejectBoth] is Drop, that of a [RequeueBypass] the Requeue.
func (v Verdict) Kind() Verdict { return v & kernelBits }

// Mark returns the mark that v sets, and whether it sets one.
func (v Verdict) Mark() (mark uint32, ok bool) {
	return uint32(v >> markShift), v&verdictMark != 0
}

// Bypass returns v, and asks for the rest of the packet's flow to be decided in the
// same way by the kernel, without being queued. [Config.Bypass] does that before the
// verdict on this packet is written. It works with [Accept] and [Drop]. Other
// verdicts, and all without a Config.Bypass, take effect on this packet only, and
// count in [Stats.BypassFailed]; see [Packet.CanBypass]. A [Conn] ignores it.
func (v Verdict) Bypass() Verdict { return v | verdictBypass }

// An ExceptionPolicy is the verdict on packets that no handler decides, for one of
// several causes. The zero value goes by [Config.FailOpen]: it accepts them with it,
// and drops them without. [Always] makes another.
type ExceptionPolicy struct {
	verdict Verdict
	set     bool
}

// Always returns the policy that gives packets the verdict v, whatever
// [Config.FailOpen] says. v must be one that the kernel knows, without
// [Verdict.Bypass], and none that tells anybody: Open refuses others.
func Always(v Verdict) ExceptionPolicy { return ExceptionPolicy{v, true} }

// or returns the verdict of the policy.
func (p ExceptionPolicy) or(failOpen bool) Verdict {
	switch {
	case p.set:
		return p.verdict
	case failOpen:
		return Accept
	}
	return Drop
}

// String returns for example "by FailOpen" or "drop".
func (p ExceptionPolicy) String() string {
	if p.set {
		return p.verdict.String()
	}
	return "by FailOpen"
}

// kernel returns the verdict as it stands in struct nfqnl_msg_verdict_hdr.
func (v Verdict) kernel() uint32 { return uint32(v & (kernelBits | verdictPass)) }

// valid reports whether the kernel will take v. It answers any other verdict
// with EINVAL and leaves the packet in the queue.
func (v Verdict) valid() bool {
	const known = 1<<Drop | 1<<Accept | 1<<verdictQueue | 1<<Repeat | 1<<Stop
	code := v & verdictCode
	return code <= Stop && known>>code&1 != 0
}

// String returns for example "accept", "queue 7" or "repeat, mark 0x2a".
func (v Verdict) String() string {
	var s strings.Builder
	switch code := v & verdictCode; code {
	case Drop:
		switch {
		case v&verdictBoth != 0:
			s.WriteString("reject both")
		case v&verdictReject != 0:
			s.WriteString("reject")
		default:
			s.WriteString("drop")
		}
	case Accept:
		s.WriteString("accept")
	case verdictQueue:
		fmt.Fprintf(&s, "queue %d", uint16(v>>queueShift))
		if v&verdictPass != 0 {
			s.WriteString(" or accept")
		}
	case Repeat:
		s.WriteString("repeat")
	case Stop:
		s.WriteString("stop")
	default:
		fmt.Fprintf(&s, "invalid verdict %d", code)
	}
	if mark, ok := v.Mark(); ok {
		fmt.Fprintf(&s, ", mark %#x", mark)
	}
	if v&verdictBypass != 0 {
		s.WriteString(", bypass")
	}
	return s.String()
}
