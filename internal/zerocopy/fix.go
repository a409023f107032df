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
// in place, after its bytes or its length changed. b is the whole packet: IPv4
// total length and header checksum, IPv6 payload length, UDP length, and the
// TCP, UDP, ICMP or ICMPv6 checksum follow from its bytes and len(b). IPv6
// extension headers are passed over.
//
// The checksum of these is left as it is:
//   - a fragment's: it spans bytes that are elsewhere;
//   - a transport header's that is cut short;
//   - any other protocol's, such as SCTP;
//   - behind an IPv6 routing header with segments left whose final destination
//     cannot be told: its type is none of 0, 2 and 4.
//
// The addresses summed are those of the IP header but for routing headers: an
// IPv4 source route and Mobile IPv6's home address option are not followed.
//
// It returns ErrNotIP, and changes nothing, unless b is 20 to 65535 bytes and
// begins with a whole IP header. It never allocates.
func FixPacket(b []byte) error {
	u, ok := parseWhole(b)
	if !ok {
		return ErrNotIP
	}
	if b[0]>>4 == 4 {
		binary.BigEndian.PutUint16(b[2:], uint16(len(b)))
		hdr := b[:u.off]
		hdr[10], hdr[11] = 0, 0
		binary.BigEndian.PutUint16(hdr[10:], Checksum(hdr))
	} else {
		binary.BigEndian.PutUint16(b[4:], uint16(len(b)-ipv6HeaderLen))
	}
	at := checksumAt(b, u)
	if at < 0 {
		return nil
	}
	seg := b[u.off:]
	if u.proto == protoUDP {
		binary.BigEndian.PutUint16(seg[4:], uint16(len(seg)))
	}
	seg[at], seg[at+1] = 0, 0
	ck := ^transportSum(b, u)
	if ck == 0 && u.proto == protoUDP {
		ck = 0xffff // zero would say that there is no checksum
	}
	binary.BigEndian.PutUint16(seg[at:], ck)
	return nil
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
		if int(binary.BigEndian.Uint16(b[2:])) != len(b) || Checksum(b[:u.off]) != 0 {
			return false
		}
	} else if int(binary.BigEndian.Uint16(b[4:])) != len(b)-ipv6HeaderLen {
		return false
	}
	at := checksumAt(b, u)
	if at < 0 {
		return true
	}
	seg := b[u.off:]
	if u.proto == protoUDP {
		if int(binary.BigEndian.Uint16(seg[4:])) != len(seg) {
			return false
		}
		if binary.BigEndian.Uint16(seg[at:]) == 0 {
			return v4
		}
	}
	return transportSum(b, u) == 0xffff
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

// checksumAt returns the offset of the checksum in the upper-layer header, -1
// if there is none to compute.
func checksumAt(b []byte, u upper) int {
	v4 := b[0]>>4 == 4
	n := len(b) - u.off
	switch {
	case u.fragment || u.dst < 0:
		return -1
	case u.proto == protoTCP && n >= 20:
		return 16
	case u.proto == protoUDP && n >= 8:
		return 6
	case u.proto == protoICMP && v4 && n >= 4, u.proto == protoICMPv6 && !v4 && n >= 4:
		return 2
	}
	return -1
}

// transportSum returns the folded sum of the upper-layer packet and, but for
// ICMP, of its pseudo-header.
func transportSum(b []byte, u upper) uint16 {
	seg := b[u.off:]
	acc := sum(seg)
	if u.proto == protoICMP {
		return fold(acc)
	}
	if b[0]>>4 == 4 {
		acc = add(acc, sum(b[12:20]))
	} else {
		acc = add(acc, add(sum(b[8:24]), sum(b[u.dst:u.dst+16])))
	}
	// Length and protocol stand in the pseudo-header as numbers in network
	// order, which is what fold returns. Together they stay below 0x10000, so
	// one carry at most comes out, and adding it brings forth no other.
	s := uint32(fold(acc)) + uint32(len(seg)) + uint32(u.proto)
	return uint16(s>>16 + s)
}
