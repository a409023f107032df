package bypass

import (
	"math/bits"
	"sync"
)

// ways is how many flows share a set of counts: few enough to search.
const ways = 8

// tenure is how many packets of its set a flow keeps its place for without one
// of its own. Were a place taken at once, flows that come by turns, one more than
// there are places, would push each other out for good. So the others wait until
// one has had enough, even if 16 times as many flows come as have room; and what
// takes its place from a flow that has ended is one that sends much.
const tenure = 16 * ways

// counts are what each of a bounded number of flows has had. A flow belongs to
// one set, by its hash, which nobody outside can predict.
type counts struct {
	sets []set
	mask uint64
}

type set struct {
	mu    sync.Mutex
	turn  uint64 // of the latest use
	flows [ways]count
}

type count struct {
	key            kernelFlowKey
	packets, bytes uint64
	used           uint64 // the turn of its last use; 0: free
}

// newCounts returns room for n flows at least.
func newCounts(n int) *counts {
	sets := uint64(1) << bits.Len(uint((n-1)/ways))
	return &counts{make([]set, sets), sets - 1}
}

// add counts a packet of the flow, if there is room for it. When the flow has had
// enough, it reports so and forgets the flow.
func (c *counts) add(key *kernelFlowKey, hash, bytes uint64, enough *Inspection) bool {
	s := &c.sets[hash&c.mask]
	s.mu.Lock()
	defer s.mu.Unlock()
	s.turn++
	f, known := s.place(key)
	if !known {
		if f.used != 0 && s.turn-f.used <= tenure {
			return enough.met(1, bytes)
		}
		*f = count{key: *key}
	}
	f.used = s.turn
	f.packets++
	f.bytes += bytes
	if !enough.met(f.packets, f.bytes) {
		return false
	}
	f.used = 0
	return true
}

// place returns the flow's count; or, if it has none, the place that is free or
// the longest unused.
func (s *set) place(key *kernelFlowKey) (f *count, known bool) {
	f = &s.flows[0]
	for i := range s.flows {
		g := &s.flows[i]
		if g.used != 0 && g.key == *key {
			return g, true
		}
		if g.used < f.used {
			f = g
		}
	}
	return f, false
}

// met reports whether so much is enough.
func (i *Inspection) met(packets, bytes uint64) bool {
	return i.Packets != 0 && packets >= i.Packets || i.Bytes != 0 && bytes >= i.Bytes
}

// forget starts the flow's count anew.
func (c *counts) forget(key *kernelFlowKey, hash uint64) {
	s := &c.sets[hash&c.mask]
	s.mu.Lock()
	defer s.mu.Unlock()
	if f, known := s.place(key); known {
		f.used = 0
	}
}
