package ipq

import (
	"context"
	"errors"
	"fmt"
	"syscall"
	"time"
)

// A Deferred is a packet that is decided later, out of order and from any
// goroutine; see [Packet.Defer].
type Deferred struct {
	set    *deferrals
	packet *Packet

	// Under set.mu:
	entry *deferral // nil once err is set
	err   error     // that another verdict gets
}

var errNoHandler = fmt.Errorf("ipq: Defer is for the handlers of a Queue; with a Conn give the verdict when it is known: %w", errors.ErrUnsupported)

// Defer puts off the verdict on p. The packet is copied, with all its
// attributes and what was edited of it, so its buffer is free for others when
// the handler returns; the kernel goes on holding it, as one of the
// [Config.MaxQueueLen] of its queue.
//
// What the handler returns is then the packet's verdict only if none has been
// given when [Config.DeferTimeout] has passed, counted from the call of Defer,
// or when the queue ends. It then takes effect without anything that was
// edited, and its Bypass is ignored.
//
// Deferred packets may be overtaken by later ones of their flow. While any
// packet of a queue is deferred, the others of that queue cost somewhat more
// with [Inline], because the kernel's verdict on a whole run of packets would
// decide it, too.
//
// Defer may be called by a handler, for its packet, once. It returns
// [ErrTooManyDeferred] beyond [Config.MaxDeferred], [ErrDeferred] for a packet
// that is deferred already, [ErrExpired] when the packet has been given
// [Config.OnTimeout], [ErrDecided] when the handler has returned, and
// [ErrClosed] when the queue is ending. What the handler returns then stands. One
// small object is allocated for each call; the copies are used again.
func (p *Packet) Defer() (*Deferred, error) {
	c := p.caller
	if c == nil {
		return nil, errNoHandler
	}
	return c.deferrals.add(p, c)
}

// Packet returns the copy. It, and every slice from it, is borrowed until anybody
// calls Verdict: the copy is then used for another packet, also while somebody else
// is still reading it. Where nobody has called Verdict, it may be read after
// [Config.DeferTimeout] and after the end of Run, too. Edits to it go with the
// verdict. One goroutine at a time may use it; Verdict is such a use.
func (d *Deferred) Packet() *Packet { return d.packet }

// Verdict decides the packet, with what was edited of [Deferred.Packet]. When
// it returns nil the verdict has been written, and the kernel has sent the
// packet on its way.
//
// The first of those who decide wins, and the others do no harm: Verdict
// returns [ErrDecided] if it was called before, [ErrExpired] when
// [Config.DeferTimeout] has passed, and [ErrClosed] after the end of Run. A
// verdict that the kernel does not know is [syscall.EINVAL], and leaves the
// packet deferred. An [*OpError] means that the socket failed, which also ends
// Run. It may be called from any goroutine.
func (d *Deferred) Verdict(v Verdict) error {
	if !v.valid() {
		return d.set.sock.fail("verdict", fmt.Errorf("%w: %v", syscall.EINVAL, v))
	}
	return d.set.decide(d, v)
}

// copy makes e a copy of p.
func (e *deferral) copy(p *Packet) {
	msg := p.slot[:p.size]
	size := len(msg)
	edited := p.edit.payload
	if edited != nil {
		size = max(size, p.payloadOffset()+len(edited))
	}
	size += 3 // of padding may follow a payload
	if cap(e.buf) < size {
		e.buf = make([]byte, size)
	}
	e.buf = e.buf[:cap(e.buf)]
	copy(e.buf, msg)
	c := &e.packet
	*c = Packet{slot: e.buf, size: len(msg), sock: p.sock, own: true, edit: p.edit, hash: p.hash, hasHash: p.hasHash}
	_ = c.msg.Decode(e.buf[:len(msg):len(msg)]) // it was decoded before, without an error
	if l := c.edit.attrs.CTLabels; l != nil {   // which p keeps
		l := *l
		c.edit.attrs.CTLabels = &l
	}
	if edited != nil {
		off := p.payloadOffset()
		c.edit.payload = e.buf[off : off+copy(e.buf[off:], edited)]
	}
}

// expiryBatch is how many verdicts on deferred packets whose time is over
// leave in one write.
const expiryBatch = 64

const forever = time.Duration(1<<63 - 1)

// list has the time of e run.
func (s *deferrals) list(e *deferral) {
	e.due, e.listed = dueIn(s.e.cfg.DeferTimeout), true
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

// dueIn returns the time when d has passed, which for [NoTimeout] is never.
func dueIn(d time.Duration) time.Duration {
	now := monotonic()
	return now + min(d, forever-now)
}
