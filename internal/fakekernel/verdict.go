package fakekernel

import (
	"encoding/binary"
	"maps"
	"slices"

	"github.com/goipq/goipq/internal/zerocopy"
)

// A Verdict is what the kernel was told about a packet.
type Verdict struct {
	Verdict uint32
	Batch   bool              // by NFQNL_MSG_VERDICT_BATCH
	Void    bool              // too late: the kernel had decided the packet itself
	Write   int               // number of the datagram that brought it, from 1
	Attrs   map[uint16][]byte // all attributes but the verdict header, by type
}

// Payload returns the packet's new payload, or nil.
func (v *Verdict) Payload() []byte { return v.Attrs[zerocopy.AttrPayload] }

// U32 returns a 32-bit attribute, and whether it is there.
func (v *Verdict) U32(typ uint16) (uint32, bool) {
	b, ok := v.Attrs[typ]
	if !ok || len(b) != 4 {
		return 0, false
	}
	return binary.BigEndian.Uint32(b), true
}

// clone returns a copy that does not change with the message.
func (v *Verdict) clone() Verdict {
	c := *v
	c.Attrs = maps.Clone(v.Attrs)
	for typ, b := range c.Attrs {
		c.Attrs[typ] = slices.Clone(b)
	}
	return c
}

// A verdictMessage is a parsed NFQNL_MSG_VERDICT or NFQNL_MSG_VERDICT_BATCH. It
// refers to the message's bytes.
type verdictMessage struct {
	v      Verdict
	id     uint32
	header bool // there is an NFQA_VERDICT_HDR
	bad    bool // the attributes break the kernel's policy
	again  bool // has an nlmsg_pid, which the kernel ignores: in place of a refused one
}

// maxVerdictAttr is the highest type that the kernel's policy for verdicts
// knows (NFQA_PRIORITY); those above are skipped.
const maxVerdictAttr = zerocopy.AttrCgroupClassID

// parse reads the attributes of a message, of the last one of each type as the
// kernel does.
func (m *verdictMessage) parse(attrs []byte) {
	clear(m.v.Attrs)
	m.header, m.bad = false, false
	for len(attrs) >= zerocopy.AttrHeaderLen {
		n := int(binary.NativeEndian.Uint16(attrs))
		typ := binary.NativeEndian.Uint16(attrs[2:]) & 0x3fff // NLA_TYPE_MASK
		if n < zerocopy.AttrHeaderLen || n > len(attrs) {
			return // nla_parse stops at what is no attribute, and reports nothing
		}
		value := attrs[zerocopy.AttrHeaderLen:n:n]
		switch {
		case typ == 0 || typ > maxVerdictAttr:
		case typ == zerocopy.AttrVerdictHdr:
			if len(value) < 8 {
				m.bad = true
				return
			}
			m.v.Verdict, m.id, m.header = binary.BigEndian.Uint32(value), binary.BigEndian.Uint32(value[4:]), true
		case (typ == zerocopy.AttrMark || typ == zerocopy.AttrPriority) && len(value) < 4:
			m.bad = true
			return
		default:
			if m.v.Attrs == nil {
				m.v.Attrs = make(map[uint16][]byte)
			}
			m.v.Attrs[typ] = value
		}
		attrs = attrs[min(n+zerocopy.Pad(n), len(attrs)):]
	}
}

// The kernel's verdicts, NF_DROP to NF_STOP.
const (
	verdictMask = 0xff // NF_VERDICT_MASK
	stolen      = 2    // NF_STOLEN
	maxVerdict  = 5    // NF_MAX_VERDICT
)

// acceptable reports whether user space may give that verdict.
func acceptable(verdict uint32) bool {
	code := verdict & verdictMask
	return code <= maxVerdict && code != stolen
}
