package zerocopy

import "encoding/binary"

// hasID takes the place of NFQA_UNSPEC in Message.present. It is a bit of its
// own because the id outlives a packet header that is cut behind it.
const hasID = 1 << 0

// Message is a decoded NFQNL_MSG_PACKET: a view into the bytes that Decode
// was given. Nothing is copied, so it and every slice it returns are valid
// only as long as those bytes are. The zero value has no attributes. Methods
// other than Decode may run concurrently.
type Message struct {
	buf     []byte              // ends where the message or the receive buffer does
	present uint32              // bit n: attribute n is here; bit 0: hasID
	id      uint32              // 0: it is not known
	cut     bool                // the receive buffer ended before the message
	off     [attrMax + 1]uint32 // offset of attribute n's value; stale unless present
}

// minAttrLen is the least nla_len of each attribute. Longer ones are
// accepted: kernels grow structures at their end.
var minAttrLen = [attrMax + 1]uint8{
	attrUnspec:        AttrHeaderLen,
	AttrPacketHdr:     AttrHeaderLen + 7,
	AttrVerdictHdr:    AttrHeaderLen + 8,
	AttrMark:          AttrHeaderLen + 4,
	AttrTimestamp:     AttrHeaderLen + 16,
	AttrInDev:         AttrHeaderLen + 4,
	AttrOutDev:        AttrHeaderLen + 4,
	AttrPhysInDev:     AttrHeaderLen + 4,
	AttrPhysOutDev:    AttrHeaderLen + 4,
	AttrHWAddr:        AttrHeaderLen + 12,
	AttrPayload:       AttrHeaderLen,
	AttrCT:            AttrHeaderLen,
	AttrCTInfo:        AttrHeaderLen + 4,
	AttrCapLen:        AttrHeaderLen + 4,
	AttrSkbInfo:       AttrHeaderLen + 4,
	AttrExp:           AttrHeaderLen,
	AttrUID:           AttrHeaderLen + 4,
	AttrGID:           AttrHeaderLen + 4,
	AttrSecCtx:        AttrHeaderLen,
	AttrVLAN:          AttrHeaderLen,
	AttrL2Hdr:         AttrHeaderLen,
	AttrPriority:      AttrHeaderLen + 4,
	AttrCgroupClassID: AttrHeaderLen + 4,
}

// Decode decodes the packet message at the start of b, which begins with its
// nlmsghdr. b may have been cut short by a small receive buffer (MSG_TRUNC):
// a payload that the cut goes through is kept as far as it reaches, any other
// such attribute counts as absent, and Cut reports true.
//
// It returns nil, ErrShort, ErrType or ErrAttr. After ErrShort or ErrAttr the
// packet still wants a verdict if HasID reports true; the attributes before
// the fault are readable. Unknown attributes are skipped; of a repeated one
// the last counts, as in the kernel.
func (m *Message) Decode(b []byte) error {
	m.buf, m.present, m.id, m.cut = nil, 0, 0, false
	if len(b) < attrStart {
		return ErrShort
	}
	if binary.NativeEndian.Uint16(b[4:6]) != TypePacket {
		return ErrType
	}
	total := uint64(binary.NativeEndian.Uint32(b[0:4]))
	if total < attrStart {
		return ErrShort
	}
	if total > uint64(len(b)) {
		m.cut = true
	} else {
		b = b[:total]
	}
	m.buf = b

	present := uint32(0)
	for pos := attrStart; len(b)-pos >= AttrHeaderLen; {
		h := b[pos : pos+AttrHeaderLen]
		n := int(binary.NativeEndian.Uint16(h[0:2]))
		typ := binary.NativeEndian.Uint16(h[2:4]) & attrTypeMask
		if typ > attrMax {
			typ = attrUnspec
		}
		if n > len(b)-pos {
			m.setPresent(present)
			return m.decodeCut(pos, n, typ, total)
		}
		if n < int(minAttrLen[typ]) {
			m.setPresent(present)
			return m.badAttr(pos, n, typ)
		}
		m.off[typ] = uint32(pos + AttrHeaderLen)
		present |= 1 << typ
		pos += align4(n)
	}
	m.setPresent(present)
	return m.checkHeader()
}

// setPresent notes the attributes that were read. The bit of attrUnspec, which
// collects what is skipped, becomes hasID: whole, NFQA_PACKET_HDR has the id.
func (m *Message) setPresent(p uint32) {
	m.present = p&^hasID | p>>AttrPacketHdr&hasID
	if m.present&hasID != 0 {
		m.readID()
	}
}

func (m *Message) readID() { m.id = binary.BigEndian.Uint32(m.buf[m.off[AttrPacketHdr]:]) }

// decodeCut takes in the attribute at pos, whose n bytes reach beyond buf.
func (m *Message) decodeCut(pos, n int, typ uint16, total uint64) error {
	if !m.cut || uint64(pos)+uint64(n) > total {
		return m.badAttr(pos, len(m.buf)-pos, typ)
	}
	switch typ {
	case AttrPayload:
		m.off[AttrPayload] = uint32(pos + AttrHeaderLen)
		m.present |= 1 << AttrPayload
	case AttrPacketHdr:
		_ = m.badAttr(pos, len(m.buf)-pos, typ)
	}
	return m.checkHeader()
}

// badAttr saves the packet id from a broken NFQA_PACKET_HDR, n bytes of which
// can be read, and returns ErrAttr. A whole header before it stays in force.
func (m *Message) badAttr(pos, n int, typ uint16) error {
	if typ == AttrPacketHdr && n >= AttrHeaderLen+4 && !m.HasID() {
		m.off[AttrPacketHdr] = uint32(pos + AttrHeaderLen)
		m.present |= hasID
		m.readID()
	}
	return ErrAttr
}

// checkHeader returns an error unless NFQA_PACKET_HDR is whole.
func (m *Message) checkHeader() error {
	switch {
	case m.present&(1<<AttrPacketHdr) != 0:
		return nil
	case m.cut:
		return ErrShort
	default:
		return ErrAttr
	}
}
