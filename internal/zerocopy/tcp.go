package zerocopy

import "encoding/binary"

// The flags of a TCP segment that receivers act on.
const (
	TCPFin = 1 << 0
	TCPSyn = 1 << 1
	TCPRst = 1 << 2
	TCPAck = 1 << 4
	TCPUrg = 1 << 5
)

// Kinds of TCP options (IANA, "TCP Option Kind Numbers").
const (
	tcpOptEnd   = 0
	tcpOptNop   = 1
	tcpOptScale = 3  // window scale, RFC 7323
	tcpOptMPTCP = 30 // RFC 8684
)

const (
	tcpHeaderLen = 20
	tcpFlagsAt   = 13
	tcpUrgentAt  = 18
)

// A TCP is the header of a segment.
type TCP struct {
	Seq, Ack uint32
	Window   uint16 // as it stands there, not scaled
	Flags    uint8
	Scale    uint8 // of windows, at most 14
	HasScale bool  // there is a window scale option
	MPTCP    bool  // there is an option of Multipath TCP
	Off      int   // where the header begins in the datagram
	Data     int   // where the payload does, which ends with the datagram
}

// Parse reads the header of the TCP segment in the datagram ip, whose end is that of
// the datagram, see [DatagramLen]. Options are read in segments with SYN. It reports
// false if ip has no TCP segment, is a fragment, or ends within the header.
func (t *TCP) Parse(ip []byte) bool {
	u, ok := parseWhole(ip)
	if !ok || u.unknown || u.fragment || u.proto != protoTCP {
		return false
	}
	h := ip[u.off:]
	if len(h) < tcpHeaderLen {
		return false
	}
	n := int(h[12]>>4) * 4
	if n < tcpHeaderLen || n > len(h) {
		return false
	}
	*t = TCP{
		Seq: binary.BigEndian.Uint32(h[4:]), Ack: binary.BigEndian.Uint32(h[8:]),
		Window: binary.BigEndian.Uint16(h[14:]), Flags: h[tcpFlagsAt],
		Off: u.off, Data: u.off + n,
	}
	if t.Flags&TCPSyn != 0 {
		t.parseOptions(h[tcpHeaderLen:n])
	}
	return true
}

func (t *TCP) parseOptions(b []byte) {
	for at := 0; at < len(b); {
		n := tcpOptionLen(b[at:])
		switch {
		case n == 0:
			return
		case b[at] == tcpOptScale && n == 3:
			t.Scale, t.HasScale = min(b[at+2], 14), true // RFC 7323, section 2.3
		case b[at] == tcpOptMPTCP:
			t.MPTCP = true
		}
		at += n
	}
}

// tcpOptionLen returns the length of the option that b begins with, or 0 at the end of
// the options, or of what can be told of them.
func tcpOptionLen(b []byte) int {
	switch {
	case b[0] == tcpOptEnd:
		return 0
	case b[0] == tcpOptNop:
		return 1
	case len(b) < 2 || b[1] < 2 || int(b[1]) > len(b):
		return 0
	}
	return int(b[1])
}

// ClearUrgent makes the urgent data of a segment, whose header h is, ordinary data.
func ClearUrgent(h []byte) {
	h[tcpFlagsAt] &^= TCPUrg
	h[tcpUrgentAt], h[tcpUrgentAt+1] = 0, 0
}

// ClearMPTCP puts paddings in the place of the options of Multipath TCP in the header
// h, so that a connection does without.
func ClearMPTCP(h []byte) {
	for at := tcpHeaderLen; at < len(h); {
		n := tcpOptionLen(h[at:])
		if n == 0 {
			return
		}
		if h[at] == tcpOptMPTCP {
			for i := range n {
				h[at+i] = tcpOptNop
			}
		}
		at += n
	}
}

// SumsRight reports whether the checksum of the IPv4 header, if it is one, and that of
// the TCP segment behind it are right. With trusted, only the former is looked at.
func SumsRight(ip []byte, trusted bool) bool {
	u, ok := parseWhole(ip)
	if !ok || ip[0]>>4 == 4 && sum16(ip[:u.off]) != 0xffff {
		return false
	}
	if trusted {
		return true
	}
	s, _, ok := findSum(ip, u, 0)
	return ok && s.total(ip) == 0xffff
}

// Rerouted reports whether the addresses in the header of the datagram ip are not those
// of its ends: whether it has a source route of IPv4, a routing header of IPv6 that has
// segments left, or a home address of Mobile IPv6.
func Rerouted(ip []byte) bool {
	u, ok := parseWhole(ip)
	switch {
	case !ok:
		return false
	case ip[0]>>4 == 4:
		return u.off > ipv4HeaderLen && sourceRoute(ip[:u.off]) != 0
	}
	return u.dst != ipv6Dst || u.off > ipv6HeaderLen && homeAddress(ip[:u.off]) != 0
}
