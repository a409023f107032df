package stream

import (
	"fmt"
	"strings"
	"sync/atomic"
)

// A Cause says why the Engine has dropped a packet.
type Cause uint8

const (
	// These are of packets whose receiver would throw them away, or that receivers
	// understand in different ways.

	Truncated   Cause = iota // copied in part only, as BIG TCP is
	Unclear                  // headers do not show for certain whether it is TCP
	Fragment                 // of a TCP segment: have the kernel put them together
	Rerouted                 // a source route, or Mobile IP: the addresses are not those of its ends
	BadHeader                // lengths or flags of TCP make no sense, or RST has data
	BadChecksum              // of TCP, or of IPv4

	// These do not fit their connection.

	NoConnection // midstream, with [Config.Midstream] Drop
	BadAck       // acknowledges what was not sent, or is long past, or comes before the handshake
	OutOfWindow  // its sequence number is
	Conflict     // has other bytes than an earlier one in the same place, or data behind the end
	SynAgain     // has SYN, within the windows of a connection that has not ended

	// These found no room.

	Behind      // more than [Config.MaxBehind] is not acknowledged
	Ahead       // came early, and [Config.MaxBehind] or half of MaxMemory is in use for such
	ConnLimit   // of a connection that there is no place for: see [Config.MaxConns]
	MemoryLimit // likewise for its bytes: see [Config.MaxMemory]

	// These are as they were asked for.

	Verdict    // with the bytes that an Inspector said Drop or Reset about
	FlowEnded  // of a connection that is dropped
	Unchanged  // a change that makes its meaning certain could not be made
	AfterClose // of the Engine
	Settled    // opens a connection that the kernel would not queue: [ipq.Packet.Unsettle] failed
	causes
)

// String returns for example "bad checksum".
func (c Cause) String() string { return name(causeNames[:], int(c), "cause") }

var causeNames = [causes]string{
	"truncated", "unclear", "fragment", "rerouted", "bad header", "bad checksum",
	"no connection", "bad ack", "out of window", "conflict", "syn again",
	"behind", "ahead", "connection limit", "memory limit",
	"verdict", "flow ended", "unchanged", "after close", "settled",
}

// Stats is what an [Engine] has counted since it was made.
type Stats struct {
	Open   uint64 // connections that are kept now, also half-open and closed ones
	Memory uint64 // bytes of MaxMemory that are in use now

	Evicted uint64 // connections that others have taken the place of

	Opened uint64   // connections that were established
	Closed ByReason // those that had an Inspector

	Segments      uint64 // with bytes that were inspected as they came, or when a gap was filled
	Bytes         uint64 // that were inspected
	Early         uint64 // segments that came before what is in front of them
	Retransmitted uint64 // segments without a byte that had not come before
	Changed       uint64 // segments that were changed, so that all receivers understand them alike
	Uninspected   uint64 // segments that passed without being looked at: Pass, PassFlow, Midstream

	Dropped ByCause // packets
}

// ByReason counts connections by [Reason].
type ByReason [reasons]uint64

// ByCause counts packets by [Cause].
type ByCause [causes]uint64

// String returns those that are not zero, for example "finished 20, reset 3".
func (b ByReason) String() string { return counted(b[:], reasonNames[:]) }

// String returns those that are not zero, for example "conflict 1".
func (b ByCause) String() string { return counted(b[:], causeNames[:]) }

func counted(n []uint64, names []string) string {
	var s []string
	for i, n := range n {
		if n > 0 {
			s = append(s, fmt.Sprint(names[i], " ", n))
		}
	}
	if s == nil {
		return "none"
	}
	return strings.Join(s, ", ")
}

// counters are those of Stats that add up. Each shard has its own.
type counters struct {
	evicted, opened, segments, bytes, early, retransmitted, changed, uninspected atomic.Uint64

	closed  [reasons]atomic.Uint64
	dropped [causes]atomic.Uint64
}

func (c *counters) addTo(s *Stats) {
	s.Evicted += c.evicted.Load()
	s.Opened += c.opened.Load()
	s.Segments += c.segments.Load()
	s.Bytes += c.bytes.Load()
	s.Early += c.early.Load()
	s.Retransmitted += c.retransmitted.Load()
	s.Changed += c.changed.Load()
	s.Uninspected += c.uninspected.Load()
	for i := range c.closed {
		s.Closed[i] += c.closed[i].Load()
	}
	for i := range c.dropped {
		s.Dropped[i] += c.dropped[i].Load()
	}
}
