package ipq

import (
	"fmt"

	"github.com/goipq/goipq/internal/zerocopy"
)

// edits is what a handler changed of a packet beside the verdict.
type edits struct {
	attrs   zerocopy.VerdictAttrs // without the payload; the mark may be the verdict's
	payload []byte                // in the packet's slot, with its trailer; nil: unchanged

	// Of payload, if there is one:
	ip        int    // where the IP datagram begins: behind VLAN tags and PPPoE headers
	trailer   int    // bytes behind it
	replaced  bool   // it was set, and not only changed in place
	resized   bool   // it has another length than what it takes the place of
	etherType uint16 // of the frame, if it was set

	// Of the packet as it came, once it is about to be edited:
	begun  bool
	length int // of its payload, without a trailer
	head   zerocopy.Head
	sums   zerocopy.Sums
}

// ofConnection are what an edit changes of the packet's connection.
const ofConnection = zerocopy.HasCTMark | zerocopy.HasCTLabels

func (e *edits) clear() {
	e.attrs.Has = 0
	e.payload = nil
	e.begun = false
}

func (e *edits) any() bool { return e.attrs.Has != 0 || e.payload != nil }

// datagram returns the IP datagram in the edited payload.
func (e *edits) datagram() []byte { return e.payload[e.ip : len(e.payload)-e.trailer] }

// SetPayload replaces the packet from its network header on by a copy of b, an
// IPv4 or IPv6 packet of any length up to 65531 bytes, when the packet is
// accepted, repeated or passed to another queue. b may be a part of
// [Packet.Payload]; where that begins with VLAN tags or a PPPoE header, so must
// b. A [Packet.Trailer] follows b as it followed the payload.
//
// Its lengths and checksums are made right, unless [Config.KeepChecksums] is
// set: those of IP, and of the upper layer, for the protocols that
// [Packet.EditPayload] names. Three things stay as they are: a checksum of b that
// is right; that UDP has no checksum, if it had none; and that the packet's
// checksum was wrong, so that b's is, too. The UDP length stays if b's IP length
// was right; else it leaves as many bytes behind it as it did.
//
// Sequence numbers are not adjusted: a TCP segment of another length upsets
// its connection.
//
// It changes nothing and returns
//   - [ErrUndeliverable], with the reason, if the kernel or every receiver would
//     throw b away;
//   - [ErrTooLarge] and [ErrNotIP] for a b that is no IP packet of at most 65531
//     bytes, or does not fit into a write;
//   - [ErrTruncated] if the packet is;
//   - [ErrGSO] and [ErrChecksumPending] with [Config.GSO], as EditPayload does,
//     and ErrGSO for every change of a super-packet's length;
//   - [ErrDeferred] after [Packet.Defer]: edit the copy.
func (p *Packet) SetPayload(b []byte) error {
	if err := p.editable(); err != nil {
		return err
	}
	trailer, room := p.Trailer(), p.payloadRoom()
	n := len(b) + len(trailer)
	if n > zerocopy.MaxCopyRange || n > p.sock.maxPayload() || n > len(room) && !p.own {
		return fmt.Errorf("%w: %d bytes", ErrTooLarge, n)
	}
	ip, _, ok := p.network(b)
	switch version := zerocopy.HeadOf(b[ip:]).Version; {
	case version == 0:
		return ErrNotIP
	case !ok:
		return fmt.Errorf("%w: it is of IPv%d, which is not what the packet is", ErrUndeliverable, version)
	}
	if err := p.beginEdit(); err != nil {
		return err
	}
	e := &p.edit
	if err := p.deliverable(b[ip:]); err != nil {
		return err
	}
	resized := len(b) != e.length
	switch {
	case p.GSO() && (resized || flowOf(b[ip:]).Protocol != protoTCP):
		return fmt.Errorf("%w: %d bytes of %v in place of %d", ErrGSO, len(b), flowOf(b[ip:]), e.length)
	case resized && e.attrs.Has&ofConnection != 0 && p.upsetsNAT(b[ip:]):
		return errSeqAdjust
	}
	var short [64]byte // longer than what Ethernet pads
	trailer = append(short[:0], trailer...)
	if n > len(room) {
		room = make([]byte, n, n+3)
	}
	copy(room, b)
	copy(room[len(b):], trailer)
	e.payload, e.ip, e.trailer, e.resized, e.etherType = room[:n], ip, len(trailer), resized, p.msg.HWProtocol()
	// The kernel cuts a super-packet up itself, and makes the sums of its parts.
	e.replaced = !p.GSO()
	return nil
}

// EditPayload returns the packet's payload for changing it in place. The
// changed packet goes on when it is accepted, repeated or passed to another
// queue. The bytes are borrowed like those of Payload.
//
// Lengths stay as they are. Checksums follow the edit (RFC 1624): a right one is
// right again, and a wrong one stays wrong, so that the receiver drops what it
// would have dropped. A checksum that the handler itself changes stays as the
// handler leaves it; with [Config.KeepChecksums] all do. The checksums are those of
// IPv4, TCP, UDP, UDP-Lite, DCCP, SCTP, ICMP, ICMPv6, IGMP, GRE, RSVP, EIGRP, OSPF,
// PIM, VRRP, Mobile IPv6, HIP and Shim6, also behind source routes and home
// addresses. Those of other protocols do not follow, nor those inside of tunnels,
// nor that of a datagram of which a later fragment is edited: it is in the first.
//
// The IP version, and the length of the IPv4 header or of IPv6 hop-by-hop
// options, must stay. Where the kernel would lose the packet otherwise, it is
// dropped, and counted in [Stats.InvalidVerdicts].
//
// It changes nothing and returns
//   - [ErrNotIP] for what is not an IP packet, and [ErrTooLarge] for one that
//     does not fit into a write;
//   - [ErrTruncated] if only a part of the packet was copied;
//   - [ErrGSO] for a super-packet that is not one of TCP directly in IP, and
//     [ErrChecksumPending], both only with [Config.GSO];
//   - [ErrDeferred] after [Packet.Defer]: edit the copy.
func (p *Packet) EditPayload() ([]byte, error) {
	if err := p.editable(); err != nil {
		return nil, err
	}
	e := &p.edit
	if e.payload == nil {
		b := p.payloadRoom()[:len(p.msg.Payload())]
		ip, end, ok := p.datagram(b)
		if !ok || zerocopy.HeadOf(b[ip:end]).Version == 0 {
			return nil, ErrNotIP
		}
		if len(b) > p.sock.maxPayload() {
			return nil, fmt.Errorf("%w: %d bytes", ErrTooLarge, len(b))
		}
		if err := p.beginEdit(); err != nil {
			return nil, err
		}
		e.payload, e.ip, e.trailer, e.replaced, e.resized = b, ip, len(b)-end, false, false
	}
	n := len(e.payload) - e.trailer
	return e.payload[:n:n], nil
}

// beginEdit remembers what the packet was before its first edit.
func (p *Packet) beginEdit() error {
	e := &p.edit
	if e.begun {
		return nil
	}
	p.FlowHash() // which stays
	b := p.msg.Payload()
	ip, end, ok := p.datagram(b)
	e.sums, e.length = zerocopy.Sums{}, end
	e.head = zerocopy.HeadOf(b[ip:end])
	switch {
	case !ok || e.head.Version == 0:
		// With CopyMeta, of which no more is known.
		switch p.msg.HWProtocol() {
		case etherTypeIPv4:
			e.head.Version = 4
		case etherTypeIPv6:
			e.head.Version = 6
		}
		e.begun = true
		return nil
	case p.GSO():
		if f := p.Flow(); f.Protocol != protoTCP || f.Fragment || f.Unknown {
			return fmt.Errorf("%w: it is not of TCP, but of %v", ErrGSO, f)
		}
	}
	if e.sums.Take(b[ip:end], !p.ChecksumReady()) == zerocopy.ErrPending {
		return ErrChecksumPending
	}
	e.begun = true
	return nil
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

func (p *Packet) editable() error {
	if p.deferred {
		return ErrDeferred
	}
	if p.Truncated() {
		return ErrTruncated
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

// verdictAttrs returns what goes with the verdict v, and the payload, if it has
// one, ready to leave and with its padding, for which there is room behind it.
func (e *edits) verdictAttrs(v Verdict, keepChecksums bool) (a zerocopy.VerdictAttrs, payload []byte) {
	a = e.attrs
	if mark, ok := v.Mark(); ok {
		a.Has |= zerocopy.HasMark
		a.Mark = mark
	}
	if e.payload != nil && v&verdictCode != Drop {
		a.Has |= zerocopy.HasPayload
		a.PayloadLen = len(e.payload)
		payload = e.finish(keepChecksums)
	}
	return a, payload
}

// finish makes the edited payload ready to leave and returns it with its
// padding, for which there is room behind it.
func (e *edits) finish(keepChecksums bool) []byte {
	switch {
	case keepChecksums:
	case e.replaced:
		// It fails only on headers that are no IP, which the edit was refused
		// for, unless the handler has overwritten them since. The kernel then
		// judges the packet.
		_ = e.sums.Fix(e.datagram())
		if e.resized {
			zerocopy.FixPPPoE(e.etherType, e.payload, len(e.payload)-e.trailer)
		}
	default:
		e.sums.Update(e.datagram())
	}
	return padded(e.payload)
}

// padded returns b with the padding that a netlink attribute has. There is room
// behind b.
func padded(b []byte) []byte {
	n := len(b)
	b = b[:n+zerocopy.Pad(n)]
	clear(b[n:])
	return b
}

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
