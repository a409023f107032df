package zerocopy

import "encoding/binary"

// DatagramLen returns how many of the bytes in ip are the IP datagram: what its
// header says, as the kernel reads it (ip_rcv, ip6_rcv). What follows is a
// trailer, such as the padding of a short Ethernet frame. Where the header says
// nothing that can be, or more than there is, all of ip is the datagram: one
// that is cut off, or longer than its length field can say (a jumbogram, a
// super-packet of BIG TCP).
func DatagramLen(ip []byte) int { return DatagramLenOf(ip, len(ip)) }

// DatagramLenOf is DatagramLen for a packet of n bytes of which ip is the start.
func DatagramLenOf(ip []byte, n int) int {
	switch version(ip) {
	case 4:
		if said := int(binary.BigEndian.Uint16(ip[2:])); said >= int(ip[0]&0xf)*4 {
			return min(n, said)
		}
	case 6:
		return datagramLen6(ip, n)
	}
	return n
}

func datagramLen6(ip []byte, n int) int {
	said := int(binary.BigEndian.Uint16(ip[4:]))
	if said != 0 || ip[6] != protoHopByHop { // whose option has a jumbogram's length
		return min(n, ipv6HeaderLen+said)
	}
	return n
}

// A Head is what the kernel remembers of the start of a datagram when it comes
// to a hook: its version, and where the headers end that it has read already.
// The zero Head is that of no IP packet, or of an IPv4 header that is cut off.
type Head struct {
	Version uint8
	Len     int // IPv4 header with options; IPv6 header, with hop-by-hop options
}

// HeadOf returns the head of the datagram ip.
func HeadOf(ip []byte) Head {
	switch version(ip) {
	case 4:
		if n := int(ip[0]&0xf) * 4; n <= len(ip) {
			return Head{4, n}
		}
	case 6:
		n := ipv6HeaderLen
		if ip[6] == protoHopByHop && len(ip) >= n+2 {
			n += 8 + 8*int(ip[n+1])
		}
		return Head{6, n}
	}
	return Head{}
}

// Options reports whether there is more than the fixed IP header.
func (h Head) Options() bool {
	return h.Version == 4 && h.Len > ipv4HeaderLen || h.Version == 6 && h.Len > ipv6HeaderLen
}

// Whole reports whether the headers of the datagram ip are: those of IP, and the
// upper layer's, unless ip is a fragment. A receiver throws others away.
func Whole(ip []byte) bool {
	u, ok := parseWhole(ip)
	if !ok || u.unknown && !u.fragment {
		return false
	}
	if u.fragment {
		return true
	}
	h := ip[u.off:]
	switch u.proto {
	case protoTCP:
		return len(h) >= 20 && h[12]>>4 >= 5 && int(h[12]>>4)*4 <= len(h)
	case protoUDP, protoUDPLite, protoICMP, protoICMPv6:
		return len(h) >= 8
	case protoDCCP, protoSCTP:
		return len(h) >= 12
	}
	return true
}
