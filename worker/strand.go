package worker

import (
	"fmt"
	"sync"
	"sync/atomic"
)

// A strand is a bounded queue of tasks with many submitters and, at any
// moment, at most one runner. Submitters exclude one another with mu; the
// runner takes tasks without it, so that a busy strand costs one uncontended
// lock a task.
//
// Slots [taken, accepted) of the ring hold waiting tasks. A submitter fills a
// slot before it stores accepted; the runner empties it before it stores
// taken. The two counters thus pass each slot to and fro. Each side's fields
// are on cache lines of their own, a gain of a third with several submitters;
// keeping a copy of the other's counter on top was none.
type strand[T any] struct {
	mu        sync.Mutex
	room      sync.Cond // signalled, under mu, once per task taken while blocked > 0
	scheduled bool      // ready, or with a runner; under mu
	closed    bool      // under mu
	in        int       // slot the next task goes to; under mu
	accepted  atomic.Uint64
	blocked   atomic.Int32 // submitters waiting for room; changed under mu

	_ [cacheLine]byte // submitters write above, the runner below

	slots []T
	out   int // slot the next task comes from; the runner's
	taken atomic.Uint64
	done  atomic.Uint64
	next  *strand[T]  // in the ready list; under Pool.mu
	stuck atomic.Bool // the running task is stuck; changed under Pool.mu

	_ [cacheLine]byte
}

// cacheLine is the largest common line: 128 bytes on Apple's arm64, and on
// amd64 the pair of 64-byte lines that the prefetcher fetches together.
const cacheLine = 128

// Submit queues task on a strand (0..Strands-1) behind those accepted there
// earlier, and blocks while Depth tasks wait. It returns ErrClosed when Close
// has begun, also if it was blocked at the time, and an error wrapping
// ErrNoStrand for a number out of range; nil means that the task will run.
//
// Any goroutine may submit. Tasks of one goroutine keep its order; submitters
// that call at the same moment are served in no particular order. A task may
// submit too, but one that blocks on a full strand holds its worker
// meanwhile, and on its own strand waits for itself: tasks should use
// TrySubmit.
func (p *Pool[T]) Submit(strand int, task T) error {
	return p.submit(strand, task, true)
}

// TrySubmit is Submit that never waits for room: it returns ErrFull at once
// when Depth tasks wait on the strand.
func (p *Pool[T]) TrySubmit(strand int, task T) error {
	return p.submit(strand, task, false)
}

func (p *Pool[T]) submit(number int, task T, wait bool) error {
	if number < 0 || number >= len(p.strands) {
		return fmt.Errorf("%w: %d is not within 0..%d", ErrNoStrand, number, len(p.strands)-1)
	}
	s := &p.strands[number]
	s.mu.Lock()
	for !s.closed && s.full() {
		if !wait {
			s.mu.Unlock()
			return ErrFull
		}
		s.awaitRoom()
	}
	if s.closed {
		s.mu.Unlock()
		return ErrClosed
	}
	s.put(task)
	start := false
	if !s.scheduled {
		s.scheduled = true
		// Under s.mu still, so that Close cannot find the pool drained
		// between the acceptance of a task and its being scheduled.
		start = p.schedule(s)
	}
	s.mu.Unlock()
	if start {
		p.startRunner()
	}
	return nil
}

// full reports whether Depth tasks wait. The caller holds s.mu.
func (s *strand[T]) full() bool {
	return s.accepted.Load()-s.taken.Load() >= uint64(len(s.slots))
}

// awaitRoom waits for a task to be taken or the pool to be closed. The caller
// holds s.mu and looks again afterwards: another submitter may have been
// quicker.
func (s *strand[T]) awaitRoom() {
	// The runner stores taken and then loads blocked, this stores blocked
	// and then loads taken: one of them sees the other.
	s.blocked.Add(1)
	if !s.full() {
		s.blocked.Add(-1)
		return
	}
	s.room.Wait()
}

// put appends a task. The caller holds s.mu and has found room.
func (s *strand[T]) put(task T) {
	s.slots[s.in] = task
	if s.in++; s.in == len(s.slots) {
		s.in = 0
	}
	s.accepted.Add(1)
}

// take removes the oldest waiting task. Only the strand's runner calls it.
func (s *strand[T]) take() (task T, ok bool) {
	taken := s.taken.Load()
	if s.accepted.Load() == taken {
		return task, false
	}
	var zero T
	task, s.slots[s.out] = s.slots[s.out], zero // keep nothing alive
	if s.out++; s.out == len(s.slots) {
		s.out = 0
	}
	s.taken.Store(taken + 1)
	if s.blocked.Load() > 0 {
		s.mu.Lock()
		if s.blocked.Load() > 0 {
			s.blocked.Add(-1)
			s.room.Signal()
		}
		s.mu.Unlock()
	}
	return task, true
}

// rest gives the strand up when no task waits, so that the next Submit
// schedules it anew. It reports false when a task came in meanwhile.
func (s *strand[T]) rest() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.accepted.Load() != s.taken.Load() {
		return false
	}
	s.scheduled = false
	return true
}

// close refuses further tasks and releases blocked submitters.
func (s *strand[T]) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	s.blocked.Store(0)
	s.room.Broadcast()
}
