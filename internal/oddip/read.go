package oddip

import "encoding/binary"

// A Reading is what a packet's IP headers come to.
type Reading struct {
	Protocol byte // of the upper layer, or the header where the walk ended
	// Known tells that Protocol is the upper layer's.
	Known bool
	// Torn tells that the walk ended at a header that is longer than what is
	// left of the packet. The kernel goes by its first bytes all the same, and
	// finds an upper layer beyond the packet's end.
	Torn bool
	// Fragment is set for all fragments but atomic ones, Later for all of them
	// but the first.
	Fragment, Later bool
	AH              bool   // an authentication header of IPv6 was passed
	Passed          int    // extension headers that were passed
	Rest            []byte // of the datagram, from the upper layer on, if that is known
}

// Read reads an IP packet that is whole, by the book. ok is false if its first
// bytes are not an IP header.
func Read(ip []byte) (r Reading, ok bool) {
	switch {
	case len(ip) >= 20 && ip[0]>>4 == 4 && ip[0]&15 >= 5:
		return read4(ip), true
	case len(ip) >= 40 && ip[0]>>4 == 6:
		rest := ip[40:]
		said := int(binary.BigEndian.Uint16(ip[4:]))
		if jumbo := said == 0 && ip[6] == 0; !jumbo && said < len(rest) {
			rest = rest[:said]
		}
		read6(&r, ip[6], rest)
		return r, true
	}
	return r, false
}

func read4(ip []byte) Reading {
	header, said := int(ip[0]&15)*4, int(binary.BigEndian.Uint16(ip[2:]))
	flags := binary.BigEndian.Uint16(ip[6:])
	r := Reading{Protocol: ip[9], Known: true, Fragment: flags&0x3fff != 0, Later: flags&0x1fff != 0}
	if said >= header && said < len(ip) {
		ip = ip[:said]
	}
	if header > len(ip) || said > 0 && said < header {
		r.Known, r.Torn = false, true
	} else {
		r.Rest = ip[header:]
	}
	return r
}

// read6 reads the header next at the start of b, and on.
func read6(r *Reading, next byte, b []byte) {
	r.Protocol = next
	length := 0
	switch next {
	case 0, 43, 60:
		length = 8
		if len(b) > 1 {
			length += 8 * int(b[1])
		}
	case 51:
		length = 8
		if len(b) > 1 {
			length += 4 * int(b[1])
		}
	case 44:
		length = 8
	default:
		r.Known, r.Rest = true, b
		return
	}
	if len(b) < length {
		r.Torn = true
		return
	}
	r.Passed++
	r.AH = r.AH || next == 51
	if next == 44 {
		offset, more := binary.BigEndian.Uint16(b[2:])&^7, b[3]&1
		r.Fragment = r.Fragment || offset != 0 || more != 0
		if offset != 0 {
			r.Later, r.Protocol = true, b[0]
			switch b[0] {
			case 0, 43, 44, 51, 60: // elsewhere
			default:
				r.Known = true
			}
			return
		}
	}
	read6(r, b[0], b[length:])
}
