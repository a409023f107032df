package zerocopy

import (
	"encoding/binary"
	"errors"
)

// Errors of the decoders. They are returned as they are, never wrapped, so
// that a malformed message costs no allocation.
var (
	// ErrShort means that a message ends before its fixed headers do.
	ErrShort = errors.New("zerocopy: netlink message is too short")
	// ErrType means that a message is not of the type asked for.
	ErrType = errors.New("zerocopy: netlink message of another type")
	// ErrAttr means that an attribute is missing, or has an impossible length.
	ErrAttr = errors.New("zerocopy: netlink attribute is missing or malformed")
)

// Header is a decoded struct nlmsghdr.
type Header struct {
	Len    uint32 // nlmsg_len, with this header and without trailing padding
	Type   uint16 // nlmsg_type
	Flags  uint16 // nlmsg_flags
	Seq    uint32 // nlmsg_seq
	PortID uint32 // nlmsg_pid
}

// ParseHeader decodes the nlmsghdr at the start of b. It reports false if b
// is shorter than HeaderLen or nlmsg_len counts less than the header itself.
// Len may exceed len(b): the receive buffer may have been too small.
func ParseHeader(b []byte) (h Header, ok bool) {
	if len(b) < HeaderLen {
		return Header{}, false
	}
	h = Header{
		Len:    binary.NativeEndian.Uint32(b[0:4]),
		Type:   binary.NativeEndian.Uint16(b[4:6]),
		Flags:  binary.NativeEndian.Uint16(b[6:8]),
		Seq:    binary.NativeEndian.Uint32(b[8:12]),
		PortID: binary.NativeEndian.Uint32(b[12:16]),
	}
	return h, h.Len >= HeaderLen
}

// NextMessage splits the first message off a datagram: msg holds it from its
// nlmsghdr on, without padding, as far as b reaches, and rest what follows.
// It reports false at the end, or at bytes that are no message.
func NextMessage(b []byte) (h Header, msg, rest []byte, ok bool) {
	h, ok = ParseHeader(b)
	if !ok {
		return Header{}, nil, nil, false
	}
	if uint64(h.Len) >= uint64(len(b)) {
		return h, b, nil, true
	}
	n := int(h.Len)
	return h, b[:n:n], b[min(align4(n), len(b)):], true
}

// align4 rounds n up to NLMSG_ALIGNTO, which NLA_ALIGNTO equals.
func align4(n int) int { return (n + 3) &^ 3 }

// nextAttr splits the first attribute off a nest. At the end of the nest typ
// is 0 and val nil; it reports false if the nest is malformed.
func nextAttr(nest []byte) (typ uint16, val, rest []byte, ok bool) {
	if len(nest) < AttrHeaderLen {
		return 0, nil, nil, true
	}
	n := int(binary.NativeEndian.Uint16(nest[0:2]))
	if n < AttrHeaderLen || n > len(nest) {
		return 0, nil, nil, false
	}
	typ = binary.NativeEndian.Uint16(nest[2:4]) & attrTypeMask
	return typ, nest[AttrHeaderLen:n:n], nest[min(align4(n), len(nest)):], true
}
