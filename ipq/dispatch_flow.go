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

// A flowTable chooses the strand that each packet goes to. It belongs to the
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
type flowTable struct {
	strands []strandView
	buckets [flowBuckets]bucket

	workers int
	up      []int // strands in use: the first workers of those whose calls do not overrun

	whole int // the strand that gets the batch whole, or -1
	least int // the strand in use with the shortest wait; -1: there is none
}

// strandView is what the receive loop knows of a strand.
type strandView struct {
	shares, packets uint32        // handed over, wrapping around
	done            uint32        // shares done as this batch began
	load            uint32        // packets in flight
	each            time.Duration // that a packet takes
	wait            time.Duration // for a packet that comes now
	progress        time.Duration // when the strand was last seen to get on
	late            uint32        // see caller.late
}

// bucket tells where the flows that hash to it went last.
type bucket struct {
	strand uint32
	share  uint32 // in the count of that strand's shares
}

// newFlowTable returns the table for a number of workers, and strands, some
// of which may be there to take the place of those whose calls overrun.
func newFlowTable(workers, strands int) *flowTable {
	return &flowTable{strands: make([]strandView, strands), workers: workers, up: make([]int, 0, workers)}
}

// begin looks at the strands' progress, for a batch of n packets. It reports
// whether a call of any strand overruns.
func (f *flowTable) begin(strands []*strand, n int, now time.Duration) (late bool) {
	cost, busy := time.Duration(0), false
	f.up = f.up[:0]
	for i := range f.strands {
		v, st := &f.strands[i], strands[i]
		if v.late = st.late.Load(); v.late == 0 && len(f.up) < f.workers {
			f.up = append(f.up, i)
		}
		late = late || v.late != 0
		// In this order: the packets of a share that counts are counted.
		done := st.shares.Load()
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
	f.findLeast()
	f.whole = -1
	if !busy && cost*time.Duration(n) < worthwhile {
		f.whole = f.least
	}
	return late
}

func (f *flowTable) findLeast() {
	f.least = -1
	for _, k := range f.up {
		if f.least < 0 || f.strands[k].wait < f.strands[f.least].wait {
			f.least = k
		}
	}
}

// bucketOf returns the bucket of a flow with that hash.
func bucketOf(hash uint64) uint16 { return uint16(hash % flowBuckets) }

// strand chooses the strand for a packet. It returns -1 if the packet would have to
// wait for a handler that does not return: its flow's, or every strand's.
func (f *flowTable) strand(hash uint64) int {
	b := &f.buckets[bucketOf(hash)]
	k := int(b.strand)
	if v := &f.strands[k]; v.late != 0 && (v.late == uint32(bucketOf(hash))+1 || v.inFlight(b.share)) {
		return -1
	} else if v.late != 0 || !v.inFlight(b.share) {
		if k = f.choose(hash); k < 0 {
			return -1
		}
		b.strand = uint32(k)
	}
	v := &f.strands[k]
	b.share = v.shares + 1 // the one that sent will count
	v.wait += v.each
	if k == f.least {
		f.findLeast()
	}
	return k
}

// choose chooses for a flow that has nothing in flight.
func (f *flowTable) choose(hash uint64) int {
	if f.whole >= 0 {
		return f.whole
	}
	if f.least < 0 {
		return -1
	}
	home := f.up[hash>>32*uint64(len(f.up))>>32]
	if f.strands[home].wait > f.strands[f.least].wait+worthwhile {
		return f.least
	}
	return home
}

// overtakes reports whether a packet that is sent on now overtakes others of
// its flow, or of one in the same bucket.
func (f *flowTable) overtakes(strands []*strand, hash uint64) bool {
	b := &f.buckets[bucketOf(hash)]
	return int32(b.share-strands[b.strand].shares.Load()) > 0
}

// inFlight reports whether the strand's share with that number is not done.
// Numbers wrap around: one that was not met for 2^31 shares looks in flight,
// which is harmless.
func (v *strandView) inFlight(share uint32) bool { return int32(share-v.done) > 0 }

// sent counts a share of n packets handed over to strand k.
func (f *flowTable) sent(k, n int) {
	f.strands[k].shares++
	f.strands[k].packets += uint32(n)
}

// learn takes what a share of n packets took its handlers into the strand's
// moving average, rising faster than it falls.
func (st *strand) learn(took time.Duration, n int) {
	old := st.cost.Load()
	diff := int64(took)/int64(n) - old
	if diff > 0 {
		diff *= 2
	}
	st.cost.Store(old + diff/8)
}
