package zerocopy

import "encoding/binary"

// IP protocol numbers whose headers this package looks into.
const (
	protoHopByHop = 0
	protoICMP     = 1
	protoIGMP     = 2
	protoTCP      = 6
	protoUDP      = 17
	protoDCCP     = 33
	protoRouting  = 43
	protoFragment = 44
	protoRSVP     = 46
	protoGRE      = 47
	protoAH       = 51
	protoICMPv6   = 58
	protoDestOpts = 60
	protoEIGRP    = 88
	protoOSPF     = 89
	protoPIM      = 103
	protoVRRP     = 112
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

	// extHeaderMin is the length of the shortest extension header, and the unit
	// of all but one's.
	extHeaderMin = 8

	// extHeaders has a bit for each IPv6 extension header that there is: those
	// of the kernel (ipv6_ext_hdr) but for 59, behind which nothing comes. Mobility
	// (135), HIP (139) and Shim6 (140) look like them, and IANA lists them with
	// them, but the kernel gives them to a protocol of that number.
	extHeaders = uint64(1<<protoHopByHop | 1<<protoRouting | 1<<protoFragment | 1<<protoAH | 1<<protoDestOpts)
)

// An upper is what a walk over a packet's IP headers finds. The compiler keeps
// structs of up to four fields in registers, and this one is on every packet's
// way: so some fields are a struct of their own.
type upper struct {
	off int // where the upper-layer header begins; may be beyond the packet
	found
	dst int // IPv6: offset of the final destination, -1 if not to be known
}

type found struct {
	proto    uint8 // its protocol, or that of the header that could not be passed
	fragment bool  // the packet is only a part of a datagram
	unknown  bool  // the headers do not lead to an upper-layer protocol
}

// upper4 examines the IPv4 header of b, which is at least 20 bytes long.
func upper4(b []byte) upper {
	off := int(b[0]&0xf) * 4
	return upper{off: off, found: found{
		proto:    b[9],
		fragment: binary.BigEndian.Uint16(b[6:])&0x3fff != 0, // MF and offset, not DF
		unknown:  off > len(b),
	}}
}

// upper6 walks the IPv6 headers of b, which is at least 40 bytes long, as the
// kernel does (ipv6_find_hdr): however many they are, and on behind the fragment
// header of a first fragment, so that its protocol is what the receiver will
// find in the whole datagram. What the header of a later fragment names is
// unknown if it is one more extension header: that is elsewhere. Where headers
// are cut short, or longer than b, the upper layer is unknown, and proto that of
// the header that could not be passed. An atomic fragment (RFC 6946) counts as
// whole.
func upper6(b []byte) upper {
	if isExtHeader(b[6]) {
		return pass6(b)
	}
	return plain6(b)
}

// plain6 is upper6 for packets without an extension header.
func plain6(b []byte) upper {
	return upper{off: ipv6HeaderLen, found: found{proto: b[6]}, dst: ipv6Dst}
}

// pass6 is upper6 for packets with one.
func pass6(b []byte) upper {
	off, proto, fragment, dst := ipv6HeaderLen, b[6], false, ipv6Dst
	for isExtHeader(proto) {
		h := b[off:]
		if len(h) < extHeaderMin {
			return upper{off, found{proto, fragment, true}, dst}
		}
		n := extHeaderMin + int(h[1])*8 // as extHeaderLen, whose switch is this one
		switch proto {
		case protoFragment:
			n = extHeaderMin
			if w := binary.BigEndian.Uint16(h[2:]); w&0xfff9 != 0 { // offset and M
				fragment = true
				if w&0xfff8 != 0 { // not the first
					return upper{off + n, found{h[0], true, isExtHeader(h[0])}, dst}
				}
			}
		case protoAH:
			n = extHeaderMin + int(h[1])*4
		case protoRouting:
			if n <= len(h) && h[3] != 0 { // segments left
				dst = finalDst(off, h[2], n)
			}
		}
		if n > len(h) {
			return upper{off, found{proto, fragment, true}, dst}
		}
		proto = h[0]
		off += n
	}
	return upper{off, found{proto, fragment, false}, dst}
}

// extHeaderLen returns how long the extension header at the start of h says that
// it is; h has the shortest one's bytes.
func extHeaderLen(proto uint8, h []byte) int {
	switch proto {
	case protoFragment:
		return extHeaderMin
	case protoAH:
		return extHeaderMin + int(h[1])*4
	}
	return extHeaderMin + int(h[1])*8
}

func isExtHeader(proto uint8) bool { return extHeaders>>proto&1 != 0 }

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
