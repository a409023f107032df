package ipq

import (
	"slices"
	"time"
)

// relief is what the watchdog needs to decide spans that wait for a worker.
type relief struct {
	w     *writer
	count counters
	waits []bool // by strand: what waits there is to be decided
	spans []*span
}

// watch implements sink. It takes spans over from handlers that do not return,
// with all that waits behind them, and when the time to drain is over all that
// waits at all.
func (s *pooled) watch(now time.Duration) {
	q := s.l.q
	any, overdue := false, q.overdue.Load()
	for k, st := range s.strands {
		state, over := st.overrun(now, q.patience())
		relieved := over && s.relieve(st, state)
		s.relief.waits[k] = relieved || overdue || phaseOf(state) == taken
		any = any || s.relief.waits[k]
	}
	if any {
		s.clear()
	}
}

// relieve takes the span that is running on st over from a handler, unless it
// has returned.
func (s *pooled) relieve(st *strand, state uint64) bool {
	st.mu.Lock()
	defer st.mu.Unlock()
	q := s.l.q
	ok, err := st.takeOver(q, state)
	if !ok {
		return false
	}
	// Before any verdict is out, so that what comes after it is not sent here.
	st.stuck.Store(uint32(st.packet.bucket) + 1)
	sp := st.span
	st.learn(monotonic()-st.began, sp.next+1)
	sp.next++
	s.timeOutSpan(st.w, sp, err)
	sp.decided()
	_ = q.pool.WriteOff(st.number) // fails only for a strand that is none
	return true
}

// timeOutSpan writes the verdicts on what is left of a span, unless there has
// been an error.
func (s *pooled) timeOutSpan(w *writer, sp *span, err error) {
	cfg := &s.l.q.cfg
	for ; sp.next < len(sp.index) && err == nil; sp.next++ {
		if p := sp.packet(); p.broken {
			err = w.addID(p.ID(), cfg.onUndecodable())
		} else {
			err = w.timeOut(p.ID(), cfg.OnTimeout)
		}
	}
	if err == nil {
		err = w.flush()
	}
	if err != nil {
		s.l.fail(err)
	}
}

// clear decides what waits on the strands named in relief.waits, in the order
// in which the kernel queued it.
func (s *pooled) clear() {
	r := &s.relief
	r.spans = r.spans[:0]
	for _, b := range s.l.batches {
		for i := range b.spans {
			j := b.spans[i].job()
			if k, ok := j.waits(); ok && r.waits[k] && j.take() {
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
