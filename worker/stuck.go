package worker

import "fmt"

// MarkStuck says that the task that runs on a strand does not return. Until it
// does, it is not one of Workers, and another worker may run in its place. The strand itself goes on when the task returns, as ever. So at
// most Strands goroutines more than Workers exist, however many tasks are
// stuck; when one of those returns, no more than Workers run again.
//
// It is for the caller to make sure that a task is running on the strand, and
// does not return before MarkStuck does. Until it returns, a second call has no
// effect. The error wraps ErrNoStrand for a number out of range.
func (p *Pool[T]) MarkStuck(strand int) error {
	if strand < 0 || strand >= len(p.strands) {
		return fmt.Errorf("%w: %d is not within 0..%d", ErrNoStrand, strand, len(p.strands)-1)
	}
	if p.markStuck(&p.strands[strand]) {
		p.startRunner()
	}
	return nil
}

// markStuck does so, and reports whether the caller must start a runner.
func (p *Pool[T]) markStuck(s *strand[T]) (start bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if s.stuck.Swap(true) {
		return false
	}
	p.stuck++
	if p.first != nil {
		return true // which takes over the slot
	}
	p.active--
	return false
}

// takeBack counts the runner of a strand again, whose task was stuck and
// has returned. If all slots are taken by now it puts the strand back into the
// ready list and reports false: the runner must end.
func (p *Pool[T]) takeBack(s *strand[T]) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	s.stuck.Store(false)
	p.stuck--
	if p.active < p.workers {
		p.active++
		return true
	}
	p.pushReady(s)
	return false
}
