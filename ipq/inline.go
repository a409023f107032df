package ipq

import "time"

// inline is the sink that runs handlers in the receive loop: run to
// completion, one batch after the other.
type inline struct {
	lane
	l *loop

	batch   *batch
	n       int    // messages in it
	next    int    // the message that is decided next
	packets uint64 // packets among the messages so far
}

func newInline(l *loop) *inline {
	s := &inline{l: l}
	s.deferrals = l.deferrals
	s.w = l.newWriter(l.q.cfg.BatchSize, &l.count)
	for _, w := range []*writer{s.w, l.aside} {
		w.runs, w.others = true, &l.deferrals.others
	}
	return s
}

// take implements sink.
func (s *inline) take(b *batch, n int) bool {
	s.batch, s.n, s.next, s.packets = b, n, 0, 0
	s.w.begin(b.Verdicts())
	s.run()
	return true
}

func (s *inline) run() {
	l := s.l
	for ; s.next < s.n; s.next++ {
		p := l.packet(s.batch, s.next)
		if p == nil {
			continue
		}
		s.packets++
		mine, err := s.decide(l.q, p)
		if !mine {
			s.late()
			return
		}
		if err != nil {
			l.fail(err)
		}
	}
	s.settle()
	s.batch.recycle()
}

// settle writes the batch's verdicts.
func (s *inline) settle() {
	s.l.count.received.Add(s.packets)
	if err := s.w.flush(); err != nil {
		s.l.fail(err)
	}
}

// late is where a handler comes back to whose batch the watchdog has decided.
func (s *inline) late() {
	s.back()
	s.batch.recycle()
}

// resume implements sink.
func (s *inline) resume() {
	if phaseOf(s.state.Load()) == inEngine {
		return
	}
	mine, err := s.exited(s.l.q)
	if !mine {
		s.late()
		return
	}
	if err != nil {
		s.l.fail(err)
	}
	s.next++
	s.run()
}

// finish implements sink: take has left nothing.
func (s *inline) finish() (stuck bool) { return false }

// watch implements sink. While a handler does not return, what comes is decided
// in its stead, and when the time to drain is over, so is the run.
func (s *inline) watch(now time.Duration) {
	state, over := s.overrun(now, s.l.q.patience())
	if !over && phaseOf(state) != taken {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if over && !s.relieve(state) || phaseOf(s.state.Load()) != taken || s.l.abandoned {
		return
	}
	if s.l.q.overdue.Load() {
		s.l.abandon()
		return
	}
	for range asideRounds {
		if s.l.receiveAside(s.l.sock.FD()) != more {
			return
		}
	}
}

// asideRounds is how many batches at most are decided while a handler that
// returns would have to wait: 64 of 16 packets are a whole kernel queue of the
// default length.
const asideRounds = 64

// relieve takes the batch over from a handler, unless it has returned.
func (s *inline) relieve(state uint64) bool {
	l := s.l
	ok, err := s.takeOver(l.q, state)
	if !ok {
		return false
	}
	for s.next++; s.next < s.n && err == nil; s.next++ {
		p := l.packet(s.batch, s.next)
		if p == nil {
			continue
		}
		s.packets++
		err = s.w.withoutHandler(p, &l.q.cfg)
	}
	if err != nil {
		l.fail(err)
	}
	s.settle()
	return true
}
