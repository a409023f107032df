package zerocopy

import "encoding/binary"

// Error is a decoded NLMSG_ERROR (struct nlmsgerr).
type Error struct {
	Errno  uint32 // positive errno, 0 for an ACK
	Seq    uint32 // nlmsg_seq of the offending message: for a verdict the packet id
	Type   uint16 // nlmsg_type of the offending message
	PortID uint32 // nlmsg_pid of the offending message, as its sender wrote it
}

// DecodeError decodes the NLMSG_ERROR at the start of b, which begins with
// its nlmsghdr. The offending message's header is enough, so it works with
// NETLINK_CAP_ACK and without. It returns ErrType for a message of another
// type, ErrShort for one that ends before the offending header does, and
// ErrAttr for an error number that the kernel cannot have sent.
func DecodeError(b []byte) (Error, error) {
	h, ok := ParseHeader(b)
	if !ok {
		return Error{}, ErrShort
	}
	if h.Type != TypeError {
		return Error{}, ErrType
	}
	// struct nlmsgerr: int error, struct nlmsghdr msg.
	if h.Len < HeaderLen+4+HeaderLen || len(b) < HeaderLen+4+HeaderLen {
		return Error{}, ErrShort
	}
	code := int32(binary.NativeEndian.Uint32(b[16:20]))
	if code > 0 {
		return Error{}, ErrAttr
	}
	return Error{
		Errno:  -uint32(code),
		Type:   binary.NativeEndian.Uint16(b[24:26]),
		Seq:    binary.NativeEndian.Uint32(b[28:32]),
		PortID: binary.NativeEndian.Uint32(b[32:36]),
	}, nil
}
