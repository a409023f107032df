package nfqueue

import (
	"encoding/binary"
	"time"

	"github.com/goipq/goipq/ipq"
)

const (
	// together is for how many packets memory is taken at once, at the most.
	together = 16
	// chunk is how many bytes of payloads share memory, at the most.
	chunk = 16 << 10
)

// values are what an Attribute points to.
type values struct {
	id, mark, inDev, physInDev, outDev, physOutDev uint32
	capLen, uid, gid, ctInfo, prio                 uint32
	etherType                                      uint16
	hook                                           uint8
	payload                                        []byte
	more                                           *rare
}

// rare is what few packets have.
type rare struct {
	timestamp              time.Time
	secCtx                 string
	l2Hdr, ct, skbInfo, hw []byte
}

// A maker makes Attributes of packets. It takes memory for more packets at once the more
// have come without a pause.
type maker struct {
	packets int // that memory was taken for at once, the last time
	values  []values
	bytes   []byte
}

// attribute returns what the kernel tells of p, for the caller to keep.
func (m *maker) attribute(p *ipq.Packet) Attribute {
	if len(m.values) == 0 {
		m.packets = min(max(1, 2*m.packets), together)
		m.values = make([]values, m.packets)
	}
	v := &m.values[0]
	m.values = m.values[1:]
	v.id, v.hook, v.etherType = p.ID(), uint8(p.Hook()), p.EtherType()
	a := Attribute{
		PacketID:   &v.id,
		Hook:       &v.hook,
		HwProtocol: &v.etherType,
		Mark:       unlessZero(&v.mark, p.Mark()),
		InDev:      unlessZero(&v.inDev, uint32(p.InDev())),
		PhysInDev:  unlessZero(&v.physInDev, uint32(p.PhysInDev())),
		OutDev:     unlessZero(&v.outDev, uint32(p.OutDev())),
		PhysOutDev: unlessZero(&v.physOutDev, uint32(p.PhysOutDev())),
		SkbPrio:    unlessZero(&v.prio, p.Priority()),
	}
	if b := p.Payload(); b != nil {
		v.payload = m.keep(b, p.Trailer())
		a.Payload = &v.payload
		if p.Truncated() {
			a.CapLen = unlessZero(&v.capLen, uint32(p.Len()))
		}
	}
	if uid, ok := p.UID(); ok {
		v.uid, a.UID = uid, &v.uid
	}
	if gid, ok := p.GID(); ok {
		v.gid, a.GID = gid, &v.gid
	}
	if b := p.ConntrackBytes(); b != nil {
		r := v.rare()
		r.ct = m.keep(b)
		a.Ct = &r.ct
		if ct, ok := p.Conntrack(); ok {
			v.ctInfo, a.CtInfo = uint32(ct.State), &v.ctInfo
		}
	}
	if b := p.HardwareAddr(); b != nil {
		r := v.rare()
		r.hw = m.keep(b)
		a.HwAddr = &r.hw
	}
	if b := p.LinkHeader(); b != nil {
		r := v.rare()
		r.l2Hdr = m.keep(b)
		a.L2Hdr = &r.l2Hdr
	}
	if b := p.SecurityContext(); b != nil {
		r := v.rare()
		r.secCtx = string(b)
		a.SecCtx = &r.secCtx
	}
	if t := p.Timestamp(); !t.IsZero() {
		r := v.rare()
		r.timestamp = t
		a.Timestamp = &r.timestamp
	}
	if bits := skbInfo(p); bits != 0 {
		r := v.rare()
		r.skbInfo = binary.BigEndian.AppendUint32(nil, bits)
		a.SkbInfo = &r.skbInfo
	}
	return a
}

func (v *values) rare() *rare {
	if v.more == nil {
		v.more = new(rare)
	}
	return v.more
}

// unlessZero stores v in place of what the kernel leaves out if it is 0.
func unlessZero(place *uint32, v uint32) *uint32 {
	if v == 0 {
		return nil
	}
	*place = v
	return place
}

// skbInfo returns the bits of NFQA_SKB_INFO.
func skbInfo(p *ipq.Packet) (bits uint32) {
	const csumNotReady, gso, csumNotVerified = 1, 2, 4
	if !p.ChecksumReady() {
		bits |= csumNotReady
	}
	if p.GSO() {
		bits |= gso
	}
	if !p.ChecksumVerified() {
		bits |= csumNotVerified
	}
	return bits
}

// keep returns a copy of the parts, one behind the other.
func (m *maker) keep(parts ...[]byte) []byte {
	n := 0
	for _, b := range parts {
		n += len(b)
	}
	var b []byte
	switch {
	case n > chunk/8: // by itself, so that it holds up no memory of others
		b = make([]byte, 0, n)
	case n > len(m.bytes):
		m.bytes = make([]byte, min(n*m.packets, chunk))
		fallthrough
	default:
		b, m.bytes = m.bytes[:0:n], m.bytes[n:]
	}
	for _, part := range parts {
		b = append(b, part...)
	}
	return b
}

// pause notes that nothing more has come, so that whoever keeps the next packet does not
// keep memory for more.
func (m *maker) pause() { *m = maker{} }
