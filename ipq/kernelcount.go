package ipq

import "sync"

// kernelCounters are what the kernel counts for one queue.
type kernelCounters struct {
	full          bool // all fields are known, not only socketDropped
	waiting       uint64
	queueDropped  uint64
	socketDropped uint64
	sequence      uint64
}

func (k *kernelCounters) addTo(s *Stats) {
	s.KernelKnown = s.KernelKnown && k.full
	s.Waiting += k.waiting
	s.QueueDropped += k.queueDropped
	s.SocketDropped += k.socketDropped
	s.Sequence += k.sequence
}

// A kernelTally extends the kernel's counters, which have 32 bits, to 64.
type kernelTally struct {
	mu    sync.Mutex
	total kernelCounters
	table bool // the counters are those of the table of queues
	final bool
}

// update reads the kernel's counters and returns the totals. read, which is
// called within the lock because an older count must not come second, reports
// false when there is nothing to be read; the totals then stay. After the last
// update they always do.
func (t *kernelTally) update(read func() (kernelCounters, bool), last bool) kernelCounters {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.final {
		return t.total
	}
	now, ok := read()
	t.total.full, t.total.waiting = now.full, now.waiting
	if ok && t.table && !now.full {
		ok = false // the socket's own count of what it has dropped is another one
	}
	if ok {
		t.table = now.full
		extend(&t.total.queueDropped, now.queueDropped)
		extend(&t.total.socketDropped, now.socketDropped)
		extend(&t.total.sequence, now.sequence)
	}
	if last {
		t.total.waiting, t.final = 0, true
	}
	return t.total
}

// extend adds to total what a counter of 32 bits has counted since it stood at
// the lower half of total.
func extend(total *uint64, now uint64) { *total += uint64(uint32(now) - uint32(*total)) }
