package ipq

import (
	"errors"
	"fmt"
	"syscall"
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
