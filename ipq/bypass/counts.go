package bypass

import (
	"math/bits"
	"sync"
)

// ways is how many flows share a set of counts: few enough to search, enough
// that a flow that is still active is seldom the one to go.
const ways = 8

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

// add counts a packet of the flow. When the flow has had enough, it reports so
// and forgets the flow.
func (c *counts) add(key *kernelFlowKey, hash, bytes uint64, enough *Inspection) bool {
	s := &c.sets[hash&c.mask]
	s.mu.Lock()
	defer s.mu.Unlock()
	s.turn++
	oldest := &s.flows[0]
	for i := range s.flows {
		f := &s.flows[i]
		if f.used != 0 && f.key == *key {
			oldest = f
			break
		}
		if f.used < oldest.used {
			oldest = f
		}
	}
	f := oldest
	if f.used == 0 || f.key != *key {
		*f = count{key: *key}
	}
	f.used = s.turn
	f.packets++
	f.bytes += bytes
	if enough.Packets != 0 && f.packets >= enough.Packets || enough.Bytes != 0 && f.bytes >= enough.Bytes {
		f.used = 0
		return true
	}
	return false
}

// forget starts the flow's count anew.
func (c *counts) forget(key *kernelFlowKey, hash uint64) {
	s := &c.sets[hash&c.mask]
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := range s.flows {
		if f := &s.flows[i]; f.used != 0 && f.key == *key {
			f.used = 0
		}
	}
}
