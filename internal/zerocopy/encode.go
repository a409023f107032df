package zerocopy

import "encoding/binary"

// VerdictLen is the length of a plain verdict message: nlmsghdr 16,
// nfgenmsg 4, NFQA_VERDICT_HDR 4+8.
const VerdictLen = HeaderLen + GenHeaderLen + AttrHeaderLen + 8

// MaxVerdictLen is the most that PutVerdictAttrs writes: a plain verdict 32,
// NFQA_MARK 4+4, NFQA_PRIORITY 4+4, the NFQA_VLAN nest 4 with two padded
// 16-bit members 2*8, the NFQA_CT nest 4 with two 32-bit members 2*8 and two of
// 128 bits 2*(4+16), and the header of NFQA_PAYLOAD 4; in all 132.
const MaxVerdictLen = VerdictLen + 8 + 8 + (4 + 2*8) + (4 + 2*8 + 2*(4+16)) + AttrHeaderLen

// AttrSet says which attributes of a VerdictAttrs are present.
type AttrSet uint8

// The attributes that a verdict can carry beside the verdict itself.
const (
	HasMark     AttrSet = 1 << iota // Mark
	HasPriority                     // Priority (Linux 5.18)
	HasVLAN                         // VLANProto and VLANTCI, bridge family only
	HasCTMark                       // CTMark and CTMask
	HasCTLabels                     // CTLabels
	HasPayload                      // PayloadLen
)

// VerdictAttrs holds what PutVerdictAttrs adds to a verdict. Only the fields
// that Has names are looked at.
type VerdictAttrs struct {
	Has       AttrSet
	Mark      uint32 // skb->mark
	Priority  uint32 // skb->priority
	VLANProto uint16 // EtherType of the tag
	VLANTCI   uint16 // tag control information
	CTMark    uint32 // ct->mark becomes ct->mark&^CTMask ^ CTMark
	CTMask    uint32 // 0 means all bits, as ^0 does
	CTLabels  *CTLabels

	// PayloadLen is the length in bytes of the payload that the caller sends
	// behind the message: at most MaxCopyRange.
	PayloadLen int
}

// CTLabels changes the labels of a connection, which become
// labels&^Mask ^ Value, bit by bit.
type CTLabels struct{ Value, Mask [16]byte }

// PutVerdict writes an NFQNL_MSG_VERDICT for packet id of a queue into b,
// which must hold VerdictLen bytes, and returns VerdictLen. The message's
// nlmsg_seq is id, so that an NLMSG_ERROR names the packet.
func PutVerdict(b []byte, queue uint16, id, verdict uint32) int {
	putVerdict(b, TypeVerdict, queue, id, verdict)
	return VerdictLen
}

// PutVerdictBatch writes an NFQNL_MSG_VERDICT_BATCH, which decides every
// packet that the queue holds up to and including id, also those that others
// are still looking at. Otherwise it is as PutVerdict.
func PutVerdictBatch(b []byte, queue uint16, id, verdict uint32) int {
	putVerdict(b, TypeVerdictBatch, queue, id, verdict)
	return VerdictLen
}

func putVerdict(b []byte, typ, queue uint16, id, verdict uint32) {
	b = b[:VerdictLen]
	binary.NativeEndian.PutUint32(b[0:], VerdictLen)
	binary.NativeEndian.PutUint16(b[4:], typ)
	binary.NativeEndian.PutUint16(b[6:], requestFlag)
	binary.NativeEndian.PutUint32(b[8:], id)
	binary.NativeEndian.PutUint32(b[12:], 0)          // nlmsg_pid: the kernel knows the sender
	binary.BigEndian.PutUint32(b[16:], uint32(queue)) // AF_UNSPEC, NFNETLINK_V0, res_id
	putAttrHeader(b[20:], AttrVerdictHdr, AttrHeaderLen+8)
	binary.BigEndian.PutUint32(b[24:], verdict)
	binary.BigEndian.PutUint32(b[28:], id)
}

// PutVerdictAttrs writes an NFQNL_MSG_VERDICT with the attributes that a
// names into b, which must hold MaxVerdictLen bytes, and returns the number
// of bytes written.
//
// With HasPayload the message ends with the header of NFQA_PAYLOAD: nlmsg_len
// and nla_len already count PayloadLen bytes, and the caller sends those and
// Pad(PayloadLen) zero bytes right behind. The padding is in neither length.
func PutVerdictAttrs(b []byte, queue uint16, id, verdict uint32, a *VerdictAttrs) int {
	b = b[:MaxVerdictLen]
	putVerdict(b, TypeVerdict, queue, id, verdict)
	n := VerdictLen
	if a.Has&HasMark != 0 {
		n += putU32(b[n:], AttrMark, a.Mark)
	}
	if a.Has&HasPriority != 0 {
		n += putU32(b[n:], AttrPriority, a.Priority)
	}
	if a.Has&HasVLAN != 0 {
		nest := b[n:]
		m := AttrHeaderLen
		m += putU16(nest[m:], attrVLANTCI, a.VLANTCI)
		m += putU16(nest[m:], attrVLANProto, a.VLANProto)
		putAttrHeader(nest, AttrVLAN|nestedFlag, m)
		n += m
	}
	if a.Has&(HasCTMark|HasCTLabels) != 0 {
		n += putConntrack(b[n:], a)
	}
	total := n
	if a.Has&HasPayload != 0 {
		// Last, so that the payload can follow in an iovec of its own.
		putAttrHeader(b[n:], AttrPayload, AttrHeaderLen+a.PayloadLen)
		n += AttrHeaderLen
		total = n + a.PayloadLen
	}
	binary.NativeEndian.PutUint32(b[0:], uint32(total))
	return n
}

// putConntrack writes the NFQA_CT nest.
func putConntrack(nest []byte, a *VerdictAttrs) int {
	n := AttrHeaderLen
	if a.Has&HasCTMark != 0 {
		n += putU32(nest[n:], ctaMark, a.CTMark)
		if a.CTMask != 0 && a.CTMask != ^uint32(0) {
			n += putU32(nest[n:], ctaMarkMask, a.CTMask)
		}
	}
	if a.Has&HasCTLabels != 0 {
		n += putLabels(nest[n:], ctaLabels, &a.CTLabels.Value)
		n += putLabels(nest[n:], ctaLabelsMask, &a.CTLabels.Mask)
	}
	putAttrHeader(nest, AttrCT|nestedFlag, n)
	return n
}

// SetEcho writes nlmsg_pid of a verdict message, which the kernel ignores and
// sends back with a refusal: see Error.PortID.
func SetEcho(msg []byte, v uint32) { binary.NativeEndian.PutUint32(msg[12:], v) }

// VerdictID returns the packet id of a verdict message: struct
// nfqnl_msg_verdict_hdr, behind nlmsghdr, nfgenmsg and an attribute's header, has
// the verdict and the id.
func VerdictID(msg []byte) uint32 { return binary.BigEndian.Uint32(msg[28:]) }

// VerdictOf returns the verdict of such a message, as its header has it.
func VerdictOf(msg []byte) uint32 { return binary.BigEndian.Uint32(msg[24:]) }

// Pad returns how many zero bytes follow n bytes of payload so that the next
// message in the same write is aligned: 0 to 3.
func Pad(n int) int { return -n & 3 }

func putAttrHeader(b []byte, typ uint16, n int) {
	binary.NativeEndian.PutUint16(b[0:], uint16(n))
	binary.NativeEndian.PutUint16(b[2:], typ)
}

func putU32(b []byte, typ uint16, v uint32) int {
	putAttrHeader(b, typ, AttrHeaderLen+4)
	binary.BigEndian.PutUint32(b[4:], v)
	return 8
}

func putLabels(b []byte, typ uint16, labels *[16]byte) int {
	putAttrHeader(b, typ, AttrHeaderLen+len(labels))
	return AttrHeaderLen + copy(b[AttrHeaderLen:], labels[:])
}

func putU16(b []byte, typ uint16, v uint16) int {
	putAttrHeader(b, typ, AttrHeaderLen+2)
	binary.BigEndian.PutUint16(b[4:], v)
	binary.BigEndian.PutUint16(b[6:], 0) // padding: nla_len does not count it
	return 8
}
