package ipq

import (
	"sync"
	"time"

	"github.com/goipq/goipq/internal/race"
	"github.com/goipq/goipq/internal/zerocopy"
)

// deferrals are the packets of one queue that are deferred. All have the same
// time, so those that were deferred first expire first.
type deferrals struct {
	e    *engine
	sock *socket
	fail func(error)

	runs   *runs // of the queue
	single runs  // of the writers here: each of their messages decides one packet

	mu        sync.Mutex
	change    sync.Cond // signalled when undecided falls to 0, a caller's copying ends, or an awaited call
	closed    bool
	over      bool                   // Run returns
	places    int                    // in use, of Config.MaxDeferred: until the verdict is about to be written
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

	count    *counters
	latency  *durations      // nil: nothing is measured
	received []time.Duration // of the packets whose verdicts w has gathered, if so
}

// A deferral is the engine's side of a deferred packet: the copy, and what is
// needed to write its verdict.
type deferral struct {
	packet Packet
	buf    []byte
	w      *writer
	msg    [zerocopy.MaxVerdictLen]byte

	received time.Duration // if that is measured

	// Under deferrals.mu:
	handle   *Deferred
	caller   *caller // whose handler has not returned yet
	fallback Verdict
	due      time.Duration
	older    *deferral
	newer    *deferral
	listed   bool
}

func newDeferrals(e *engine, sock *socket, r *runs, count *counters, fail func(error)) *deferrals {
	s := &deferrals{e: e, sock: sock, runs: r, count: count, fail: fail}
	s.change.L, s.asking = &s.mu, map[*deferral]struct{}{}
	s.w, s.buf = newWriter(sock, &e.cfg, &s.single, expiryBatch, count), make([]byte, expiryBatch*zerocopy.MaxVerdictLen)
	if e.cfg.Histograms {
		s.latency = new(durations)
	}
	return s
}

// uncount is writer.uncount for all that write the verdicts, as far as those of
// single packets are not used again.
func (s *deferrals) uncount(answered map[uint32]struct{}) {
	s.w.uncount(answered)
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, e := range s.free {
		e.w.uncount(answered)
	}
}

// add defers p, whose handler c has called.
func (s *deferrals) add(p *Packet, c *caller) (*Deferred, error) {
	e, err := s.reserve(p, c)
	if err != nil {
		return nil, err
	}
	e.copy(p)
	if c.w.watch != nil {
		e.received = c.w.watch.received
	}

	s.mu.Lock()
	defer s.mu.Unlock()
	c.copying = false
	s.change.Broadcast()
	s.count.inc(countDeferred)
	d := &Deferred{set: s, entry: e, packet: &e.packet}
	e.handle, e.caller, e.fallback = d, c, s.e.cfg.onTimeout()
	c.deferral = e
	p.deferred = true
	s.list(e)
	return d, nil
}

// reserve returns a deferral for p, or why there is none. Until add is done with p,
// the handler cannot leave and the watchdog cannot seize the caller: Defer may be
// called by a goroutine that is not the handler's, and late.
func (s *deferrals) reserve(p *Packet, c *caller) (*deferral, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	state := c.state.Load()
	phase := phaseOf(state)
	switch {
	case phase == idle || state>>phaseBits != p.call:
		return nil, ErrDecided
	case phase == overrun:
		return nil, ErrExpired
	case phase == deferring:
		return nil, ErrDeferred
	case s.closed:
		return nil, ErrClosed
	case s.places >= s.e.cfg.MaxDeferred:
		s.count.inc(countDeferRefused)
		return nil, ErrTooManyDeferred
	case !c.state.CompareAndSwap(state, state&^phaseMask|deferring):
		return nil, ErrDecided // just now
	}
	c.copying = true
	s.places++
	s.undecided++
	s.runs.hold()
	if n := len(s.free); n > 0 {
		e := s.free[n-1]
		s.free = s.free[:n-1]
		return e, nil
	}
	return &deferral{w: newWriter(s.sock, &s.e.cfg, &s.single, 1, s.count)}, nil
}

// leave is caller.end for a handler whose packet is not simply its own.
func (s *deferrals) leave(c *caller) (mine bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for c.copying {
		s.change.Wait()
	}
	state := c.state.Load()
	if phaseOf(state) == overrun {
		return false
	}
	s.toIdle(c, state)
	return true
}

// toIdle notes that the call that c is in has returned, and tells who waits for it.
func (s *deferrals) toIdle(c *caller, state uint64) {
	c.state.Store(state &^ (phaseMask | awaited))
	if state&awaited != 0 {
		s.change.Broadcast()
	}
}

// comeBack is toIdle for a call that was seized.
func (s *deferrals) comeBack(c *caller) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.toIdle(c, c.state.Load())
}

// await waits until c is not in the call any more that it is in now. It reports
// false if the run ends first, and leaves the handler running.
func (s *deferrals) await(c *caller) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	state := c.state.Load()
	call := state >> phaseBits
	for state>>phaseBits == call && phaseOf(state) != idle {
		switch {
		case s.over:
			return false
		case state&awaited != 0 || c.state.CompareAndSwap(state, state|awaited):
			s.change.Wait()
		}
		state = c.state.Load()
	}
	return true
}

// runOver has whoever waits for a call give up.
func (s *deferrals) runOver() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.over = true
	s.change.Broadcast()
}

// conclude ends the time of e, for the reason that its handle will give from now
// on. Who calls it writes the verdict, unless a handler is left to do so.
func (s *deferrals) conclude(e *deferral, why error) {
	s.unlist(e)
	e.handle.err, e.handle.entry, e.handle = why, nil, nil
}

// returned notes that the handler has returned, and so the verdict that e gets
// when its time is over. It reports false if that is the case already: the
// packet is the caller's to decide.
func (s *deferrals) returned(c *caller, v Verdict) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	e := c.deferral
	c.deferral = nil
	if e == nil {
		return true // decided
	}
	e.caller, e.fallback = nil, v
	if e.handle == nil {
		s.leaveToCaller()
		return false
	}
	return true
}

// seize takes c over from the call that state stands for, unless it has returned,
// which it reports as false. If the packet is deferred, and so not c's to decide,
// its verdict is to be v when its time is over.
func (s *deferrals) seize(c *caller, state uint64, v Verdict) (ok, deferred bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if c.copying || !c.state.CompareAndSwap(state, state&^phaseMask|overrun) {
		return false, false
	}
	e := c.deferral
	c.deferral = nil
	if e == nil {
		return true, c.packet.deferred
	}
	e.caller, e.fallback = nil, v
	if e.handle == nil {
		s.leaveToCaller()
		return true, false
	}
	return true, true
}

// leaveToCaller notes that the caller writes the verdict, in its order.
func (s *deferrals) leaveToCaller() {
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
	s.conclude(e, ErrDecided)
	if e.caller != nil {
		e.caller.deferral, e.caller = nil, nil
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
			s.count.inc(countBypassFailed)
			v &^= verdictBypass
		}
		err = s.write(e, v)
	}()
	v = s.e.bypass(&e.packet, v, s.count)
	returned = true
	return nil
}

// write writes the verdict on e. Its place is free by then: the kernel queues
// the next packet within the call.
func (s *deferrals) write(e *deferral, v Verdict) error {
	e.w.begin(e.msg[:], e.received)
	err := e.w.add(&e.packet, v, byHandler)
	if err == nil {
		err = e.w.flush()
	}
	if err != nil {
		s.fail(err)
	} else if s.latency != nil {
		s.latency.add(monotonic()-e.received, 1)
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
	s.runs.release(n)
	if s.undecided -= n; s.undecided == 0 {
		s.change.Broadcast()
	}
}

// poison ends the life of a copy, under -race: see batch.poison.
func (e *deferral) poison() {
	if race.Enabled {
		for i := range e.buf {
			e.buf[i] = 0xDB // as the ring does
		}
		e.packet = Packet{sock: e.packet.sock}
	}
}
