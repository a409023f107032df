package zerocopy

import "encoding/binary"

// IP protocol numbers whose headers this package looks into.
const (
	protoHopByHop = 0
	protoICMP     = 1
	protoTCP      = 6
	protoUDP      = 17
	protoDCCP     = 33
	protoRouting  = 43
	protoFragment = 44
	protoAH       = 51
	protoICMPv6   = 58
	protoDestOpts = 60
	protoSCTP     = 132
	protoMobility = 135
	protoUDPLite  = 136
	protoHIP      = 139
	protoShim6    = 140
)

const (
	ipv4HeaderLen = 20
	ipv6HeaderLen = 40

	// ipv6Dst is the offset of the destination address.
	ipv6Dst = 24

	// maxExtHeaders bounds the walk through IPv6 extension headers, which a
	// sender may otherwise make thousands long. RFC 8504 lets a host refuse
	// more than eight options; real packets have two or three headers.
	maxExtHeaders = 16
)

// An upper is what a walk over a packet's IP headers finds.
type upper struct {
	off      int   // where the upper-layer header begins; may be beyond the packet
	proto    uint8 // its protocol; the fragmented one's in an IPv6 fragment
	fragment bool  // the packet is only a part of a datagram
	dst      int   // IPv6: offset of the final destination, -1 if not to be known
}

// upper4 examines the IPv4 header of b, which is at least 20 bytes long.
func upper4(b []byte) upper {
	return upper{
		off:      int(b[0]&0xf) * 4,
		proto:    b[9],
		fragment: binary.BigEndian.Uint16(b[6:])&0x3fff != 0, // MF and offset, not DF
	}
}

// upper6 walks the IPv6 headers of b, which is at least 40 bytes long. Where
// they are cut short or too many, proto is that of the extension header that
// it could not pass. An atomic fragment (RFC 6946) counts as whole.
func upper6(b []byte) upper {
	u := upper{off: ipv6HeaderLen, proto: b[6], dst: ipv6Dst}
	for range maxExtHeaders {
		if !isExtHeader(u.proto) || len(b)-u.off < 8 {
			return u
		}
		h := b[u.off:]
		n := 8 + int(h[1])*8
		switch u.proto {
		case protoFragment:
			n = 8
			if binary.BigEndian.Uint16(h[2:])&0xfff9 != 0 { // offset and M
				u.proto, u.fragment = h[0], true
				return u
			}
		case protoAH:
			n = 8 + int(h[1])*4
		}
		if n > len(h) {
			return u
		}
		if u.proto == protoRouting && h[3] != 0 { // segments left
			u.dst = finalDst(u.off, h[2], n)
		}
		u.proto = h[0]
		u.off += n
	}
	return u
}

func isExtHeader(proto uint8) bool {
	switch proto {
	case protoHopByHop, protoRouting, protoFragment, protoAH, protoDestOpts,
		protoMobility, protoHIP, protoShim6:
		return true
	}
	return false
}

// finalDst returns the offset of the last address that a routing header of
// the given type leads to, -1 if that cannot be told. The header is n bytes
// long and begins at off.
func finalDst(off int, routingType uint8, n int) int {
	const first = 8 // where all three types have their first address
	switch {
	case routingType == 0 && n >= first+16 && n%16 == first: // RFC 2460
		return off + n - 16
	case routingType == 2 && n == first+16: // Mobile IPv6: one home address
		return off + first
	case routingType == 4 && n >= first+16: // segment routing lists the last first
		return off + first
	}
	return -1
}
