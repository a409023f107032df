package fakekernel

import (
	"encoding/binary"

	"github.com/goipq/goipq/internal/zerocopy"
)

// A Verdict is what the kernel was told about a packet.
type Verdict struct {
	Verdict uint32
	Batch   bool              // by NFQNL_MSG_VERDICT_BATCH
	Write   int               // number of the datagram that brought it, from 1
	Attrs   map[uint16][]byte // all attributes but the verdict header, by type
}

// Payload returns the packet's new payload, or nil.
func (v *Verdict) Payload() []byte { return v.Attrs[zerocopy.AttrPayload] }

// parse reads the messages of a datagram and calls take for each.
func parse(datagram []byte, take func(typ uint16, id uint32, v Verdict)) {
	for len(datagram) >= zerocopy.HeaderLen {
		h, ok := zerocopy.ParseHeader(datagram)
		if !ok || int(h.Len) > len(datagram) || int(h.Len) < zerocopy.HeaderLen+zerocopy.GenHeaderLen {
			return // netlink_rcv_skb stops here, too
		}
		v := Verdict{Batch: h.Type == zerocopy.TypeVerdictBatch, Attrs: map[uint16][]byte{}}
		var id uint32
		attrs := datagram[zerocopy.HeaderLen+zerocopy.GenHeaderLen : h.Len]
		for len(attrs) >= zerocopy.AttrHeaderLen {
			n := int(binary.NativeEndian.Uint16(attrs))
			typ := binary.NativeEndian.Uint16(attrs[2:]) & 0x3fff // NLA_TYPE_MASK
			if n < zerocopy.AttrHeaderLen || n > len(attrs) {
				return
			}
			value := attrs[zerocopy.AttrHeaderLen:n]
			if typ == zerocopy.AttrVerdictHdr {
				v.Verdict, id = binary.BigEndian.Uint32(value), binary.BigEndian.Uint32(value[4:])
			} else {
				v.Attrs[typ] = append([]byte(nil), value...)
			}
			attrs = attrs[min(n+zerocopy.Pad(n), len(attrs)):]
		}
		take(h.Type, id, v)
		datagram = datagram[min(int(h.Len)+zerocopy.Pad(int(h.Len)), len(datagram)):]
	}
}
