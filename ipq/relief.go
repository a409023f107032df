package ipq

import (
	"slices"
	"sync"
	"time"
)

// relief is what it takes to decide spans that wait for a worker.
type relief struct {
	// mu is held while strands are taken over and what waits on them is
	// decided. Whoever holds it finds that a strand that is taken has nothing
	// waiting which was submitted before.
	mu    sync.Mutex
	w     *writer
	count counters
	taken []bool // by strand, which is locked then
	spans []*span
}

// watch implements sink.
func (s *pooled) watch(now time.Duration) {
	s.relief.mu.Lock()
	defer s.relief.mu.Unlock()
	s.relieve(now)
}

// relieve takes spans over from handlers that do not return, with all that
// waits behind them. The caller holds relief.mu.
func (s *pooled) relieve(now time.Duration) {
	r := &s.relief
	any := false
	for k, st := range s.strands {
		r.taken[k] = s.takeOver(st, now)
		any = any || r.taken[k]
	}
	if !any {
		return
	}
	s.clear()
	for k, st := range s.strands {
		if r.taken[k] {
			st.mu.Unlock() // the handler may come back
		}
	}
}

// takeOver takes the span that is running on st over from a handler that does
// not return. It reports whether st is taken, now or already, and then leaves
// it locked.
func (s *pooled) takeOver(st *strand, now time.Duration) bool {
	q := s.l.q
	state, over := st.overrun(now, q.patience())
	if !over && phaseOf(state) != taken {
		return false
	}
	st.mu.Lock()
	ok, err := over, error(nil)
	if over {
		ok, err = st.lane.takeOver(q, state)
	}
	if !ok {
		if phaseOf(st.state.Load()) == taken {
			return true
		}
		st.mu.Unlock()
		return false
	}
	// Before any verdict is out, so that what comes after it is not sent here.
	st.stuck.Store(uint32(st.packet.bucket) + 1)
	sp := st.span
	st.learn(monotonic()-st.began, sp.next+1)
	sp.next++
	s.timeOutSpan(st.w, sp, err)
	sp.decided()
	_ = q.pool.MarkStuck(st.number) // fails only for a strand that is none
	return true
}

// timeOutSpan writes the verdicts on what is left of a span, unless there has
// been an error.
func (s *pooled) timeOutSpan(w *writer, sp *span, err error) {
	cfg := &s.l.q.cfg
	for ; sp.next < len(sp.index) && err == nil; sp.next++ {
		err = w.withoutHandler(sp.packet(), cfg)
	}
	if err == nil {
		err = w.flush()
	}
	if err != nil {
		s.l.fail(err)
	}
}

// clear decides what waits on the strands named in relief.taken, in the order
// in which the kernel queued it.
func (s *pooled) clear() {
	r := &s.relief
	r.spans = r.spans[:0]
	for _, b := range s.l.batches {
		for i := range b.spans {
			j := b.spans[i].job()
			if k, ok := j.waits(); ok && r.taken[k] && j.take() {
				r.spans = append(r.spans, j.span)
			}
		}
	}
	slices.SortFunc(r.spans, func(a, b *span) int { return int(int32(a.packet().ID() - b.packet().ID())) })
	for _, sp := range r.spans {
		r.w.begin(sp.verdict)
		s.timeOutSpan(r.w, sp, nil)
		sp.decided()
		sp.leave()
	}
}

// running returns how many handlers are running whose packets the watchdog has
// decided.
func (s *pooled) running() (n int) {
	for _, st := range s.strands {
		if phaseOf(st.state.Load()) == taken {
			n++
		}
	}
	return n
}
