package zerocopy

import (
	"encoding/binary"
	"net/netip"
)

// Members of the NFQA_CT nest (enum ctattr_type).
const (
	ctaTupleOrig  = 1  // CTA_TUPLE_ORIG: nest of CTA_TUPLE_*
	ctaTupleReply = 2  // CTA_TUPLE_REPLY: nest of CTA_TUPLE_*
	ctaStatus     = 3  // CTA_STATUS: be32
	ctaProtoInfo  = 4  // CTA_PROTOINFO: nest of CTA_PROTOINFO_TCP, _DCCP or _SCTP
	ctaTimeout    = 7  // CTA_TIMEOUT: be32
	ctaMark       = 8  // CTA_MARK: be32
	ctaCountOrig  = 9  // CTA_COUNTERS_ORIG: nest of CTA_COUNTERS_*
	ctaCountReply = 10 // CTA_COUNTERS_REPLY: nest of CTA_COUNTERS_*
	ctaID         = 12 // CTA_ID: be32
	ctaZone       = 18 // CTA_ZONE: be16
	ctaTimestamp  = 20 // CTA_TIMESTAMP: nest of CTA_TIMESTAMP_*
	ctaMarkMask   = 21 // CTA_MARK_MASK: be32
	ctaLabels     = 22 // CTA_LABELS: 128 bits
	ctaLabelsMask = 23 // CTA_LABELS_MASK: as many bits
)

// Members of the nests within (enum ctattr_counters, enum ctattr_tstamp). The state of a
// connection is the first member of each protocol's nest.
const (
	ctaCountersPackets = 1 // CTA_COUNTERS_PACKETS: be64
	ctaCountersBytes   = 2 // CTA_COUNTERS_BYTES: be64
	ctaTimestampStart  = 1 // CTA_TIMESTAMP_START: be64
	ctaProtoInfoState  = 1 // CTA_PROTOINFO_TCP_STATE, _DCCP_STATE, _SCTP_STATE: u8
)

// Members of a tuple (enum ctattr_tuple) and of its nests (enum ctattr_ip and
// enum ctattr_l4proto).
const (
	ctaTupleIP    = 1 // CTA_TUPLE_IP: nest of CTA_IP_*
	ctaTupleProto = 2 // CTA_TUPLE_PROTO: nest of CTA_PROTO_*
	ctaTupleZone  = 3 // CTA_TUPLE_ZONE: be16

	ctaIPv4Src = 1 // CTA_IP_V4_SRC: 4 bytes
	ctaIPv4Dst = 2 // CTA_IP_V4_DST: 4 bytes
	ctaIPv6Src = 3 // CTA_IP_V6_SRC: 16 bytes
	ctaIPv6Dst = 4 // CTA_IP_V6_DST: 16 bytes

	ctaProtoNum        = 1 // CTA_PROTO_NUM: u8
	ctaProtoSrcPort    = 2 // CTA_PROTO_SRC_PORT: be16
	ctaProtoDstPort    = 3 // CTA_PROTO_DST_PORT: be16
	ctaProtoICMPID     = 4 // CTA_PROTO_ICMP_ID: be16
	ctaProtoICMPType   = 5 // CTA_PROTO_ICMP_TYPE: u8
	ctaProtoICMPCode   = 6 // CTA_PROTO_ICMP_CODE: u8
	ctaProtoICMPv6ID   = 7 // CTA_PROTO_ICMPV6_ID: be16
	ctaProtoICMPv6Type = 8 // CTA_PROTO_ICMPV6_TYPE: u8
	ctaProtoICMPv6Code = 9 // CTA_PROTO_ICMPV6_CODE: u8
)

// Conntrack is the connection that a packet belongs to, as ctnetlink shows it.
// It holds no reference to the bytes it was decoded from. A field whose
// attribute is absent is zero; the kernel leaves out Zone 0, Mark 0 and Labels
// without a bit set.
type Conntrack struct {
	ID      uint32   // CTA_ID
	Status  uint32   // CTA_STATUS: IPS_* bits (enum ip_conntrack_status)
	Mark    uint32   // CTA_MARK: ct->mark
	Timeout uint32   // CTA_TIMEOUT: seconds until the connection expires
	Zone    uint16   // CTA_ZONE: zone of both directions
	Labels  [16]byte // CTA_LABELS: bit n is bit n%8 of byte n/8 on little-endian hosts
	Orig    Tuple    // CTA_TUPLE_ORIG: as the first packet went
	Reply   Tuple    // CTA_TUPLE_REPLY: as answers go, address translation undone

	OrigCount, ReplyCount Count  // CTA_COUNTERS_ORIG and _REPLY
	Start                 uint64 // CTA_TIMESTAMP_START: nanoseconds since the epoch
	ProtoState            uint8  // of TCP, DCCP or SCTP
}

// Count is what has passed in one direction of a connection.
type Count struct{ Packets, Bytes uint64 }

// Tuple is one direction of a connection.
type Tuple struct {
	Src, Dst         netip.Addr
	SrcPort, DstPort uint16 // 0 for ICMP
	ICMPID           uint16 // identifier of ICMP and ICMPv6
	ICMPType         uint8
	ICMPCode         uint8
	Proto            uint8  // IP protocol number
	Zone             uint16 // CTA_TUPLE_ZONE: zone of this direction only
}

// Decode decodes an NFQA_CT nest. Attributes that Conntrack does not show are
// skipped. It returns ErrAttr if one is malformed or too short; what stood
// before it is then decoded. It never allocates.
func (c *Conntrack) Decode(nest []byte) error {
	*c = Conntrack{}
	for len(nest) > 0 {
		typ, val, rest, ok := nextAttr(nest)
		if !ok {
			return ErrAttr
		}
		switch typ {
		case ctaTupleOrig:
			ok = c.Orig.decode(val)
		case ctaTupleReply:
			ok = c.Reply.decode(val)
		case ctaStatus:
			ok = get32(&c.Status, val)
		case ctaTimeout:
			ok = get32(&c.Timeout, val)
		case ctaMark:
			ok = get32(&c.Mark, val)
		case ctaID:
			ok = get32(&c.ID, val)
		case ctaZone:
			ok = get16(&c.Zone, val)
		case ctaLabels:
			ok = len(val) >= len(c.Labels)
			copy(c.Labels[:], val)
		case ctaProtoInfo:
			ok = c.decodeProtoInfo(val)
		case ctaCountOrig:
			ok = c.OrigCount.decode(val)
		case ctaCountReply:
			ok = c.ReplyCount.decode(val)
		case ctaTimestamp:
			ok = members(val, func(typ uint16, val []byte) bool {
				return typ != ctaTimestampStart || get64(&c.Start, val)
			})
		}
		if !ok {
			return ErrAttr
		}
		nest = rest
	}
	return nil
}

func (t *Tuple) decode(nest []byte) bool {
	for len(nest) > 0 {
		typ, val, rest, ok := nextAttr(nest)
		if !ok {
			return false
		}
		switch typ {
		case ctaTupleIP:
			ok = t.decodeIP(val)
		case ctaTupleProto:
			ok = t.decodeProto(val)
		case ctaTupleZone:
			ok = get16(&t.Zone, val)
		}
		if !ok {
			return false
		}
		nest = rest
	}
	return true
}

func (t *Tuple) decodeIP(nest []byte) bool {
	for len(nest) > 0 {
		typ, val, rest, ok := nextAttr(nest)
		if !ok {
			return false
		}
		switch typ {
		case ctaIPv4Src:
			ok = getAddr4(&t.Src, val)
		case ctaIPv4Dst:
			ok = getAddr4(&t.Dst, val)
		case ctaIPv6Src:
			ok = getAddr6(&t.Src, val)
		case ctaIPv6Dst:
			ok = getAddr6(&t.Dst, val)
		}
		if !ok {
			return false
		}
		nest = rest
	}
	return true
}

func (t *Tuple) decodeProto(nest []byte) bool {
	for len(nest) > 0 {
		typ, val, rest, ok := nextAttr(nest)
		if !ok {
			return false
		}
		switch typ {
		case ctaProtoNum:
			ok = get8(&t.Proto, val)
		case ctaProtoSrcPort:
			ok = get16(&t.SrcPort, val)
		case ctaProtoDstPort:
			ok = get16(&t.DstPort, val)
		case ctaProtoICMPID, ctaProtoICMPv6ID:
			ok = get16(&t.ICMPID, val)
		case ctaProtoICMPType, ctaProtoICMPv6Type:
			ok = get8(&t.ICMPType, val)
		case ctaProtoICMPCode, ctaProtoICMPv6Code:
			ok = get8(&t.ICMPCode, val)
		}
		if !ok {
			return false
		}
		nest = rest
	}
	return true
}

func get8(p *uint8, val []byte) bool {
	if len(val) < 1 {
		return false
	}
	*p = val[0]
	return true
}

func get16(p *uint16, val []byte) bool {
	if len(val) < 2 {
		return false
	}
	*p = binary.BigEndian.Uint16(val)
	return true
}

func get32(p *uint32, val []byte) bool {
	if len(val) < 4 {
		return false
	}
	*p = binary.BigEndian.Uint32(val)
	return true
}

func getAddr4(p *netip.Addr, val []byte) bool {
	if len(val) < 4 {
		return false
	}
	*p = netip.AddrFrom4([4]byte(val))
	return true
}

func getAddr6(p *netip.Addr, val []byte) bool {
	if len(val) < 16 {
		return false
	}
	*p = netip.AddrFrom16([16]byte(val))
	return true
}

func (c *Conntrack) decodeProtoInfo(nest []byte) bool {
	return members(nest, func(_ uint16, protocol []byte) bool {
		return members(protocol, func(typ uint16, val []byte) bool {
			return typ != ctaProtoInfoState || get8(&c.ProtoState, val)
		})
	})
}

func (c *Count) decode(nest []byte) bool {
	return members(nest, func(typ uint16, val []byte) bool {
		switch typ {
		case ctaCountersPackets:
			return get64(&c.Packets, val)
		case ctaCountersBytes:
			return get64(&c.Bytes, val)
		}
		return true
	})
}

// members calls f for each attribute of a nest, and reports whether all are whole and f
// has found them right.
func members(nest []byte, f func(typ uint16, val []byte) bool) bool {
	for len(nest) > 0 {
		typ, val, rest, ok := nextAttr(nest)
		if !ok || !f(typ, val) {
			return false
		}
		nest = rest
	}
	return true
}

func get64(p *uint64, val []byte) bool {
	if len(val) < 8 {
		return false
	}
	*p = binary.BigEndian.Uint64(val)
	return true
}
