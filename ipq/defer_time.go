package ipq

import (
	"context"
	"time"
)

// expiryBatch is how many verdicts on deferred packets whose time is over
// leave in one write.
const expiryBatch = 64

const forever = time.Duration(1<<63 - 1)

// list has the time of e run.
func (s *deferrals) list(e *deferral) {
	e.due, e.listed = monotonic()+s.e.cfg.DeferTimeout, true
	e.older, e.newer = s.newest, nil
	if s.newest != nil {
		s.newest.newer = e
		s.newest = e
		return
	}
	s.oldest, s.newest = e, e
	s.wakeIn(s.e.cfg.DeferTimeout)
}

func (s *deferrals) wakeIn(d time.Duration) {
	if s.timer == nil {
		s.timer = time.AfterFunc(d, s.expire)
		return
	}
	s.timer.Reset(d)
}

// unlist takes e out of the list.
func (s *deferrals) unlist(e *deferral) {
	if !e.listed {
		return
	}
	e.listed = false
	if e.older != nil {
		e.older.newer = e.newer
	} else {
		s.oldest = e.newer
	}
	if e.newer != nil {
		e.newer.older = e.older
	} else {
		s.newest = e.older
	}
	e.older, e.newer = nil, nil
}

// expire decides what has waited for its time.
func (s *deferrals) expire() {
	s.expiry.Lock()
	defer s.expiry.Unlock()
	for s.expireSome(monotonic(), ErrExpired, byDeferral) {
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.oldest != nil && !s.closed {
		s.wakeIn(max(0, s.oldest.due-monotonic()))
	}
}

// expireSome decides up to expiryBatch packets that are due by now, by the
// verdict that their handlers returned. It reports whether there may be more.
func (s *deferrals) expireSome(now time.Duration, why error, by cause) (more bool) {
	s.begin()
	n := 0
	s.mu.Lock()
	for n < expiryBatch && s.oldest != nil && s.oldest.due <= now {
		e := s.oldest
		s.count.inc(countDeferExpired)
		s.conclude(e, why)
		if e.caller != nil {
			continue // the handler's return decides it
		}
		n++
		s.places--
		if e.fallback&verdictReject != 0 {
			s.count.inc(countRejectFailed) // the copy may be read and edited right now
		}
		if s.broken == nil {
			s.broken = s.w.addID(e.packet.ID(), e.fallback, by)
			s.received = append(s.received, e.received)
		}
	}
	s.mu.Unlock()
	s.flush(n)
	return n == expiryBatch
}

// begin has w gather the verdicts on up to expiryBatch packets.
func (s *deferrals) begin() {
	s.w.begin(s.buf, 0)
	s.received = s.received[:0]
}

// flush writes what w has gathered: the verdicts on n packets.
func (s *deferrals) flush(n int) {
	if s.broken == nil {
		s.broken = s.w.flush()
	}
	if s.broken != nil {
		s.fail(s.broken)
	} else if s.latency != nil {
		now := monotonic()
		for _, received := range s.received {
			s.latency.add(now-received, 1)
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.written(n)
}

// end decides what is deferred. No handler is running any more. It waits for calls
// of Deferred.Verdict that are writing, until the time to drain is over. It reports
// whether a Bypasser has not returned by then; the packet is decided all the same.
func (s *deferrals) end() (stuck bool) {
	s.mu.Lock()
	s.closed = true
	if s.timer != nil {
		s.timer.Stop()
	}
	s.mu.Unlock()

	s.expiry.Lock()
	for s.expireSome(forever, ErrClosed, byEnd) {
	}
	s.expiry.Unlock()

	patient := s.e.patient
	defer context.AfterFunc(patient, func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.change.Broadcast()
	})()
	for {
		s.mu.Lock()
		for s.undecided != 0 && (patient.Err() == nil || len(s.asking) == 0) {
			s.change.Wait() // without Bypassers, for single calls of sendmsg
		}
		over := s.undecided == 0
		s.mu.Unlock()
		if over {
			return stuck
		}
		stuck = true
		s.giveUp()
	}
}

// giveUp decides packets whose Bypassers do not return, some at a time. Their
// copies stay the Bypassers'.
func (s *deferrals) giveUp() {
	s.expiry.Lock()
	defer s.expiry.Unlock()
	s.begin()
	n := 0
	s.mu.Lock()
	for e := range s.asking {
		if n == expiryBatch {
			break
		}
		delete(s.asking, e)
		s.places--
		n++
		if s.broken == nil {
			s.broken = s.w.addTimeout(e.packet.ID(), byEnd)
			s.received = append(s.received, e.received)
		}
	}
	s.mu.Unlock()
	s.flush(n)
}
