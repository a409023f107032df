package ipq

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/goipq/goipq/internal/zerocopy"
)

// expiryBatch is how many verdicts on deferred packets whose time is over
// leave in one write.
const expiryBatch = 64

// deferrals are the packets of one queue that are deferred. All have the same
// time, so those that were deferred first expire first.
type deferrals struct {
	q    *Queue
	sock *socket
	fail func(error)

	// undecided counts the packets whose verdict is not written yet. While
	// there are any, a VERDICT_BATCH would decide them too.
	undecided atomic.Int64

	mu     sync.Mutex
	idle   sync.Cond // signalled when undecided falls to 0 and the queue ends
	closed bool
	oldest *deferral // of those whose time runs
	newest *deferral
	free   []*deferral
	timer  *time.Timer

	expiry sync.Mutex // of whoever writes what has expired
	w      *writer
	buf    []byte
	broken error // that a write returned: the kernel drops what is left

	count                   counters
	total, expired, refused atomic.Uint64
}

// A deferral is the engine's side of a deferred packet: the copy, and what is
// needed to write its verdict.
type deferral struct {
	packet Packet
	buf    []byte
	w      *writer
	msg    [zerocopy.MaxVerdictLen]byte

	// Under deferrals.mu:
	handle   *Deferred
	lane     *lane // whose handler has not returned yet
	fallback Verdict
	due      time.Duration
	older    *deferral
	newer    *deferral
	listed   bool
}

func newDeferrals(l *loop) *deferrals {
	s := &deferrals{q: l.q, sock: l.sock, fail: l.fail, buf: make([]byte, expiryBatch*zerocopy.MaxVerdictLen)}
	s.idle.L = &s.mu
	s.w = newWriter(s.sock, &s.q.cfg, expiryBatch, &s.count)
	return s
}

// add defers p, whose handler is running on ln.
func (s *deferrals) add(p *Packet, ln *lane) (*Deferred, error) {
	e, err := s.reserve(p, ln)
	if err != nil {
		return nil, err
	}
	e.copy(p)

	s.mu.Lock()
	defer s.mu.Unlock()
	if phaseOf(ln.state.Load()) != inHandler {
		s.release(e)
		return nil, ErrExpired
	}
	s.total.Add(1)
	d := &Deferred{set: s, entry: e, packet: &e.packet}
	e.handle, e.lane, e.fallback = d, ln, s.q.cfg.OnTimeout
	ln.deferral = e
	p.deferred = true
	s.list(e)
	return d, nil
}

// reserve returns a deferral for p, or why there is none.
func (s *deferrals) reserve(p *Packet, ln *lane) (*deferral, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case phaseOf(ln.state.Load()) == taken:
		return nil, ErrExpired
	case p.deferred:
		return nil, ErrDeferred
	case s.closed:
		return nil, ErrClosed
	case s.undecided.Load() >= int64(s.q.cfg.MaxDeferred):
		s.refused.Add(1)
		return nil, ErrTooManyDeferred
	}
	s.undecided.Add(1)
	if n := len(s.free); n > 0 {
		e := s.free[n-1]
		s.free = s.free[:n-1]
		return e, nil
	}
	return &deferral{w: newWriter(s.sock, &s.q.cfg, 1, &s.count)}, nil
}

// list has the time of e run.
func (s *deferrals) list(e *deferral) {
	e.due, e.listed = monotonic()+s.q.cfg.DeferTimeout, true
	e.older, e.newer = s.newest, nil
	if s.newest != nil {
		s.newest.newer = e
		s.newest = e
		return
	}
	s.oldest, s.newest = e, e
	s.wakeIn(s.q.cfg.DeferTimeout)
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

// settle ends the time of e, for the reason that its handle will give from now
// on. The caller writes the verdict, unless a handler is left to do so.
func (s *deferrals) settle(e *deferral, why error) {
	s.unlist(e)
	e.handle.err, e.handle.entry, e.handle = why, nil, nil
}

// returned notes that the handler has returned, and so the verdict that e gets
// when its time is over. It reports false if that is the case already: the
// packet is the lane's to decide.
func (s *deferrals) returned(ln *lane, v Verdict) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	e := ln.deferral
	ln.deferral = nil
	if e == nil {
		return true // decided
	}
	e.lane, e.fallback = nil, v
	if e.handle == nil {
		s.written(1)
		return false
	}
	return true
}

// claim takes the lane over from the handler call that state stands for, unless
// it has returned, which it reports as false. If the packet is deferred, and so
// not the lane's to decide, its verdict is to be v when its time is over.
func (s *deferrals) claim(ln *lane, state uint64, v Verdict) (ok, deferred bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !ln.state.CompareAndSwap(state, state&^phaseMask|taken) {
		return false, false
	}
	e := ln.deferral
	ln.deferral = nil
	if e == nil {
		return true, ln.packet.deferred
	}
	e.lane, e.fallback = nil, v
	if e.handle == nil {
		s.written(1)
		return true, false
	}
	return true, true
}

// decide writes the verdict on the packet of d.
func (s *deferrals) decide(d *Deferred, v Verdict) error {
	s.mu.Lock()
	if d.err != nil {
		defer s.mu.Unlock()
		return d.err
	}
	e := d.entry
	s.settle(e, ErrDecided)
	if e.lane != nil {
		e.lane.deferral, e.lane = nil, nil
	}
	s.mu.Unlock()

	defer func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.release(e)
	}()
	if v&verdictBypass != 0 {
		v = s.q.bypass(&e.packet, v)
	}
	e.w.begin(e.msg[:])
	err := e.w.add(&e.packet, v)
	if err == nil {
		err = e.w.flush()
	}
	if err != nil {
		s.fail(err)
	}
	return err
}

// release has e, whose verdict is written, used again.
func (s *deferrals) release(e *deferral) {
	e.poison()
	s.free = append(s.free, e)
	s.written(1)
}

// written notes that n packets have their verdicts.
func (s *deferrals) written(n int) {
	if s.undecided.Add(-int64(n)) == 0 {
		s.idle.Broadcast()
	}
}

// expire decides what has waited for its time.
func (s *deferrals) expire() {
	s.expiry.Lock()
	defer s.expiry.Unlock()
	for s.expireSome(monotonic(), ErrExpired) {
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.oldest != nil && !s.closed {
		s.wakeIn(max(0, s.oldest.due-monotonic()))
	}
}

// expireSome decides up to expiryBatch packets that are due by now, by the
// verdict that their handlers returned. It reports whether there may be more.
func (s *deferrals) expireSome(now time.Duration, why error) (more bool) {
	s.w.begin(s.buf)
	n := 0
	s.mu.Lock()
	for n < expiryBatch && s.oldest != nil && s.oldest.due <= now {
		e := s.oldest
		s.expired.Add(1)
		s.settle(e, why)
		if e.lane != nil {
			continue // the handler's return decides it
		}
		n++
		if s.broken == nil {
			s.broken = s.w.addID(e.packet.ID(), e.fallback)
		}
	}
	s.mu.Unlock()
	if s.broken == nil {
		s.broken = s.w.flush()
	}
	if s.broken != nil {
		s.fail(s.broken)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.written(n)
	return n == expiryBatch
}

// end decides what is deferred, as no handler is running any more, and waits
// for those that are at it.
func (s *deferrals) end() {
	s.mu.Lock()
	s.closed = true
	if s.timer != nil {
		s.timer.Stop()
	}
	s.mu.Unlock()

	s.expiry.Lock()
	for s.expireSome(forever, ErrClosed) {
	}
	s.expiry.Unlock()

	s.mu.Lock()
	defer s.mu.Unlock()
	for s.undecided.Load() != 0 {
		s.idle.Wait()
	}
}

const forever = time.Duration(1<<63 - 1)
