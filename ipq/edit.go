package ipq

import (
	"fmt"

	"github.com/goipq/goipq/internal/zerocopy"
)

// edits is what a handler changed of a packet beside the verdict.
type edits struct {
	attrs   zerocopy.VerdictAttrs // without mark and payload, which the verdict brings
	payload []byte                // in the packet's slot; nil: unchanged
}

func (e *edits) clear() {
	e.attrs.Has = 0
	e.payload = nil
}

func (e *edits) any() bool { return e.attrs.Has != 0 || e.payload != nil }

// SetPayload replaces the whole packet from its network header on by a copy of
// b, an IPv4 or IPv6 packet of any length up to 65531 bytes, when the packet
// is accepted, repeated or passed to another queue. Its lengths and checksums
// (IP, TCP, UDP, ICMP, ICMPv6) are made right, unless
// [Config.KeepChecksums] is set. b may be a part of [Packet.Payload].
//
// Sequence numbers are not adjusted: a TCP segment of another length upsets
// its connection.
//
// It returns [ErrTruncated], [ErrGSO], [ErrTooLarge] or [ErrNotIP] and changes
// nothing if the kernel or the receiver would throw the packet away, and
// [ErrDeferred] after [Packet.Defer]: edit the copy.
func (p *Packet) SetPayload(b []byte) error {
	if err := p.editable(); err != nil {
		return err
	}
	room := p.payloadRoom()
	if len(b) > zerocopy.MaxCopyRange || len(b) > p.sock.maxPayload() || len(b) > len(room) && !p.own {
		return fmt.Errorf("%w: %d bytes", ErrTooLarge, len(b))
	}
	if !isIPHeader(b) {
		return ErrNotIP
	}
	if len(b) > len(room) {
		room = make([]byte, len(b), len(b)+3)
	}
	p.edit.payload = room[:copy(room, b)]
	return nil
}

// EditPayload returns the packet's payload for changing it in place. The
// changed packet goes on when it is accepted, repeated or passed to another
// queue, with its checksums made right as by [Packet.SetPayload], whose errors
// it returns. The bytes are borrowed like those of Payload.
func (p *Packet) EditPayload() ([]byte, error) {
	if err := p.editable(); err != nil {
		return nil, err
	}
	b := p.payloadRoom()[:len(p.Payload())]
	if !isIPHeader(b) {
		return nil, ErrNotIP
	}
	if len(b) > p.sock.maxPayload() {
		return nil, fmt.Errorf("%w: %d bytes", ErrTooLarge, len(b))
	}
	p.edit.payload = b
	return b, nil
}

// SetPriority sets the packet's queueing priority as it goes on (skb->priority,
// Linux 5.18).
func (p *Packet) SetPriority(priority uint32) {
	p.edit.attrs.Has |= zerocopy.HasPriority
	p.edit.attrs.Priority = priority
}

// SetVLAN sets the packet's VLAN tag as it goes on: it adds or replaces one,
// and cannot be relied on to remove it. Bridge hooks only; others ignore it.
func (p *Packet) SetVLAN(proto, tci uint16) {
	p.edit.attrs.Has |= zerocopy.HasVLAN
	p.edit.attrs.VLANProto, p.edit.attrs.VLANTCI = proto, tci
}

// SetConnMark gives those bits of the connection's mark (ct mark) that are set
// in mask the values that they have in mark, and leaves the others alone: a
// mask of ^uint32(0) sets the whole mark, one of 0 nothing. It is done as the
// verdict is given, whatever that is. It needs [Config.Conntrack], without
// which the kernel may ignore it silently: opening the queue with that is what
// loads nf_conntrack_netlink. A packet that is not tracked has no mark to set.
func (p *Packet) SetConnMark(mark, mask uint32) {
	if mask == 0 { // which the kernel is not asked for: to the wire it is every bit
		p.edit.attrs.Has &^= zerocopy.HasCTMark
		return
	}
	p.edit.attrs.Has |= zerocopy.HasCTMark
	p.edit.attrs.CTMark, p.edit.attrs.CTMask = mark&mask, mask // the kernel flips what stands outside
}

func (p *Packet) editable() error {
	if p.deferred {
		return ErrDeferred
	}
	if p.Truncated() {
		return ErrTruncated
	}
	if p.GSO() {
		return ErrGSO
	}
	return nil
}

// payloadRoom returns the part of the slot that a payload may take: where the
// received one is, or behind the message if it has none.
func (p *Packet) payloadRoom() []byte {
	return p.slot[p.payloadOffset() : len(p.slot)-3] // up to three bytes of padding follow
}

func (p *Packet) payloadOffset() int {
	if off := p.msg.PayloadOffset(); off != 0 {
		return off
	}
	return p.size
}

// isIPHeader reports whether b starts like an IP packet. Whether the kernel
// will like the rest is its business.
func isIPHeader(b []byte) bool {
	const ipv4Min, ipv6Min = 20, 40
	switch {
	case len(b) >= ipv4Min && b[0]>>4 == 4:
		ihl := int(b[0]&0xf) * 4
		return ihl >= ipv4Min && ihl <= len(b)
	case len(b) >= ipv6Min && b[0]>>4 == 6:
		return true
	}
	return false
}

// finishPayload makes an edited payload ready to leave and returns it with its
// padding, for which there is room behind it.
func finishPayload(b []byte, keepChecksums bool) []byte {
	if !keepChecksums {
		// It fails only on headers that are no IP, which the edit was refused
		// for, unless the handler has overwritten them since. The kernel then
		// judges the packet.
		_ = zerocopy.FixPacket(b)
	}
	n := len(b)
	b = b[:n+zerocopy.Pad(n)]
	clear(b[n:])
	return b
}
