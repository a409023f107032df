package zerocopy

import "encoding/binary"

// An upperSum is the 16-bit checksum of an upper-layer header: where it stands,
// and what it sums up. Offsets count from the start of the datagram.
type upperSum struct {
	at       int    // of the checksum
	from, to int    // the bytes that it covers, itself included
	hole     int    // of eight bytes between them that it does not; 0: none
	src, dst int    // of the pseudo-header's addresses; 0: it has no pseudo-header
	width    int    // of an address
	rest     uint32 // the pseudo-header's length and protocol, added up

	zeroIsNone bool // a checksum of zero says that there is none
	unsure     bool // the right sum cannot be told, only how an edit changes it
}

// A variant tells checksums apart that a protocol's packets may carry by
// different readings of its standard. The zero variant is the standard's own.
type variant uint8

const (
	otherCover variant = 1 << iota // VRRPv3 without a pseudo-header, all of a PIM Register
	headerSrc                      // the IP header's source, not Mobile IPv6's home address
	headerDst                      // the IP header's destination, not the last one of a source route

	variants variant = 1 << iota
)

// findSum finds the checksum in the datagram b, whose headers are u, by the
// reading v. other has the bits that another reading of this packet may differ
// in. It reports false if there is no such checksum, or none that is known.
func findSum(b []byte, u upper, v variant) (s upperSum, other variant, ok bool) {
	if u.off > len(b) || u.unknown || u.fragment && !firstFragment(b, u) {
		return s, 0, false
	}
	v4 := b[0]>>4 == 4
	h := b[u.off:]
	n := len(h)
	s = upperSum{at: -1, from: u.off, to: len(b), unsure: u.fragment}
	pseudo, length := false, n // whether there is a pseudo-header, and the length in it
	cover := func(n int) {     // only so many bytes are covered
		if n >= 8 && n <= len(h) {
			s.to = s.from + n
		}
	}
	switch {
	case u.proto == protoTCP && n >= 20:
		s.at, pseudo = 16, true
	case u.proto == protoUDP && n >= 8:
		// What follows the UDP length is a trailer, such as UDP options.
		s.at, pseudo, s.zeroIsNone = 6, true, true
		if said := int(binary.BigEndian.Uint16(h[4:])); said != 0 { // zero in a jumbogram
			length = said
			cover(said)
		}
	case u.proto == protoUDPLite && n >= 8:
		s.at, pseudo, s.zeroIsNone = 6, true, true // zero is none, which receivers drop (RFC 3828, section 3.1)
		cover(int(binary.BigEndian.Uint16(h[4:])))
	case u.proto == protoDCCP && n >= 12:
		s.at, pseudo = 6, true
		if words := int(h[5] & 0xf); words != 0 { // CsCov: data words covered, and one
			cover(4 * (int(h[4]) + words - 1))
		}
	case u.proto == protoICMP && v4 && n >= 4:
		s.at = 2
	case u.proto == protoICMPv6 && !v4 && n >= 4:
		s.at, pseudo = 2, true
	case u.proto == protoIGMP && n >= 8, u.proto == protoEIGRP && n >= 20:
		s.at = 2
	case u.proto == protoRSVP && n >= 8:
		s.at, s.zeroIsNone = 2, true
		cover(int(binary.BigEndian.Uint16(h[6:])))
	case u.proto == protoGRE && n >= 8 && h[0]&0x80 != 0 && h[1]&7 == 0: // checksum present, version 0
		s.at = 4
	case u.proto == protoOSPF && v4 && n >= 24 && binary.BigEndian.Uint16(h[14:]) != 2: // not cryptographic
		s.at, s.hole = 12, u.off+16 // the authentication
		if said := int(binary.BigEndian.Uint16(h[2:])); said >= 24 {
			cover(said)
		}
	case u.proto == protoOSPF && !v4 && n >= 16:
		s.at, pseudo = 12, true
		if said := int(binary.BigEndian.Uint16(h[2:])); said >= 16 {
			length = said
			cover(said)
		}
	case u.proto == protoPIM && n >= 8:
		s.at, pseudo = 2, !v4
		if h[0]&0xf == 1 { // Register: the packet in it is not covered, to some implementations it is
			if other |= otherCover; v&otherCover == 0 {
				length = 8
				cover(8)
			}
		}
	case u.proto == protoVRRP && n >= 8:
		s.at, pseudo = 6, true
		if v4 {
			other |= otherCover
			pseudo = (h[0]>>4 >= 3) != (v&otherCover != 0)
		}
	case u.proto == protoMobility && !v4 && n >= 8:
		s.at, pseudo = 4, true
		length = 8 + 8*int(h[1])
		cover(length)
	case u.proto == protoHIP && n >= 8:
		s.at, pseudo = 4, true
		length = 8 + 8*int(h[1])
		cover(length)
	case u.proto == protoShim6 && !v4 && n >= 8 && h[2]&0x80 == 0: // a control message
		s.at = 4
		cover(8 + 8*int(h[1]))
	default:
		return s, 0, false
	}
	s.at += u.off
	if !pseudo {
		return s, other, true
	}
	s.rest = uint32(length) + uint32(u.proto)
	final, home := 0, 0 // where the addresses stand that the header's stand in for
	if v4 {
		s.src, s.dst, s.width = 12, 16, 4
		final = sourceRoute(b[:u.off])
	} else {
		s.src, s.dst, s.width = 8, ipv6Dst, 16
		switch {
		case u.dst < 0:
			s.unsure = true
		case u.dst != ipv6Dst:
			final = u.dst
		}
		if u.off > ipv6HeaderLen {
			home = homeAddress(b[:u.off])
		}
	}
	if final != 0 {
		if other |= headerDst; v&headerDst == 0 {
			s.dst = final
		}
	}
	if home != 0 {
		if other |= headerSrc; v&headerSrc == 0 {
			s.src = home
		}
	}
	return s, other, true
}

// total adds up all that the checksum covers, itself included, in ones'
// complement: 0xffff says that it is right.
func (s *upperSum) total(b []byte) uint16 {
	if s.hole == 0 {
		return s.finish(b, sum(b[s.from:s.to]))
	}
	return s.finish(b, add(sum(b[s.from:s.hole]), sum(b[s.hole+8:s.to])))
}

// rightOtherwise returns the reading by which the checksum in b is right, of
// those that may differ in other. Few packets have more than one.
func rightOtherwise(b []byte, u upper, other variant) (v variant, ok bool) {
	if other == 0 {
		return 0, false
	}
	for v := range variants {
		if v&^other != 0 {
			continue
		}
		if s, _, _ := findSum(b, u, v); s.total(b) == 0xffff {
			return v, true
		}
	}
	return 0, false
}

// pseudo adds up the pseudo-header alone. It is what stands in the checksum's
// place while the rest is left to the network device.
func (s *upperSum) pseudo(b []byte) uint16 { return s.finish(b, 0) }

func (s *upperSum) finish(b []byte, acc uint64) uint16 {
	if s.width != 0 {
		acc = add(acc, add(sum(b[s.src:s.src+s.width]), sum(b[s.dst:s.dst+s.width])))
	}
	// Length and protocol stand in the pseudo-header as numbers in network
	// order, which is what fold returns.
	return fold16(uint32(fold(acc)) + s.rest)
}

// fold16 adds the carry of a sum of a few 16-bit numbers to it.
func fold16(n uint32) uint16 {
	n = n>>16 + n&0xffff
	return uint16(n>>16 + n)
}

// adjusted returns the checksum old changed so that all that it covers, which
// came to is, comes to want (RFC 1624). If that is zero, either zero may be meant.
func adjusted(old, is, want uint16) uint16 {
	return fold16(uint32(old) + uint32(want) + uint32(^is))
}

// adjust changes the checksum so that all that it covers, which came to is,
// comes to want. It writes nothing if that is so, nor if want is 0: only bytes
// that are all zero come to that.
func (s *upperSum) adjust(b []byte, is, want uint16) {
	field := b[s.at:]
	old := binary.BigEndian.Uint16(field)
	if want == 0 || is == want && !(s.zeroIsNone && old == 0) {
		return
	}
	ck := adjusted(old, is, want)
	if ck != 0 && ck != 0xffff {
		binary.BigEndian.PutUint16(field, ck)
		return
	}
	// Computing the checksum anew gives 0, unless what it covers is all zero:
	// then only 0xffff is right. So it is where 0 says that there is none, and
	// right in any case where the rest cannot be seen.
	if !s.zeroIsNone && !s.unsure {
		binary.BigEndian.PutUint16(field, 0)
		if s.total(b) != 0 {
			return
		}
	}
	binary.BigEndian.PutUint16(field, 0xffff)
}

// adjustHeader does the same with the checksum of the IPv4 header h, which is
// never all zero.
func adjustHeader(h []byte, is, want uint16) {
	if is == want {
		return
	}
	ck := adjusted(binary.BigEndian.Uint16(h[10:]), is, want)
	if ck == 0xffff {
		ck = 0
	}
	binary.BigEndian.PutUint16(h[10:], ck)
}

// firstFragment reports whether a fragment is the first of its datagram, which
// has the upper-layer header.
func firstFragment(b []byte, u upper) bool {
	if b[0]>>4 == 4 {
		return binary.BigEndian.Uint16(b[6:])&0x1fff == 0
	}
	for next, off := b[6], ipv6HeaderLen; off+extHeaderMin <= u.off; {
		h := b[off:]
		if next == protoFragment {
			return binary.BigEndian.Uint16(h[2:])&0xfff8 == 0
		}
		next, off = h[0], off+extHeaderLen(next, h)
	}
	return false
}

// sourceRoute returns the offset of the last address of a source route that the
// packet has not come to the end of, in an IPv4 header; 0 if there is none. It
// is the destination that the sender summed (RFC 1122, section 4.2.3.8).
func sourceRoute(h []byte) int {
	for i := ipv4HeaderLen; i+1 < len(h); {
		n := int(h[i+1])
		switch h[i] {
		case 0: // end of options
			return 0
		case 1: // no operation
			i++
			continue
		case 131, 137: // loose and strict source route
			// Type, length, and a pointer, from 1, to the next address.
			if n >= 7 && i+n <= len(h) && int(h[i+2]) <= n {
				return i + n - 4
			}
		}
		if n < 2 {
			return 0
		}
		i += n
	}
	return 0
}

// homeAddress returns the offset of Mobile IPv6's home address option among the
// headers h (RFC 6275, section 6.3), which the sender summed as its address; 0
// if there is none.
func homeAddress(h []byte) int {
	next, off := h[6], ipv6HeaderLen
	for off+extHeaderMin <= len(h) {
		n := extHeaderLen(next, h[off:])
		if next == protoDestOpts {
			end := min(off+n, len(h))
			for i := off + 2; i+1 < end; {
				const pad1, home = 0, 201
				if h[i] == pad1 {
					i++
					continue
				}
				if h[i] == home && h[i+1] == 16 && i+18 <= end {
					return i + 2
				}
				i += 2 + int(h[i+1])
			}
		}
		next, off = h[off], off+n
	}
	return 0
}
