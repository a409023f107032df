package ipq

import (
	"testing"
	"time"
)

// A steered is a flow table and its strands, none of which runs.
type steered struct {
	*flowTable
	on  []*strand
	now time.Duration
}

// newSteered returns n strands whose packets take their handlers as long as
// each says.
func newSteered(n int, each time.Duration) *steered {
	s := &steered{flowTable: newFlowTable(n, n), now: time.Hour}
	for range n {
		st := &strand{}
		st.cost.Store(int64(each))
		s.on = append(s.on, st)
	}
	return s
}

// hash returns a flow hash whose home is strand k, in bucket b.
func (s *steered) hash(k, b int) uint64 {
	step := (1 << 32) / uint64(len(s.on))
	return (uint64(k)*step+step/2)<<32 | uint64(b)
}

// batch steers a batch of one packet for each hash and returns their strands.
func (s *steered) batch(hashes ...uint64) []int {
	s.begin(s.on, len(hashes), s.now)
	packets := make([]int, len(s.on))
	var to []int
	for _, h := range hashes {
		k := s.strand(h)
		packets[k]++
		to = append(to, k)
	}
	for k, n := range packets {
		if n > 0 {
			s.sent(k, n)
		}
	}
	return to
}

// done ends the oldest share of strand k, of n packets.
func (s *steered) done(k, n int) {
	s.on[k].packets.Add(uint32(n))
	s.on[k].shares.Add(1)
}

const quick, slow = time.Microsecond, 100 * time.Microsecond

func equal(t *testing.T, what string, got []int, want ...int) {
	t.Helper()
	for i := range want {
		if len(got) != len(want) || got[i] != want[i] {
			t.Errorf("%s: strands %v, want %v", what, got, want)
			return
		}
	}
}

// A batch that is decided sooner than a second worker wakes goes to one.
func TestQuickBatchesStayWhole(t *testing.T) {
	s := newSteered(4, quick)
	equal(t, "quick", s.batch(s.hash(3, 1), s.hash(2, 2), s.hash(1, 3)), 0, 0, 0)
	// As long as anything is in flight, packets go home.
	equal(t, "busy", s.batch(s.hash(3, 4), s.hash(2, 5)), 3, 2)
	s = newSteered(4, slow)
	equal(t, "slow", s.batch(s.hash(3, 1), s.hash(2, 2), s.hash(1, 3)), 3, 2, 1)
	s = newSteered(4, quick)
	equal(t, "many", s.batch(make([]uint64, 100)...)[:1], 0)
	s.done(0, 100)
	s.on[2].cost.Store(int64(slow)) // one slow strand is enough
	equal(t, "one of them slow", s.batch(s.hash(3, 1), s.hash(1, 2)), 3, 1)
}

// While a flow has a packet in flight it stays where that is.
func TestFlowsInFlightStay(t *testing.T) {
	s := newSteered(2, slow)
	flow := s.hash(1, 7)
	equal(t, "first", s.batch(flow), 1)
	other := s.hash(1, 8)
	for range 5 { // until strand 1 has much to do
		equal(t, "in flight", s.batch(flow), 1)
		equal(t, "a flow that is free", s.batch(other)[:1], 0)
		s.done(0, 1)
	}
	for range 5 {
		s.done(1, 1)
		equal(t, "in flight still", s.batch(flow), 1)
	}
}

// Once all its packets are decided, it may go anywhere.
func TestFlowsWithNothingInFlightAreFree(t *testing.T) {
	s := newSteered(2, 15*time.Microsecond)
	flow, other := s.hash(1, 7), s.hash(1, 8)
	equal(t, "first", s.batch(flow, other), 1, 1)
	equal(t, "in flight", s.batch(other, other, other), 1, 1, 1)
	s.done(1, 2)
	equal(t, "free", s.batch(flow), 0)
	s.done(0, 1)
	s.done(1, 3)
	equal(t, "both at home", s.batch(flow, other), 1, 1)
}

// Share numbers wrap around, and orders stay.
func TestShareNumbersWrapAround(t *testing.T) {
	s := newSteered(2, slow)
	for i, st := range s.on {
		const almost = 1<<32 - 2
		st.shares.Store(almost)
		s.strands[i].shares = almost
	}
	// Buckets are as they were 2^32 shares ago.
	for i := range s.buckets {
		s.buckets[i].share = 1<<32 - 2
	}
	flow := s.hash(1, 7)
	for range 5 {
		equal(t, "in flight", s.batch(flow), 1)
	}
	for range 4 {
		s.done(1, 1)
		equal(t, "in flight still", s.batch(flow), 1)
		s.done(1, 1)
	}
}

// Packets of one batch spread over the strands, as each adds to the wait of
// its own.
func TestBatchesSpread(t *testing.T) {
	s := newSteered(3, slow)
	n := make([]int, 3)
	var hashes []uint64
	for b := range 30 {
		hashes = append(hashes, s.hash(0, b)) // all have one home
	}
	for _, k := range s.batch(hashes...) {
		n[k]++
	}
	for k := range n {
		if n[k] < 9 || n[k] > 12 {
			t.Errorf("strands got %v of 30 packets", n)
			break
		}
	}
}

// A strand that does not get on is avoided, though its packets are few and its
// handlers were quick.
func TestStuckStrandsAreAvoided(t *testing.T) {
	s := newSteered(2, quick)
	s.batch(make([]uint64, 100)...)
	s.done(0, 100)
	s.batch(make([]uint64, 100)...)
	s.done(0, 99)                  // the last is stuck
	s.on[0].shares.Add(^uint32(0)) // so the share is not done
	s.begin(s.on, 1, s.now)        // progress is seen
	s.now += time.Second           // and then none
	equal(t, "stuck", s.batch(s.hash(0, 9)), 1)
}

// What packets take their handlers is learned, more sooner than less.
func TestCostRisesFasterThanItFalls(t *testing.T) {
	up, down := &strand{}, &strand{}
	down.cost.Store(int64(slow))
	up.learn(10*slow, 10)
	down.learn(0, 10)
	rise, fall := up.cost.Load(), int64(slow)-down.cost.Load()
	if rise <= fall || fall <= 0 || rise >= int64(slow) {
		t.Errorf("of a difference of %d, %d up and %d down", slow, rise, fall)
	}
	for range 100 {
		up.learn(10*slow, 10)
		down.learn(0, 10)
	}
	if off := int64(slow) - up.cost.Load(); off > 10 || down.cost.Load() > 10 {
		t.Errorf("after long: %d ns off, and %d", off, down.cost.Load())
	}
}
