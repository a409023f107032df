package zerocopy

import "encoding/binary"

// MaxReset is the most that PutReset writes: the headers of IPv6 and TCP.
const MaxReset = ipv6HeaderLen + tcpHeaderLen

// MaxProhibited is the most that PutProhibited4 and PutProhibited6 write: what every
// host can take, the second without its IPv6 header (RFC 1812, section 4.3.2.3, and
// RFC 4443, section 2.4).
const (
	MaxProhibited4 = 576
	MaxProhibited6 = 1280 - ipv6HeaderLen
)

const (
	icmpHeaderLen = 8
	defaultTTL    = 64 // RFC 1700
	dontFragment  = 0x4000
)

// TCPFlags returns the flags of the TCP segment seg, 0 if they are cut off.
func TCPFlags(seg []byte) uint8 {
	if len(seg) < tcpHeaderLen {
		return 0
	}
	return seg[tcpFlagsAt]
}

// PutReset writes into b the datagram that refuses the TCP segment in the datagram ip,
// and returns its length. Of ip, which has n bytes, the payload may be cut off. It
// returns 0 unless ip has the whole of TCP's fixed header, and is no fragment.
//
// With toSender it is what the receiver would answer if it had no such connection (RFC
// 9293, section 3.10.7.1): it has the number that the segment acknowledges, or
// acknowledges all that the segment takes of sequence space. Otherwise it is what the
// sender would have sent in the segment's place to abort the connection: it has the
// segment's numbers.
func PutReset(b, ip []byte, n int, toSender bool) int {
	src, dst, u := endpoints(ip)
	if u.proto != protoTCP || u.fragment || u.unknown || len(ip)-u.off < tcpHeaderLen {
		return 0
	}
	seg := ip[u.off:]
	sport, dport, flags := seg[0:2], seg[2:4], seg[tcpFlagsAt]
	seq, ack := binary.BigEndian.Uint32(seg[4:]), binary.BigEndian.Uint32(seg[8:])
	acks := flags&TCPAck != 0
	switch {
	case !toSender && acks:
		flags = TCPRst | TCPAck
	case !toSender:
		ack, flags = 0, TCPRst
	case acks:
		seq, ack, flags = ack, 0, TCPRst
	default:
		taken := n - u.off - int(seg[12]>>4)*4 + int(flags&TCPSyn)/TCPSyn + int(flags&TCPFin)/TCPFin
		seq, ack, flags = 0, seq+uint32(taken), TCPRst|TCPAck
	}
	if toSender {
		src, dst, sport, dport = dst, src, dport, sport
	}
	b = b[:putHeader(b, src, dst, protoTCP, tcpHeaderLen)]
	h := b[len(b)-tcpHeaderLen:]
	copy(h[0:], sport)
	copy(h[2:], dport)
	binary.BigEndian.PutUint32(h[4:], seq)
	binary.BigEndian.PutUint32(h[8:], ack)
	h[12], h[tcpFlagsAt] = tcpHeaderLen/4<<4, flags
	_ = FixPacket(b) // it fails only on what is no IP packet
	return len(b)
}

// PutProhibited4 writes into b the datagram by which a router says that the IPv4
// datagram ip is administratively prohibited, type 3, code 13 (RFC 1812, section
// 5.2.7.1), and returns its length. Its source address is left to the kernel. ip may be
// cut off anywhere behind its header.
func PutProhibited4(b, ip []byte) int {
	quote := ip[:min(len(ip), MaxProhibited4-ipv4HeaderLen-icmpHeaderLen)]
	b = b[:putHeader(b, []byte{0, 0, 0, 0}, ip[12:16], protoICMP, icmpHeaderLen+len(quote))]
	h := b[ipv4HeaderLen:]
	h[0], h[1] = 3, 13
	copy(h[icmpHeaderLen:], quote)
	_ = FixPacket(b)
	return len(b)
}

// PutProhibited6 is PutProhibited4 for IPv6, with type 1, code 1 (RFC 4443, section
// 3.1). What it writes is ICMPv6's alone, without a checksum, which a raw socket adds.
func PutProhibited6(b, ip []byte) int {
	clear(b[:icmpHeaderLen])
	b[0], b[1] = 1, 1
	return icmpHeaderLen + copy(b[icmpHeaderLen:MaxProhibited6], ip)
}

// endpoints returns the addresses of the datagram ip, and what is in it.
func endpoints(ip []byte) (src, dst []byte, u upper) {
	switch version(ip) {
	case 4:
		return ip[12:16], ip[16:20], upper4(ip)
	case 6:
		return ip[8:24], ip[ipv6Dst:ipv6HeaderLen], upper6(ip)
	}
	return nil, nil, upper{found: found{unknown: true}}
}

// putHeader writes an IP header, and zeroes for n bytes behind it. Checksums remain to be
// done.
func putHeader(b, src, dst []byte, proto uint8, n int) int {
	if len(src) == 4 {
		b = b[:ipv4HeaderLen+n]
		clear(b)
		b[0], b[8], b[9] = 0x45, defaultTTL, proto
		binary.BigEndian.PutUint16(b[2:], uint16(len(b)))
		binary.BigEndian.PutUint16(b[6:], dontFragment)
		copy(b[12:], src)
		copy(b[16:], dst)
		return len(b)
	}
	b = b[:ipv6HeaderLen+n]
	clear(b)
	b[0], b[6], b[7] = 0x60, proto, defaultTTL
	binary.BigEndian.PutUint16(b[4:], uint16(n))
	copy(b[8:], src)
	copy(b[ipv6Dst:], dst)
	return len(b)
}

// IsICMPError reports whether the ICMP or ICMPv6 message m is one that nothing may be
// answered to: an error, a redirect, or of a type that nobody knows (RFC 1122, section
// 3.2.2; RFC 4443, section 2.4). So are those of neighbour discovery, by which the answer
// would have to find its way.
func IsICMPError(proto uint8, m []byte) bool {
	const answered = 1<<0 | 1<<8 | 1<<9 | 1<<10 | 1<<13 | 1<<14 | 1<<15 | 1<<16 | 1<<17 | 1<<18 // queries, and what answers them
	switch {
	case proto != protoICMP && proto != protoICMPv6:
		return false
	case len(m) == 0:
		return true
	case proto == protoICMP:
		return m[0] > 18 || answered>>m[0]&1 == 0
	}
	return m[0] < 128 || m[0] >= 133 && m[0] <= 137
}

// SetEndpoints gives the datagram b, which is whole, other addresses, of the same family,
// and ports, if it has any. Its checksums are as right or wrong as they were; with pending
// one is left to the network device.
func SetEndpoints(b, src, dst []byte, sport, dport uint16, pending bool) {
	var s Sums
	if err := s.Take(b, pending); err != nil {
		return
	}
	from, to, u := endpoints(b)
	if len(from) != len(src) || len(to) != len(dst) {
		return
	}
	copy(from, src)
	copy(to, dst)
	if !u.fragment && !u.unknown && hasPorts(u.proto) && len(b)-u.off >= 4 {
		binary.BigEndian.PutUint16(b[u.off:], sport)
		binary.BigEndian.PutUint16(b[u.off+2:], dport)
	}
	s.Update(b)
}
