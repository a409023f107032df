package stream

import (
	"sync"
	"sync/atomic"
)

// A shard is a part of the connections. Its lock is held for finding one, never while
// anybody else's code runs, nor while that of a connection is waited for: whoever has a
// connection's may take it.
type shard struct {
	mu      sync.Mutex
	conns   []Conn   // its places
	first   uint32   // the index of conns[0], from 1 on
	buckets []uint32 // by hash: the index of a connection; 0: none
	free    uint32   // the first free place of those that were used, by index; 0: none
	fresh   int      // places that were never used follow
	open    int      // connections
	hand    int      // where sweep goes on
	swept   atomic.Uint32

	// The connections that may go when a place is needed: those that are closed, reset
	// or not yet established, and then those that are not inspected.
	expendable [2]queue

	count counters
	_     [64]byte // a cache line between the counters of two
}

// A queue has connections by age.
type queue struct{ oldest, newest uint32 }

// What shard.expendable has, and so Conn.queue; 0 is for neither.
const (
	ending      = 1
	uninspected = 2
)

func (s *shard) init(conns []Conn, first uint32) {
	s.conns, s.first = conns, first
	n := 1
	for n < len(conns) {
		n *= 2
	}
	s.buckets = make([]uint32, n)
}

func (s *shard) at(index uint32) *Conn { return &s.conns[index-s.first] }

func (s *shard) bucket(hash uint64) *uint32 { return &s.buckets[hash&uint64(len(s.buckets)-1)] }

func (s *shard) find(k *key, hash uint64) *Conn {
	for i := *s.bucket(hash); i != 0; {
		c := s.at(i)
		if c.key == *k {
			return c
		}
		i = c.chain
	}
	return nil
}

// add finds a place for a connection, or returns nil.
func (s *shard) add(k *key, hash uint64, now uint32) *Conn {
	var c *Conn
	switch {
	case s.free != 0:
		c = s.at(s.free)
		s.free = c.chain
	case s.fresh < len(s.conns):
		c = &s.conns[s.fresh]
		c.index = s.first + uint32(s.fresh)
		s.fresh++
	default:
		return nil
	}
	b := s.bucket(hash)
	c.key, c.chain, c.live, c.seen = *k, *b, true, now
	*b = c.index
	s.open++
	s.expend(c, ending)
	return c
}

// expend makes c the newest of those in a queue.
func (s *shard) expend(c *Conn, which uint8) {
	s.keep(c)
	q := &s.expendable[which-1]
	c.queue, c.older, c.newer = which, q.newest, 0
	if q.newest != 0 {
		s.at(q.newest).newer = c.index
	} else {
		q.oldest = c.index
	}
	q.newest = c.index
}

// keep takes c out of its queue.
func (s *shard) keep(c *Conn) {
	if c.queue == 0 {
		return
	}
	q := &s.expendable[c.queue-1]
	c.queue = 0
	if c.older != 0 {
		s.at(c.older).newer = c.newer
	} else {
		q.oldest = c.newer
	}
	if c.newer != 0 {
		s.at(c.newer).older = c.older
	} else {
		q.newest = c.older
	}
}

// remove takes c, whose lock is held, out of the table. Its place is not yet free.
func (s *shard) remove(c *Conn, hash uint64) {
	p := s.bucket(hash)
	for *p != c.index {
		p = &s.at(*p).chain
	}
	*p = c.chain
	s.keep(c)
	c.live = false
	c.gen++
	s.open--
}

// release frees the place of c, which was removed.
func (s *shard) release(c *Conn) {
	c.chain = s.free
	s.free = c.index
}

// victim returns the oldest connection that may go, with its lock held, or nil. One
// that is being handled is not waited for.
func (s *shard) victim() *Conn {
	const tries = 8
	for _, q := range s.expendable {
		for i, n := q.oldest, 0; i != 0 && n < tries; n++ {
			c := s.at(i)
			if c.mu.TryLock() {
				return c
			}
			i = c.newer
		}
	}
	return nil
}

// turn is how many seconds it takes to look at all connections for those that are idle.
const turn = 64

// sweepDue reports whether to look for idle connections, and how many places to look at.
func (s *shard) sweepDue(now uint32) (places int) {
	last := s.swept.Load()
	if last == now || !s.swept.CompareAndSwap(last, now) {
		return 0
	}
	return int(min(uint64(now-last), turn)*uint64(len(s.conns))/turn) + 1
}

// idler looks at the next places, and returns the first connection there that is idle,
// with its lock held, and how many places are left; or nil. Those that are being
// handled are not.
func (s *shard) idler(now, idle uint32, places int) (*Conn, int) {
	for ; places > 0; places-- {
		if s.hand >= s.fresh {
			s.hand = 0
			if s.fresh == 0 {
				break
			}
		}
		c := &s.conns[s.hand]
		s.hand++
		if !c.live || !c.mu.TryLock() {
			continue
		}
		if int32(now-c.seen) >= int32(c.patience(idle)) {
			return c, places - 1
		}
		c.mu.Unlock()
	}
	return nil, 0
}
