package worker

// Stats is a snapshot of a pool. Counters only grow. The fields are read one
// after another while the pool works on: each is right by itself, and
// Completed is never above Submitted.
type Stats struct {
	Submitted uint64 // tasks accepted by Submit and TrySubmit
	Completed uint64 // tasks that ended, with or without a panic
	Panics    uint64 // of these, tasks that panicked or called runtime.Goexit
	// OnPanicFailures counts calls of OnPanic that did not return either.
	OnPanicFailures uint64

	Waiting int // tasks that wait on the strands for a worker
	Blocked int // goroutines blocked in Submit
	Ready   int // strands that have tasks and wait for a worker
	Running int // workers at work, at most Workers
	// Stuck is how many tasks that MarkStuck was called for still run.
	Stuck int

	Workers int // as configured, defaults filled in
	Strands int
	Depth   int
}

// Stats returns the pool's statistics, also after Close. Its cost is a few
// atomic loads for each strand.
func (p *Pool[T]) Stats() Stats {
	st := Stats{
		Workers: p.workers,
		Strands: len(p.strands),
		Depth:   len(p.strands[0].slots),
	}
	for i := range p.strands {
		s := &p.strands[i]
		// In this order no difference can be negative.
		done, taken, accepted := s.done.Load(), s.taken.Load(), s.accepted.Load()
		st.Completed += done
		st.Submitted += accepted
		st.Waiting += int(accepted - taken)
		st.Blocked += int(s.blocked.Load())
	}
	st.Panics = p.panics.Load()
	st.OnPanicFailures = p.onPanicFailures.Load()
	p.mu.Lock()
	st.Ready = int(p.ready.Load())
	st.Running = p.active
	st.Stuck = p.stuck
	p.mu.Unlock()
	return st
}
