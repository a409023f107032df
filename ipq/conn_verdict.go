package ipq

import (
	"fmt"
	"slices"
	"syscall"

	"github.com/goipq/goipq/internal/zerocopy"
)

// SetVerdict is [Conn.SetVerdictWith] for a verdict with nothing but a payload, which
// nil leaves as it is.
func (c *Conn) SetVerdict(id uint32, v Verdict, payload []byte) error {
	return c.SetVerdictWith(id, v, VerdictOptions{Payload: payload})
}

// VerdictOptions are what goes with a verdict that is given by its packet's id. Those
// who have the packet set them with its methods, and call [Conn.Decide]. The zero value
// changes nothing.
type VerdictOptions struct {
	// Payload, unless nil, replaces the packet, as [Packet.SetPayload] does. Lengths and
	// checksums are made right in the same way, but nothing is known of the packet that
	// it replaces. It is copied.
	Payload []byte
	// ConnMark and ConnMask change the connection's mark, as [Packet.SetConnMark] does: a
	// mask of 0 leaves it alone.
	ConnMark, ConnMask uint32
	// ConnLabels and ConnLabelsMask change the connection's labels, as
	// [Packet.SetConnLabels] does: a mask of zeroes leaves them alone.
	ConnLabels, ConnLabelsMask [16]byte
	// Priority is set if HasPriority is, as by [Packet.SetPriority].
	Priority    uint32
	HasPriority bool
	// VLANProto and VLANTCI are set if HasVLAN is, as by [Packet.SetVLAN].
	VLANProto, VLANTCI uint16
	HasVLAN            bool
	// KeepChecksums leaves lengths and checksums in Payload as they are, as
	// [Config.KeepChecksums] does for all.
	KeepChecksums bool
}

// SetVerdictWith decides the packet with that id. The mark of v is set, too. Verdicts that
// goroutines give at the same time leave in one write; it returns when its own has left.
//
// It returns, and sends nothing then,
//   - [ErrTooLarge] or [ErrNotIP] for a payload that is no IP packet, or does not fit
//     into a write;
//   - [ErrUndeliverable] for a payload that ends within its headers, and for one of TCP
//     together with a change of the connection: on a translated connection (NAT) the
//     kernel would warn, see [Packet.SetConnMark];
//   - [ErrNoLabels], as SetConnLabels does;
//   - an [*OpError] for a verdict that the kernel does not know, or that could not be
//     sent.
//
// That the kernel refuses the verdict is known later: it is the [*VerdictError] of a
// read. It may be called from any goroutine.
func (c *Conn) SetVerdictWith(id uint32, v Verdict, o VerdictOptions) error {
	if v&verdictReject != 0 {
		return c.sock.fail("verdict", fmt.Errorf("%w: %v: by its id alone nobody can be told of a packet: use Decide", syscall.EINVAL, v))
	}
	p := Packet{sock: c.sock} // of which nothing is known
	e := &p.edit
	if o.Payload != nil {
		if len(o.Payload) > min(zerocopy.MaxCopyRange, c.sock.maxPayload()) {
			return fmt.Errorf("%w: %d bytes", ErrTooLarge, len(o.Payload))
		}
		if zerocopy.HeadOf(o.Payload).Version == 0 {
			return ErrNotIP
		}
		if !zerocopy.Whole(o.Payload) {
			return fmt.Errorf("%w: it ends within its headers", ErrUndeliverable)
		}
		e.payload, e.replaced, e.resized = o.Payload, true, true
	}
	if o.HasPriority {
		p.SetPriority(o.Priority)
	}
	if o.HasVLAN {
		p.SetVLAN(o.VLANProto, o.VLANTCI)
	}
	if err := p.SetConnMark(o.ConnMark, o.ConnMask); err != nil {
		return err
	}
	if err := p.SetConnLabels(o.ConnLabels, o.ConnLabelsMask); err != nil {
		return err
	}
	return c.decide(id, v, p.edit, o.KeepChecksums)
}

// Decide decides p with all that was edited of it, and tells of [Reject] and
// [RejectBoth], which only it does. It is to be called before the next read. Errors are
// those of SetVerdictWith.
func (c *Conn) Decide(p *Packet, v Verdict) error {
	if p.misedited() && v&verdictCode != Drop {
		return c.sock.fail("verdict", fmt.Errorf("%w: EditPayload has changed what must stay", ErrUndeliverable))
	}
	if v&verdictReject != 0 {
		c.sock.rejects.answer(p, v, &c.verdicts.count)
	}
	return c.decide(p.ID(), v, p.edit, false)
}

func (c *Conn) decide(id uint32, v Verdict, e edits, keepChecksums bool) error {
	if !v.valid() {
		return c.sock.fail("verdict", fmt.Errorf("%w: %v", syscall.EINVAL, v))
	}
	return c.verdicts.give(zerocopy.MaxVerdictLen+len(e.payload)+3, func(buf []byte) []byte {
		b := &c.verdicts
		if e.payload != nil {
			b.payload = append(append(b.payload[:0], e.payload...), 0, 0, 0) // room for padding
			e.payload = b.payload[:len(e.payload)]
		}
		a, body := e.verdictAttrs(v, keepChecksums || c.cfg.KeepChecksums)
		n := len(buf)
		buf = slices.Grow(buf, zerocopy.MaxVerdictLen+len(body))
		n += zerocopy.PutVerdictAttrs(buf[n:n+zerocopy.MaxVerdictLen], c.sock.Queue(), id, v.kernel(), &a)
		return append(buf[:n], body...)
	})
}

// SetVerdictBatch decides, all alike, the packets that wait in the queue up to
// and including the one with that id: also those that were not read yet and,
// where another process has the socket, too, those that it has read. Neither a
// mark nor anything else goes with v.
func (c *Conn) SetVerdictBatch(id uint32, v Verdict) error {
	if _, marked := v.Mark(); marked || !v.valid() || v&verdictReject != 0 {
		return c.sock.fail("verdict", fmt.Errorf("%w: %v for a batch", syscall.EINVAL, v))
	}
	return c.verdicts.give(zerocopy.VerdictLen, func(buf []byte) []byte {
		n := len(buf)
		buf = slices.Grow(buf, zerocopy.VerdictLen)[:n+zerocopy.VerdictLen]
		putUpTo(buf[n:], c.sock.Queue(), id, v)
		return buf
	})
}
