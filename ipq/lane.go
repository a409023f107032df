package ipq

import (
	"sync"
	"sync/atomic"
	"time"
)

// A lane runs handlers, one at a time: the receive loop in Inline mode,
// otherwise a strand. Its owner is the goroutine that does so. When a handler
// does not return in time the watchdog takes the lane over: it decides the
// packet, and those behind it, and what belongs to the lane is the watchdog's
// until the handler returns.
type lane struct {
	// state is the number of the handler call, shifted by phaseBits, and the
	// phase. Whoever moves it on from inHandler decides the packet. It is
	// moved to and from inDefer under deferrals.mu only.
	state  atomic.Uint64
	call   uint64  // the number, for the owner
	packet *Packet // that the handler has

	deferrals *deferrals
	// Under deferrals.mu:
	deferral *deferral // of packet, if it is deferred
	copying  bool      // Defer is at work: the packet must not go yet

	// stuck is 1 more than the bucket of the flow whose handler does not
	// return, while a pool's lane is taken.
	stuck atomic.Uint32

	// mu is held by the watchdog while it works in the owner's place, and by
	// the owner as it comes back.
	mu sync.Mutex

	w *writer

	// Which call the watchdog saw last, and since when.
	seen  uint64
	since time.Duration
}

// The phases of a lane.
const (
	inEngine  = 0 // no handler is running
	inHandler = 1
	taken     = 2 // a handler is running, whose packet has been decided by the watchdog
	inDefer   = 3 // a handler is running, which has called Defer

	phaseBits = 2
	phaseMask = 1<<phaseBits - 1
)

func phaseOf(state uint64) uint64 { return state & phaseMask }

// enter notes that the handler is about to be called.
func (ln *lane) enter(p *Packet) {
	ln.packet, p.lane = p, ln
	ln.call++
	ln.state.Store(ln.call<<phaseBits | inHandler)
}

// leave notes that the handler has returned. It reports whether the packet is
// still the owner's to decide; if not, the owner has to come back.
func (ln *lane) leave() (mine bool) {
	return ln.state.CompareAndSwap(ln.call<<phaseBits|inHandler, ln.call<<phaseBits|inEngine) ||
		ln.deferrals.leave(ln)
}

// back gives the lane back to its owner, when the watchdog is not at work.
func (ln *lane) back() {
	ln.mu.Lock()
	defer ln.mu.Unlock()
	ln.stuck.Store(0)
	ln.state.Store(ln.call<<phaseBits | inEngine)
}

// decide has p handled and takes its verdict. It writes when the oldest
// verdict has waited for Config.FlushAfter, counted from the call of its
// handler: so handlers that take longer than that have each verdict written at
// once. If mine is false the watchdog was quicker, and the owner has to come
// back.
func (ln *lane) decide(q *Queue, p *Packet) (mine bool, err error) {
	w := ln.w
	switch {
	case p.broken:
		err = w.addID(p.ID(), q.cfg.onUndecodable())
	case q.overdue.Load():
		err = w.timeOut(p.ID(), q.cfg.OnTimeout)
	default:
		ln.enter(p)
		v, returned := q.verdict(p)
		if !returned {
			q.panicked(p, errPanicNil)
			v = q.cfg.OnPanic
		}
		if !ln.leave() {
			return false, nil
		}
		err = ln.take(p, v)
	}
	if err != nil || w.flushAfter <= 0 {
		return true, err
	}
	if now := monotonic(); now-w.since >= w.flushAfter {
		w.since = now
		return true, w.flush()
	}
	return true, nil
}

// exited takes the verdict on the packet of a handler that has ended without
// having returned: by runtime.Goexit, or after the watchdog took over, when
// mine is false and the owner has to come back.
func (ln *lane) exited(q *Queue) (mine bool, err error) {
	if phaseOf(ln.state.Load()) == taken {
		return false, nil
	}
	// While the watchdog still looks after it, because a Logger is the user's.
	q.panicked(ln.packet, errGoexit)
	if !ln.leave() {
		return false, nil
	}
	return true, ln.take(ln.packet, q.cfg.OnPanic)
}

// take takes what the handler, or what stands for it, has decided.
func (ln *lane) take(p *Packet, v Verdict) error {
	if !p.deferred {
		return ln.w.add(p, v)
	}
	if ln.deferrals.returned(ln, v) {
		return nil
	}
	return ln.w.addID(p.ID(), v) // the time was over before the handler returned
}

// overrun reports whether a handler has been running on the lane for limit, as
// far as the watchdog knows, and by which state it knows it.
func (ln *lane) overrun(now, limit time.Duration) (state uint64, over bool) {
	state = ln.state.Load()
	if call := state >> phaseBits; call != ln.seen {
		ln.seen, ln.since = call, now
	}
	running := phaseOf(state) == inHandler || phaseOf(state) == inDefer
	return state, running && now-ln.since >= limit
}

// takeOver decides in the owner's place the packet whose handler was found
// running in that state, unless it has returned meanwhile. The caller holds
// mu, and has the lane to itself if taken is true.
func (ln *lane) takeOver(q *Queue, state uint64) (taken bool, err error) {
	ok, deferred := ln.deferrals.claim(ln, state, q.cfg.OnTimeout)
	if !ok || deferred {
		return ok, nil
	}
	return true, ln.w.timeOut(ln.packet.ID(), q.cfg.OnTimeout)
}
