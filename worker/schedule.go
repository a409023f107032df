package worker

// quantum is how many tasks of one strand a runner runs before another ready
// strand has its turn. Turning to another strand costs some 25 ns, so 8 keeps
// it near 3 ns a task: 4, 8, 16 and 64 measure alike, 1 is half as slow again.
// Beyond that a larger quantum only lets the others wait longer.
const quantum = 8

// schedule puts a strand that has become busy at the back of the ready list
// and reports whether the caller must start a runner for it.
func (p *Pool[T]) schedule(s *strand[T]) (start bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.pushReady(s)
	if p.active == p.workers {
		return false
	}
	p.active++
	return true
}

// startRunner starts a runner already counted in active.
func (p *Pool[T]) startRunner() {
	// Invoke fails only on a released pool or one at its capacity. This one
	// has no capacity, active bounds it, and it is released only once active
	// is zero.
	_ = p.runners.Invoke(struct{}{})
}

// runner runs ready strands until there are none, and returns to ants at once.
// Looking at p.ready for another 0.1 to 3 µs first, with at most one such
// spinner, was no gain: at a task every 2 to 200 µs the CPU time per task was
// the same or more, because Go's scheduler itself spins before it lets a
// thread sleep, and saturated on one strand it cost up to twice the time. Nor
// would parking the runner here help: paced so, a bare channel or sync.Cond
// with one goroutine behind it cost the same as the whole pool.
func (p *Pool[T]) runner() {
	var s *strand[T]
	ended := false
	defer func() {
		if ended {
			return
		}
		// A task called Goexit: hand slot and strand to a new runner.
		if s.stuck.Load() && !p.takeBack(s) {
			return // without a slot; the strand is ready
		}
		p.mu.Lock()
		p.pushReady(s)
		p.mu.Unlock()
		p.startRunner()
	}()
	for s = p.nextReady(); s != nil; {
		switch p.runQuantum(s) {
		case idle:
			s = p.nextReady()
		case busy:
			s = p.swapReady(s)
		case surplus:
			s = nil
		}
	}
	ended = true
}

// What runQuantum leaves behind.
type outcome int

const (
	idle    outcome = iota // a strand without tasks
	busy                   // one with tasks, which others have waited for
	surplus                // one that is ready, and a runner without a slot
)

// runQuantum runs tasks of s until none waits, or until others have waited a
// quantum.
func (p *Pool[T]) runQuantum(s *strand[T]) outcome {
	for n := 0; ; {
		task, ok := s.take()
		if !ok {
			if s.rest() {
				return idle
			}
			continue
		}
		p.runTask(s, task)
		if s.stuck.Load() && !p.takeBack(s) {
			return surplus
		}
		if n++; n >= quantum && p.ready.Load() > 0 {
			return busy
		}
	}
}

// pushReady appends to the ready list. The caller holds p.mu.
func (p *Pool[T]) pushReady(s *strand[T]) {
	s.next = nil
	if p.last == nil {
		p.first = s
	} else {
		p.last.next = s
	}
	p.last = s
	p.ready.Add(1)
}

// popReady removes the first ready strand, nil if there is none. The caller
// holds p.mu.
func (p *Pool[T]) popReady() *strand[T] {
	s := p.first
	if s == nil {
		return nil
	}
	if p.first = s.next; p.first == nil {
		p.last = nil
	}
	s.next = nil
	p.ready.Add(-1)
	return s
}

// swapReady puts s at the back and takes the first.
func (p *Pool[T]) swapReady(s *strand[T]) *strand[T] {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.pushReady(s)
	return p.popReady()
}

// nextReady takes the first ready strand. It returns nil if there is none,
// and the caller, no longer counted in active, must end. So while a strand is
// ready, Workers runners are active.
func (p *Pool[T]) nextReady() *strand[T] {
	p.mu.Lock()
	defer p.mu.Unlock()
	s := p.popReady()
	if s == nil {
		p.active--
		p.checkDrained()
	}
	return s
}
