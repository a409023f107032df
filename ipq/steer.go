package ipq

import "time"

const (
	// flowBuckets is the number of entries that flows are told apart by, a
	// power of two. Flows that share one stay on one strand while either has
	// packets in flight. 4096 entries of 8 bytes fit into the first-level
	// cache, and only those of living flows are touched.
	flowBuckets = 4096
	// initialCost is what a packet is assumed to take its handler before any
	// was seen: long, so that the first packets are spread over all workers.
	initialCost = 50 * time.Microsecond
	// writeCost is about what writing a verdict takes: the kernel sends the
	// packet on its way within the call.
	writeCost = 2 * time.Microsecond
	// worthwhile is how much waiting must be saved to use a second worker, or
	// another than a flow's usual one: waking it, and a smaller write, cost
	// about as much.
	worthwhile = 20 * time.Microsecond
)

// steering decides which strand each packet goes to. It belongs to the
// receive loop.
//
// A flow's packets keep their order because a flow stays on its strand while
// it has packets in flight there; a packet is in flight until its verdict is
// written. A flow without any is free to go
//
//   - where the whole batch goes, when all strands are idle and the handlers
//     are quick: one worker to wake, one write;
//   - else to the strand that its hash says, unless it would wait there
//     notably longer than elsewhere: so a slow handler holds up its own flow,
//     and not the others of its strand.
type steering struct {
	strands []strandView
	buckets [flowBuckets]bucket

	workers int
	up      []int // strands in use: the first workers of those that are not stuck

	whole int // the strand that gets the batch whole, or -1
	least int // the strand in use with the shortest wait; -1: all are stuck
}

// strandView is what the receive loop knows of a strand.
type strandView struct {
	spans, packets uint32        // handed over, wrapping around
	done           uint32        // spans done as this batch began
	load           uint32        // packets in flight
	each           time.Duration // that a packet takes
	wait           time.Duration // for a packet that comes now
	progress       time.Duration // when the strand was last seen to get on
	stuck          uint32        // see lane.stuck
}

// bucket tells where the flows that hash to it went last.
type bucket struct {
	strand uint32
	span   uint32 // in the count of that strand's spans
}

// newSteering returns the steering for a number of workers, and strands, some
// of which may be there to take the place of those that get stuck.
func newSteering(workers, strands int) *steering {
	return &steering{strands: make([]strandView, strands), workers: workers, up: make([]int, 0, workers)}
}

// begin looks at the strands' progress, for a batch of n packets. It reports
// whether any strand is stuck.
func (s *steering) begin(strands []*strand, n int, now time.Duration) (stuck bool) {
	cost, busy := time.Duration(0), false
	s.up = s.up[:0]
	for i := range s.strands {
		v, st := &s.strands[i], strands[i]
		if v.stuck = st.stuck.Load(); v.stuck == 0 && len(s.up) < s.workers {
			s.up = append(s.up, i)
		}
		stuck = stuck || v.stuck != 0
		// In this order: the packets of a span that counts are counted.
		done := st.spans.Load()
		v.load = v.packets - st.packets.Load()
		if done != v.done || v.load == 0 {
			v.done, v.progress = done, now
		}
		handler := time.Duration(st.cost.Load())
		v.each = handler + writeCost
		// A strand that has not got on for long is not expected to do so
		// sooner than after as long again.
		v.wait = max(v.each*time.Duration(v.load), now-v.progress)
		cost = max(cost, handler)
		busy = busy || v.load != 0
	}
	s.findLeast()
	s.whole = -1
	if !busy && cost*time.Duration(n) < worthwhile {
		s.whole = s.least
	}
	return stuck
}

func (s *steering) findLeast() {
	s.least = -1
	for _, k := range s.up {
		if s.least < 0 || s.strands[k].wait < s.strands[s.least].wait {
			s.least = k
		}
	}
}

// bucketOf returns the bucket of a flow with that hash.
func bucketOf(hash uint64) uint16 { return uint16(hash % flowBuckets) }

// strand chooses the strand for a packet. It returns -1 if there is none that
// the packet would not wait for a handler on that does not return: its own
// flow's, or every strand's.
func (s *steering) strand(hash uint64) int {
	b := &s.buckets[bucketOf(hash)]
	k := int(b.strand)
	if v := &s.strands[k]; v.stuck != 0 && (v.stuck == uint32(bucketOf(hash))+1 || v.inFlight(b.span)) {
		return -1
	} else if v.stuck != 0 || !v.inFlight(b.span) {
		if k = s.free(hash); k < 0 {
			return -1
		}
		b.strand = uint32(k)
	}
	v := &s.strands[k]
	b.span = v.spans + 1 // the one that sent will count
	v.wait += v.each
	if k == s.least {
		s.findLeast()
	}
	return k
}

// free chooses for a flow that has nothing in flight.
func (s *steering) free(hash uint64) int {
	if s.whole >= 0 {
		return s.whole
	}
	if s.least < 0 {
		return -1
	}
	home := s.up[hash>>32*uint64(len(s.up))>>32]
	if s.strands[home].wait > s.strands[s.least].wait+worthwhile {
		return s.least
	}
	return home
}

// overtakes reports whether a packet that is sent on now overtakes others of
// its flow, or of one in the same bucket.
func (s *steering) overtakes(strands []*strand, hash uint64) bool {
	b := &s.buckets[bucketOf(hash)]
	return int32(b.span-strands[b.strand].spans.Load()) > 0
}

// inFlight reports whether the strand's span with that number is not done.
// Numbers wrap around: one that was not met for 2^31 spans looks in flight,
// which is harmless.
func (v *strandView) inFlight(span uint32) bool { return int32(span-v.done) > 0 }

// sent counts a span of n packets handed over to strand k.
func (s *steering) sent(k, n int) {
	s.strands[k].spans++
	s.strands[k].packets += uint32(n)
}

// learn takes what a span of n packets took its handlers into the strand's
// moving average, rising faster than it falls.
func (st *strand) learn(took time.Duration, n int) {
	old := st.cost.Load()
	diff := int64(took)/int64(n) - old
	if diff > 0 {
		diff *= 2
	}
	st.cost.Store(old + diff/8)
}
