package ipq

import (
	"fmt"

	"github.com/goipq/goipq/internal/zerocopy"
)

// deliverable says why the kernel, or every receiver, would throw away the packet
// with the datagram ip in the place of its own.
func (p *Packet) deliverable(ip []byte) error {
	was := p.edit.head
	if reason := p.misplaced(zerocopy.HeadOf(ip)); reason != "" {
		return fmt.Errorf("%w: %s", ErrUndeliverable, reason)
	}
	if len(ip) < was.Len {
		return fmt.Errorf("%w: its %d bytes are fewer than those of the packet's IP header", ErrUndeliverable, len(ip))
	}
	if !zerocopy.Whole(ip) {
		return fmt.Errorf("%w: it ends within its headers", ErrUndeliverable)
	}
	return nil
}

// misplaced says why the kernel would lose the packet if its datagram began with
// another head, or returns "". The kernel goes on with the offset of the
// upper-layer header that it had for the packet, up to the local receiver, which
// reads from there. A packet that is sent needs it no more, nor does one that is
// forwarded, but the kernel then completes the options that it has read.
func (p *Packet) misplaced(is zerocopy.Head) string {
	was := p.edit.head
	switch {
	case was.Version != 0 && is.Version != was.Version:
		return fmt.Sprintf("it is of IPv%d, which is not what the packet is", is.Version)
	case was.Len == 0 || is.Len == was.Len || p.Family() == familyBridge:
		return ""
	case p.Hook() == Prerouting || p.Hook() == Input || p.Hook() == Forward && was.Options():
		return fmt.Sprintf("its IP header with options has %d bytes, the packet's %d, which the kernel does not notice at hook %v",
			is.Len, was.Len, p.Hook())
	}
	return ""
}

const familyBridge = 7 // AF_BRIDGE

var errSeqAdjust = fmt.Errorf("%w: a TCP segment of another length together with SetConnMark or SetConnLabels, on a connection that is translated (NAT) "+
	"or, without Config.Conntrack, may be", ErrUndeliverable)

// upsetsNAT reports whether ip is of TCP, and its connection may be translated.
// Told of such a connection's mark, the kernel would also adjust its sequence
// numbers to a new length, which it is not prepared for: it warns, or stops
// under panic_on_warn.
func (p *Packet) upsetsNAT(ip []byte) bool {
	if flowOf(ip).Protocol != protoTCP {
		return false
	}
	const natMask = 1<<4 | 1<<5 // IPS_SRC_NAT, IPS_DST_NAT
	ct, known := p.Conntrack()
	return !known || ct.Status&natMask != 0
}

// misedited reports whether an edit in place has made a packet of p that the
// kernel would lose.
func (p *Packet) misedited() bool {
	e := &p.edit
	return e.payload != nil && !e.replaced && p.misplaced(zerocopy.HeadOf(e.datagram())) != ""
}
