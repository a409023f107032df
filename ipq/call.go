package ipq

import (
	"sync"
	"sync/atomic"
	"time"
)

// A caller calls the handler, for one packet at a time: the receive loop has one
// with Inline, otherwise each strand has. Its owner is the goroutine that runs the
// calls. When a call overruns its time the watchdog takes the caller over: it
// decides the packet, and those behind it, and what belongs to the caller is the
// watchdog's until the handler returns.
type caller struct {
	e         *engine
	w         *writer
	deferrals *deferrals

	// state is the number of the call, shifted by phaseBits, and its phase. Whoever
	// moves it on from running decides the packet. It is moved to and from deferring,
	// and becomes awaited, under deferrals.mu only.
	state  atomic.Uint64
	number uint64        // of the call, for the owner
	packet *Packet       // that the handler has
	by     cause         // of what the call decides
	began  time.Duration // when the call did, or counted; if it is measured

	// Under deferrals.mu:
	deferral *deferral // of packet, if it is deferred
	copying  bool      // Defer is at work: the packet must not go yet

	// late is 1 more than the bucket of the flow whose call overruns, in a pool.
	late atomic.Uint32

	// mu is held by the watchdog while it works in the owner's place, and by
	// the owner as it comes back.
	mu sync.Mutex

	// Which call the watchdog saw last, and since when.
	seen  uint64
	since time.Duration
}

// The phases of a caller.
const (
	idle      = 0 // no handler is running
	running   = 1
	overrun   = 2 // a handler is running, whose packet has been decided by the watchdog
	deferring = 3 // a handler is running, which has called Defer
	phaseMask = 3

	// awaited is set beside the phase while somebody waits for the call to return.
	awaited = 4

	phaseBits = 3
)

func phaseOf(state uint64) uint64 { return state & phaseMask }

func (c *caller) phase() uint64 { return phaseOf(c.state.Load()) }

// begin notes that the handler is about to be called.
func (c *caller) begin(p *Packet) {
	c.number++
	c.packet, c.by, p.caller, p.call = p, byHandler, c, c.number
	if c.w.watch != nil {
		c.began = c.w.watch.read
	}
	c.state.Store(c.number<<phaseBits | running)
}

// end notes that the handler has returned. It reports whether the packet is
// still the owner's to decide; if not, the owner has to come back.
func (c *caller) end() (mine bool) {
	if c.w.watch != nil {
		return c.endMeasured()
	}
	return c.leave()
}

// leave is end without a clock.
func (c *caller) leave() (mine bool) {
	return c.state.CompareAndSwap(c.number<<phaseBits|running, c.number<<phaseBits|idle) ||
		c.deferrals.leave(c)
}

// endMeasured is end for a call whose time is measured.
func (c *caller) endMeasured() (mine bool) {
	now := monotonic()
	mine = c.leave()
	switch {
	case c.by == byNoHandler: // nothing was called
	case mine:
		c.w.watch.call(c.began, now)
	default:
		c.measureLate(now)
	}
	return mine
}

// counted takes the place of when a call began that is counted.
const counted = -1

// measureLate counts a call that has ended after the watchdog took over, which has the
// writer and all that the stopwatch does not share.
func (c *caller) measureLate(now time.Duration) {
	if c.began != counted {
		c.w.watch.handler.add(now-c.began, 1)
		c.began = counted
	}
}

// comeBack gives the caller back to its owner, when the watchdog is not at work.
func (c *caller) comeBack() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.late.Store(0)
	c.deferrals.comeBack(c)
}

// decide has p decided, by the handler if that may be called. If mine is false
// the watchdog was quicker, and the owner has to come back.
func (c *caller) decide(p *Packet) (mine bool, err error) {
	if p.broken || c.e.overdue.Load() || c.e.own(p) {
		err = c.w.addUnhandled(p, c.e.unhandled(p))
	} else {
		c.begin(p)
		v, returned := c.call(p)
		if !returned {
			c.panicked(p, errPanicNil)
			v = c.e.cfg.onPanic()
		}
		if !c.end() {
			return false, nil
		}
		err = c.answer(p, v)
	}
	if err == nil {
		err = c.w.flushDue()
	}
	return true, err
}

// exited takes the verdict on the packet of a handler that has ended without
// having returned: by runtime.Goexit, or after the watchdog took over, when
// mine is false and the owner has to come back.
func (c *caller) exited() (mine bool, err error) {
	if c.phase() == overrun {
		if c.w.watch != nil {
			c.measureLate(monotonic())
		}
		return false, nil
	}
	// While the watchdog still looks after it, because a Logger is the user's.
	c.panicked(c.packet, errGoexit)
	if !c.end() {
		return false, nil
	}
	return true, c.answer(c.packet, c.e.cfg.onPanic())
}

// answer takes what the handler, or what stands for it, has decided.
func (c *caller) answer(p *Packet, v Verdict) error {
	if !p.deferred {
		return c.w.add(p, v, c.by)
	}
	if c.deferrals.returned(c, v) {
		return nil
	}
	// The time was over before the handler returned.
	if v&verdictReject != 0 {
		v = c.w.tell(p, v)
	}
	return c.w.addID(p.ID(), v, byDeferral)
}

// overruns reports whether a call has been running for limit, as far as the
// watchdog knows, and by which state it knows it.
func (c *caller) overruns(now, limit time.Duration) (state uint64, over bool) {
	state = c.state.Load()
	if call := state >> phaseBits; call != c.seen {
		c.seen, c.since = call, now
	}
	runs := phaseOf(state) == running || phaseOf(state) == deferring
	return state, runs && now-c.since >= limit
}

// seize takes the caller over from the call that was found in that state, and
// decides its packet, unless it has returned meanwhile. The watchdog, which holds
// mu, has the caller to itself if seized is true.
func (c *caller) seize(state uint64) (seized bool, err error) {
	ok, deferred := c.deferrals.seize(c, state, c.e.cfg.onTimeout())
	if !ok || deferred {
		return ok, nil
	}
	return true, c.w.addTimeout(c.packet.ID(), c.e.lateness())
}
