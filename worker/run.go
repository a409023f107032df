package worker

import "runtime/debug"

// runTask runs one task and contains what it throws. A Goexit goes on
// unwinding after this, up to runner.
func (p *Pool[T]) runTask(s *strand[T], task T) {
	returned := false
	defer s.done.Add(1) // by itself: OnPanic, too, may end in Goexit
	defer func() {
		if returned {
			return
		}
		value := recover()
		p.panics.Add(1)
		if value == nil {
			value = ErrGoexit
		}
		p.tellPanic(task, value)
	}()
	p.run(task)
	returned = true
}

// tellPanic reports to OnPanic and contains what that throws in turn.
func (p *Pool[T]) tellPanic(task T, value any) {
	if p.onPanic == nil {
		return
	}
	returned := false
	defer func() {
		if !returned {
			_ = recover()
			p.onPanicFailures.Add(1)
		}
	}()
	p.onPanic(task, value, debug.Stack())
	returned = true
}
