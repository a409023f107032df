package zerocopy

import "encoding/binary"

// has reports whether attribute typ is present.
func (m *Message) has(typ uint) bool { return m.present&(1<<typ) != 0 }

// u32 returns a 32-bit attribute in host order, 0 if it is absent.
func (m *Message) u32(typ uint) uint32 {
	if !m.has(typ) {
		return 0
	}
	return binary.BigEndian.Uint32(m.buf[m.off[typ]:])
}

// value returns an attribute's bytes as far as buf reaches, nil if absent.
func (m *Message) value(typ uint) []byte {
	if !m.has(typ) {
		return nil
	}
	off := int(m.off[typ])
	n := int(binary.NativeEndian.Uint16(m.buf[off-AttrHeaderLen:])) - AttrHeaderLen
	end := min(off+n, len(m.buf))
	return m.buf[off:end:end]
}

// HasID reports whether the packet id is known, which it can be even though
// Decode returned an error.
func (m *Message) HasID() bool { return m.present&hasID != 0 }

// ID returns the packet's id in its queue (packet_id), 0 if it is not known. It is that
// of the moment of Decode, whatever has become of the buffer since.
func (m *Message) ID() uint32 { return m.id }

// Queue returns the number of the queue that holds the packet
// (nfgenmsg.res_id).
func (m *Message) Queue() uint16 {
	if len(m.buf) < attrStart {
		return 0
	}
	return binary.BigEndian.Uint16(m.buf[18:20])
}

// Family returns the protocol family of the hook that queued the packet
// (nfgenmsg.nfgen_family): NFPROTO_IPV4 2, NETDEV 5, BRIDGE 7, IPV6 10.
func (m *Message) Family() uint8 {
	if len(m.buf) < attrStart {
		return 0
	}
	return m.buf[16]
}

// HWProtocol returns the packet's EtherType (hw_protocol), 0 if not known.
func (m *Message) HWProtocol() uint16 {
	if !m.has(AttrPacketHdr) {
		return 0
	}
	return binary.BigEndian.Uint16(m.buf[m.off[AttrPacketHdr]+4:])
}

// Hook returns the netfilter hook that queued the packet, in the numbers of
// its family: NF_INET_PRE_ROUTING is 0.
func (m *Message) Hook() uint8 {
	if !m.has(AttrPacketHdr) {
		return 0
	}
	return m.buf[m.off[AttrPacketHdr]+6]
}

// Mark returns skb->mark (NFQA_MARK). The kernel leaves out a mark of 0.
func (m *Message) Mark() uint32 { return m.u32(AttrMark) }

// Priority returns skb->priority (NFQA_PRIORITY, Linux 5.18). The kernel
// leaves out a priority of 0.
func (m *Message) Priority() uint32 { return m.u32(AttrPriority) }

// CgroupClass returns the net_cls class of the socket's cgroup
// (NFQA_CGROUP_CLASSID, Linux 6.4), 0 when there is none.
func (m *Message) CgroupClass() uint32 { return m.u32(AttrCgroupClassID) }

// InDev returns the index of the interface that the packet came in by
// (NFQA_IFINDEX_INDEV), 0 when there is none. For a bridged packet it is the
// bridge.
func (m *Message) InDev() uint32 { return m.u32(AttrInDev) }

// OutDev returns the index of the interface that the packet goes out by
// (NFQA_IFINDEX_OUTDEV), 0 when there is none.
func (m *Message) OutDev() uint32 { return m.u32(AttrOutDev) }

// PhysInDev returns the index of the bridge port that the packet came in by
// (NFQA_IFINDEX_PHYSINDEV), 0 when there is none.
func (m *Message) PhysInDev() uint32 { return m.u32(AttrPhysInDev) }

// PhysOutDev returns the index of the bridge port that the packet goes out by
// (NFQA_IFINDEX_PHYSOUTDEV), 0 when there is none.
func (m *Message) PhysOutDev() uint32 { return m.u32(AttrPhysOutDev) }

// HWAddr returns the sender's link-layer address (NFQA_HWADDR), at most 8
// bytes; nil when absent.
func (m *Message) HWAddr() []byte {
	if !m.has(AttrHWAddr) {
		return nil
	}
	// struct nfqnl_msg_packet_hw: be16 hw_addrlen, u16 pad, u8 hw_addr[8].
	v := m.buf[m.off[AttrHWAddr]:]
	end := 4 + min(int(binary.BigEndian.Uint16(v)), 8)
	return v[4:end:end]
}

// VLAN returns the packet's VLAN tag as the bridge family shows it
// (NFQA_VLAN): the tag's EtherType (0x8100 or 0x88a8) and its tag control
// information. ok is false unless the tag is present and whole.
func (m *Message) VLAN() (proto, tci uint16, ok bool) {
	var hasProto, hasTCI bool
	for nest := m.value(AttrVLAN); len(nest) > 0; {
		typ, val, rest, whole := nextAttr(nest)
		if !whole {
			return 0, 0, false
		}
		switch {
		case typ == attrVLANProto && len(val) >= 2:
			proto, hasProto = binary.BigEndian.Uint16(val), true
		case typ == attrVLANTCI && len(val) >= 2:
			tci, hasTCI = binary.BigEndian.Uint16(val), true
		}
		nest = rest
	}
	if !hasProto || !hasTCI {
		return 0, 0, false
	}
	return proto, tci, true
}

// L2Header returns the link-layer header (NFQA_L2HDR, bridge family); nil
// when absent.
func (m *Message) L2Header() []byte { return m.value(AttrL2Hdr) }

// Timestamp returns when the packet was received (NFQA_TIMESTAMP), in seconds
// and microseconds since the epoch. The kernel gives it on the hooks up to
// FORWARD only.
func (m *Message) Timestamp() (sec, usec uint64, ok bool) {
	if !m.has(AttrTimestamp) {
		return 0, 0, false
	}
	v := m.buf[m.off[AttrTimestamp]:]
	return binary.BigEndian.Uint64(v), binary.BigEndian.Uint64(v[8:]), true
}

// UID returns the user id of the socket that sent the packet (NFQA_UID), as
// the initial user namespace numbers it.
func (m *Message) UID() (uint32, bool) { return m.u32(AttrUID), m.has(AttrUID) }

// GID returns the group id of the socket that sent the packet (NFQA_GID), as
// the initial user namespace numbers it.
func (m *Message) GID() (uint32, bool) { return m.u32(AttrGID), m.has(AttrGID) }

// SecCtx returns the security context (NFQA_SECCTX) without a trailing NUL;
// nil when absent.
func (m *Message) SecCtx() []byte {
	v := m.value(AttrSecCtx)
	if n := len(v); n > 0 && v[n-1] == 0 {
		v = v[: n-1 : n-1]
	}
	return v
}

// Conntrack returns the raw NFQA_CT nest, for Conntrack.Decode; nil when
// absent.
func (m *Message) Conntrack() []byte { return m.value(AttrCT) }

// ConntrackInfo returns the packet's relation to its connection
// (NFQA_CT_INFO, enum ip_conntrack_info).
func (m *Message) ConntrackInfo() (uint32, bool) { return m.u32(AttrCTInfo), m.has(AttrCTInfo) }

// CapLen returns the packet's true length in bytes if the copy range
// truncated it (NFQA_CAP_LEN), else 0.
func (m *Message) CapLen() uint32 { return m.u32(AttrCapLen) }

// SkbInfo returns the Skb* bits (NFQA_SKB_INFO).
func (m *Message) SkbInfo() uint32 { return m.u32(AttrSkbInfo) }

// Payload returns the packet from its network header on (NFQA_PAYLOAD), as
// far as copy range and receive buffer reached. Its capacity ends with it, so
// appending never overwrites what follows. It is nil when absent, as in
// CopyMeta mode.
func (m *Message) Payload() []byte { return m.value(AttrPayload) }

// PayloadOffset returns where Payload begins in the bytes given to Decode, 0
// when absent.
func (m *Message) PayloadOffset() int {
	if !m.has(AttrPayload) {
		return 0
	}
	return int(m.off[AttrPayload])
}

// Cut reports whether the receive buffer was too small for the message, so
// that Payload, and any attribute that should follow, may lack bytes.
func (m *Message) Cut() bool { return m.cut }
