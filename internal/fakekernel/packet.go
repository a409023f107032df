package fakekernel

import (
	"encoding/binary"

	"github.com/goipq/goipq/internal/zerocopy"
)

// A Packet is what a test queues. Its id is given by the queue.
type Packet struct {
	Family   uint8  // of the hook; 0 means AF_INET
	Protocol uint16 // EtherType; 0 means by the version of Payload
	Hook     uint8
	Mark     uint32 // not sent if 0, as by the kernel
	CapLen   uint32 // the true length of a truncated packet; likewise
	SkbInfo  uint32 // likewise
	Attrs    []byte // more attributes, see Attr
	Payload  []byte // nil: no such attribute, as with NFQNL_COPY_META
	// Raw, if not nil, takes the place of all attributes but the header.
	Raw []byte
	// Damage is done to the message. No kernel is known to do it.
	Damage Damage
}

// A Damage is what is wrong with a packet's message.
type Damage uint8

// The kinds of damage. All but the last leave the packet's id readable.
const (
	Whole     Damage = iota
	ShortAttr        // an attribute is shorter than its type
	LongAttr         // an attribute reaches beyond the message
	ZeroAttr         // an attribute's length does not count its own header
	CutShort         // the datagram ends in the middle of its payload, if it has one
	NoHeader         // the packet header is missing, and with it the id
)

// Message returns the NFQNL_MSG_PACKET for p.
func (p *Packet) Message(queue uint16, id uint32) []byte {
	return p.AppendMessage(make([]byte, 0, 128+len(p.Payload)), queue, id)
}

// AppendMessage appends the NFQNL_MSG_PACKET for p to b, in the kernel's order
// of attributes.
func (p *Packet) AppendMessage(b []byte, queue uint16, id uint32) []byte {
	proto := p.Protocol
	if proto == 0 && len(p.Payload) > 0 {
		proto = etherType(p.Payload)
	}
	start := len(b)
	var header [zerocopy.HeaderLen]byte
	b = append(b, header[:]...)
	family := p.Family
	if family == 0 {
		family = 2 // AF_INET
	}
	b = append(b, family, 0) // NFNETLINK_V0
	b = binary.BigEndian.AppendUint16(b, queue)

	if p.Damage != NoHeader {
		b = appendAttrHeader(b, zerocopy.AttrPacketHdr, 7) // struct nfqnl_msg_packet_hdr, packed
		b = binary.BigEndian.AppendUint32(b, id)
		b = binary.BigEndian.AppendUint16(b, proto)
		b = append(b, p.Hook, 0)
	}
	if p.Raw != nil {
		b = append(b, p.Raw...)
	} else {
		b = appendU32(b, zerocopy.AttrMark, p.Mark)
		b = p.appendDamage(b)
		b = append(b, p.Attrs...)
		b = appendU32(b, zerocopy.AttrCapLen, p.CapLen)
		b = appendU32(b, zerocopy.AttrSkbInfo, p.SkbInfo)
		if p.Payload != nil {
			b = appendAttrHeader(b, zerocopy.AttrPayload, len(p.Payload))
			b = append(b, p.Payload...) // the kernel does not pad the last
		}
	}
	putHeader(b[start:], zerocopy.TypePacket, 0)
	if p.Damage == CutShort {
		b = b[:len(b)-len(p.Payload)/2]
	}
	return b
}

// etherType returns the protocol of an IP packet.
func etherType(ip []byte) uint16 {
	if ip[0]>>4 == 6 {
		return 0x86dd
	}
	return 0x0800
}

// appendDamage appends the attribute that is wrong.
func (p *Packet) appendDamage(b []byte) []byte {
	switch p.Damage {
	case ShortAttr:
		b = appendAttrHeader(b, zerocopy.AttrInDev, 2)
		b = append(b, 0, 0, 0, 0)
	case LongAttr:
		b = appendAttrHeader(b, zerocopy.AttrHWAddr, 0xfff0)
	case ZeroAttr:
		b = appendAttrHeader(b, zerocopy.AttrTimestamp, -zerocopy.AttrHeaderLen)
	}
	return b
}

func appendAttrHeader(b []byte, typ uint16, n int) []byte {
	b = binary.NativeEndian.AppendUint16(b, uint16(zerocopy.AttrHeaderLen+n))
	return binary.NativeEndian.AppendUint16(b, typ)
}

// appendU32 appends an attribute that the kernel sends only if it is not 0.
func appendU32(b []byte, typ uint16, v uint32) []byte {
	if v == 0 {
		return b
	}
	return binary.BigEndian.AppendUint32(appendAttrHeader(b, typ, 4), v)
}

// Attr appends an attribute and its padding to b.
func Attr(b []byte, typ uint16, value []byte) []byte {
	b = append(appendAttrHeader(b, typ, len(value)), value...)
	return append(b, make([]byte, zerocopy.Pad(len(value)))...)
}

// ErrorMessage returns the NLMSG_ERROR with which the kernel answers a message
// of that type and sequence number (NETLINK_CAP_ACK: only its header is
// echoed).
func ErrorMessage(errno uint32, typ uint16, seq uint32) []byte {
	return appendError(nil, errno, typ, seq, 0)
}

func appendError(b []byte, errno uint32, typ uint16, seq, port uint32) []byte {
	start := len(b)
	var zero [2*zerocopy.HeaderLen + 4]byte
	b = append(b, zero[:]...)
	m := b[start:]
	binary.NativeEndian.PutUint32(m[16:], -errno)
	putHeader(m[20:], typ, seq)
	binary.NativeEndian.PutUint32(m[32:], port)
	putHeader(m, zerocopy.TypeError, seq)
	return b
}

func putHeader(b []byte, typ uint16, seq uint32) {
	binary.NativeEndian.PutUint32(b[0:], uint32(len(b)))
	binary.NativeEndian.PutUint16(b[4:], typ)
	binary.NativeEndian.PutUint32(b[8:], seq)
}
