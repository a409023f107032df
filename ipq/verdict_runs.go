package ipq

import (
	"sync/atomic"

	"github.com/goipq/goipq/internal/zerocopy"
)

// runs says when one NFQNL_MSG_VERDICT_BATCH may decide a run of packets with the
// same verdict. That message decides every packet of the queue that waits, up to
// an id. So it is right only while no earlier packet is left for somebody else to
// decide. Two things make it so:
//
//   - one writer at a time decides the queue's packets, in the order of their ids:
//     the receive loop's, with Inline;
//   - nobody else holds any: no handler has deferred one, and no other process has
//     the socket, and may have received some.
//
// Each queue has one runs, which everybody asks who may write such a message.
type runs struct {
	inOrder bool
	held    atomic.Int64 // packets that somebody else is to decide, and 1 if shared
	shared  atomic.Bool
}

// legal reports whether a run may be decided by one message now.
func (r *runs) legal() bool { return r.inOrder && r.held.Load() == 0 }

// hold notes that a packet is left for somebody else to decide.
func (r *runs) hold() { r.held.Add(1) }

// release notes that n such packets have their verdicts.
func (r *runs) release(n int) { r.held.Add(-int64(n)) }

// holds returns how many packets of this process are left for somebody else to decide.
func (r *runs) holds() int {
	n := r.held.Load()
	if r.shared.Load() {
		n--
	}
	return int(max(n, 0)) // the two are not read at once
}

// share notes that from now on another process may hold packets of the queue.
// Those that this one has received before are no matter of doubt: the socket
// gives packets out in order.
func (r *runs) share() {
	if !r.shared.Swap(true) {
		r.held.Add(1)
	}
}

// A series is one or more packets with the same plain verdict, of ascending ids,
// which are to be decided by one message. It has more than one only while runs
// are legal.
type series struct {
	verdict Verdict
	last    uint32 // id
	packets int    // 0: there is none
}

// put encodes the message for the series, and ends it.
func (s *series) put(b []byte, queue uint16) int {
	put := zerocopy.PutVerdict
	if s.packets > 1 {
		put = zerocopy.PutVerdictBatch
	}
	s.packets = 0
	return put(b, queue, s.last, s.verdict.kernel())
}

// putInPlace encodes the verdict that takes the place of one that the kernel has
// refused, for as many packets: what was before a run had been decided when it was
// written, and still is.
func putInPlace(b []byte, queue uint16, refused zerocopy.Error, v Verdict) {
	put := zerocopy.PutVerdict
	if refused.Type == zerocopy.TypeVerdictBatch {
		put = zerocopy.PutVerdictBatch
	}
	put(b, queue, refused.Seq, v.kernel())
}

// putUpTo encodes a verdict on all packets up to an id. The caller answers for it
// that none of them is anybody else's to decide.
func putUpTo(b []byte, queue uint16, last uint32, v Verdict) int {
	return zerocopy.PutVerdictBatch(b, queue, last, v.kernel())
}
