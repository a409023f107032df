package nfsock

import "sync"

// Counters are what the kernel counts for one queue.
type Counters struct {
	Known         bool   // all fields are known, not only SocketDropped
	Waiting       uint64 // packets that wait for their verdict now
	QueueDropped  uint64 // packets that did not fit into the queue
	SocketDropped uint64 // packets that did not fit into the receive buffer
	Sequence      uint64 // the id of the last packet that was queued
}

// Counters returns the kernel's counters of the queue, extended to 64 bits, or
// what they were when it was unbound.
func (s *Socket) Counters() Counters { return s.readCounters(false) }

// readCounters reads the counters; no update comes behind the last one.
func (s *Socket) readCounters(last bool) Counters {
	return s.count.update(func() (Counters, bool) { return s.tables.read(s.queue, s.nl.PID()) }, last)
}

// tableReads is how often the table is read for a line of one moment. A queue
// that nobody decides is soon full, and its line stands still.
const tableReads = 1000

// Snapshot returns the kernel's counters, of 32 bits, of one moment if it can be
// had: the kernel writes its table while packets come. It reports false if the
// table cannot be read.
func (s *Socket) Snapshot() (c Counters, ok bool) {
	last := c
	for range tableReads {
		if c, ok = s.tables.read(s.queue, s.nl.PID()); !ok || !c.Known {
			return c, false
		}
		if c == last {
			break
		}
		last = c
	}
	return c, true
}

// An extender extends the kernel's counters, which have 32 bits, to 64.
type extender struct {
	mu    sync.Mutex
	total Counters
	table bool // the counters are those of the table of queues
	final bool
}

// update reads the kernel's counters and returns the totals. read, which is
// called within the lock because an older count must not come second, reports
// false when there is nothing to be read; the totals then stay. After the last
// update they always do.
func (x *extender) update(read func() (Counters, bool), last bool) Counters {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.final {
		return x.total
	}
	now, ok := read()
	x.total.Known, x.total.Waiting = now.Known, now.Waiting
	if ok && x.table && !now.Known {
		ok = false // the socket's own count of what it has dropped is another one
	}
	if ok {
		x.table = now.Known
		extend(&x.total.QueueDropped, now.QueueDropped)
		extend(&x.total.SocketDropped, now.SocketDropped)
		extend(&x.total.Sequence, now.Sequence)
	}
	if last {
		x.total.Waiting, x.final = 0, true
	}
	return x.total
}

// extend adds to total what a counter of 32 bits has counted since it stood at
// the lower half of total.
func extend(total *uint64, now uint64) { *total += uint64(uint32(now) - uint32(*total)) }
