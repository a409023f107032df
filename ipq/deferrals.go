package ipq

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/goipq/goipq/internal/zerocopy"
)

// deferrals are the packets of one queue that are deferred. All have the same
// time, so those that were deferred first expire first.
type deferrals struct {
	q    *Queue
	sock *socket
	fail func(error)

	// others is not 0 while a VERDICT_BATCH would decide packets that it should
	// not: it counts those whose verdict is not written yet, and 1 if another
	// process may have taken packets out of the socket, see Queue.File.
	others atomic.Int64
	shared atomic.Bool

	mu        sync.Mutex
	change    sync.Cond // signalled when undecided falls to 0, and when a lane's copying ends
	closed    bool
	places    int                    // of Config.MaxDeferred that are taken: until the verdict is about to be written
	undecided int                    // packets whose verdict is not written yet
	asking    map[*deferral]struct{} // of them, those whose flow the Bypasser is settling
	oldest    *deferral              // of those whose time runs
	newest    *deferral
	free      []*deferral
	timer     *time.Timer

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
	s.change.L, s.asking = &s.mu, map[*deferral]struct{}{}
	if s.sock.Adopted() {
		s.share()
	}
	s.w = l.newWriter(expiryBatch, &s.count)
	return s
}

// refuse is writer.refuse for the verdicts on single packets, as far as their
// writers are not used again.
func (s *deferrals) refuse(answered map[uint32]struct{}) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, e := range s.free {
		e.w.refuse(answered)
	}
}

// share notes that from now on another process may hold packets of the queue.
// Those that this one has received before are no matter of doubt: the socket
// gives packets out in order.
func (s *deferrals) share() {
	if !s.shared.Swap(true) {
		s.others.Add(1)
	}
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
	ln.copying = false
	s.change.Broadcast()
	s.total.Add(1)
	d := &Deferred{set: s, entry: e, packet: &e.packet}
	e.handle, e.lane, e.fallback = d, ln, s.q.cfg.OnTimeout
	ln.deferral = e
	p.deferred = true
	s.list(e)
	return d, nil
}

// reserve returns a deferral for p, or why there is none. It keeps the handler
// from leaving, and the watchdog from taking over, until add is done with p: for
// callers who are not the handler, and late.
func (s *deferrals) reserve(p *Packet, ln *lane) (*deferral, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	state := ln.state.Load()
	switch phaseOf(state) {
	case inEngine:
		return nil, ErrDecided
	case taken:
		return nil, ErrExpired
	case inDefer:
		return nil, ErrDeferred
	}
	switch {
	case s.closed:
		return nil, ErrClosed
	case s.places >= s.q.cfg.MaxDeferred:
		s.refused.Add(1)
		return nil, ErrTooManyDeferred
	case !ln.state.CompareAndSwap(state, state&^phaseMask|inDefer):
		return nil, ErrDecided // just now
	case ln.packet != p:
		ln.state.Store(state)
		return nil, ErrDecided
	}
	ln.copying = true
	s.places++
	s.undecided++
	s.others.Add(1)
	if n := len(s.free); n > 0 {
		e := s.free[n-1]
		s.free = s.free[:n-1]
		return e, nil
	}
	return &deferral{w: newWriter(s.sock, &s.q.cfg, 1, &s.count)}, nil
}

// leave is lane.leave for a handler whose packet is not simply its own.
func (s *deferrals) leave(ln *lane) (mine bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for ln.copying {
		s.change.Wait()
	}
	state := ln.state.Load()
	if phaseOf(state) == taken {
		return false
	}
	ln.state.Store(state &^ phaseMask) // inEngine
	return true
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
		s.leaveToLane()
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
	if ln.copying || !ln.state.CompareAndSwap(state, state&^phaseMask|taken) {
		return false, false
	}
	e := ln.deferral
	ln.deferral = nil
	if e == nil {
		return true, ln.packet.deferred
	}
	e.lane, e.fallback = nil, v
	if e.handle == nil {
		s.leaveToLane()
		return true, false
	}
	return true, true
}

// leaveToLane notes that the lane writes the verdict, in its order.
func (s *deferrals) leaveToLane() {
	s.places--
	s.written(1)
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
	if v&verdictBypass != 0 {
		s.asking[e] = struct{}{}
		s.mu.Unlock()
		return s.ask(d, e, v)
	}
	s.places--
	s.mu.Unlock()
	return s.write(e, v)
}

// ask has the flow of e settled before its verdict is written, however long the
// Bypasser takes, and if it never returns: see end.
func (s *deferrals) ask(d *Deferred, e *deferral, v Verdict) (err error) {
	returned := false
	defer func() {
		s.mu.Lock()
		if _, ok := s.asking[e]; !ok {
			d.err = ErrClosed
			s.mu.Unlock()
			err = ErrClosed
			return
		}
		delete(s.asking, e)
		s.places--
		s.mu.Unlock()
		if !returned { // by runtime.Goexit
			s.q.bypassFailed.Add(1)
			v &^= verdictBypass
		}
		err = s.write(e, v)
	}()
	v = s.q.bypass(&e.packet, v)
	returned = true
	return nil
}

// write writes the verdict on e. Its place is free by then: the kernel queues
// the next packet within the call.
func (s *deferrals) write(e *deferral, v Verdict) error {
	e.w.begin(e.msg[:])
	err := e.w.add(&e.packet, v)
	if err == nil {
		err = e.w.flush()
	}
	if err != nil {
		s.fail(err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	e.poison()
	s.free = append(s.free, e)
	s.written(1)
	return err
}

// written notes that n packets have their verdicts.
func (s *deferrals) written(n int) {
	s.others.Add(-int64(n))
	if s.undecided -= n; s.undecided == 0 {
		s.change.Broadcast()
	}
}
