package fakekernel

import (
	"encoding/binary"

	"github.com/goipq/goipq/internal/zerocopy"
)

// A Packet is what a test queues. Its id is given by the queue.
type Packet struct {
	Protocol uint16 // EtherType; 0 means by the version of Payload
	Hook     uint8
	Mark     uint32 // not sent if 0, as by the kernel
	CapLen   uint32 // the true length of a truncated packet; likewise
	SkbInfo  uint32 // likewise
	Payload  []byte // nil: no such attribute, as with NFQNL_COPY_META
	// Raw, if not nil, takes the place of all attributes but the header.
	Raw []byte
}

// Message returns the NFQNL_MSG_PACKET for p, in the kernel's order of
// attributes.
func (p *Packet) Message(queue uint16, id uint32) []byte {
	proto := p.Protocol
	if proto == 0 && len(p.Payload) > 0 {
		proto = 0x0800
		if p.Payload[0]>>4 == 6 {
			proto = 0x86dd
		}
	}
	b := make([]byte, zerocopy.HeaderLen, 128+len(p.Payload))
	b = append(b, 2, 0) // AF_INET, NFNETLINK_V0
	b = binary.BigEndian.AppendUint16(b, queue)

	hdr := binary.BigEndian.AppendUint32(nil, id)
	hdr = binary.BigEndian.AppendUint16(hdr, proto)
	b = Attr(b, zerocopy.AttrPacketHdr, append(hdr, p.Hook))
	if p.Raw != nil {
		b = append(b, p.Raw...)
	} else {
		for _, a := range []struct {
			typ uint16
			v   uint32
		}{{zerocopy.AttrMark, p.Mark}, {zerocopy.AttrCapLen, p.CapLen}, {zerocopy.AttrSkbInfo, p.SkbInfo}} {
			if a.v != 0 {
				b = Attr(b, a.typ, binary.BigEndian.AppendUint32(nil, a.v))
			}
		}
		if p.Payload != nil {
			b = Attr(b, zerocopy.AttrPayload, p.Payload)
			b = b[:len(b)-zerocopy.Pad(len(p.Payload))] // the kernel does not pad the last
		}
	}
	putHeader(b, zerocopy.TypePacket, 0)
	return b
}

// Attr appends an attribute and its padding to b.
func Attr(b []byte, typ uint16, value []byte) []byte {
	b = binary.NativeEndian.AppendUint16(b, uint16(zerocopy.AttrHeaderLen+len(value)))
	b = binary.NativeEndian.AppendUint16(b, typ)
	b = append(b, value...)
	return append(b, make([]byte, zerocopy.Pad(len(value)))...)
}

// ErrorMessage returns the NLMSG_ERROR with which the kernel answers a message
// of that type and sequence number (NETLINK_CAP_ACK: only its header is
// echoed).
func ErrorMessage(errno uint32, typ uint16, seq uint32) []byte {
	b := make([]byte, 2*zerocopy.HeaderLen+4)
	binary.NativeEndian.PutUint32(b[16:], -errno)
	putHeader(b[20:], typ, seq)
	putHeader(b, zerocopy.TypeError, seq)
	return b
}

func putHeader(b []byte, typ uint16, seq uint32) {
	binary.NativeEndian.PutUint32(b[0:], uint32(len(b)))
	binary.NativeEndian.PutUint16(b[4:], typ)
	binary.NativeEndian.PutUint32(b[8:], seq)
}
