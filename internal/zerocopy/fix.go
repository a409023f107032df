package zerocopy

import (
	"encoding/binary"
	"errors"
)

// ErrNotIP means that bytes do not begin with a whole IPv4 or IPv6 header, or
// are more than an IP packet can be (65535).
var ErrNotIP = errors.New("zerocopy: not an IP packet")

const maxIPLen = 0xffff

// FixPacket makes the lengths and checksums of the IPv4 or IPv6 packet b right
// in place. b is the whole packet: IPv4 total length and header checksum, IPv6
// payload length and the upper layer's checksum follow from its bytes and
// len(b). So does the UDP length, unless the packet's length was right and the
// UDP length is one that can be: what follows it is a trailer. IPv6 extension
// headers are passed over. [Sums.Update] lists the protocols.
//
// The checksum of these is left as it is:
//   - a fragment's: it spans bytes that are elsewhere;
//   - an upper-layer header's that is cut short;
//   - behind an IPv6 routing header with segments left whose final destination
//     cannot be told: its type is none of 0, 2 and 4.
//
// It returns ErrNotIP, and changes nothing, unless b is 20 to 65535 bytes and
// begins with a whole IP header. It never allocates.
func FixPacket(b []byte) error {
	var s Sums
	return s.Fix(b)
}

// VerifyPacket reports whether every length and checksum that FixPacket would
// write into b is right already. A UDP checksum of zero over IPv4 is: it says
// that there is none. It is false where FixPacket returns an error.
func VerifyPacket(b []byte) bool {
	u, ok := parseWhole(b)
	if !ok {
		return false
	}
	v4 := b[0]>>4 == 4
	if v4 {
		if int(binary.BigEndian.Uint16(b[2:])) != len(b) || sum16(b[:u.off]) != 0xffff {
			return false
		}
	} else if int(binary.BigEndian.Uint16(b[4:])) != len(b)-ipv6HeaderLen {
		return false
	}
	if isSCTP(b, u) {
		return sctpField(b, u) == sctpSum(b, u)
	}
	if u.proto == protoUDP && !u.fragment && u.dst >= 0 && len(b)-u.off >= 8 {
		if said := int(binary.BigEndian.Uint16(b[u.off+4:])); said < 8 || said > len(b)-u.off {
			return false
		}
	}
	c, other, ok := findSum(b, u, 0)
	switch {
	case !ok || c.unsure:
		return true
	case c.zeroIsNone && binary.BigEndian.Uint16(b[c.at:]) == 0:
		return v4 && u.proto != protoUDPLite
	}
	if c.total(b) == 0xffff {
		return true
	}
	_, ok = rightOtherwise(b, u, other)
	return ok
}

// parseWhole examines b, a whole packet.
func parseWhole(b []byte) (u upper, ok bool) {
	if len(b) < ipv4HeaderLen || len(b) > maxIPLen {
		return upper{}, false
	}
	switch b[0] >> 4 {
	case 4:
		u = upper4(b)
		return u, u.off >= ipv4HeaderLen && u.off <= len(b)
	case 6:
		if len(b) < ipv6HeaderLen {
			return upper{}, false
		}
		return upper6(b), true
	}
	return upper{}, false
}
