package zerocopy

import (
	"encoding/binary"
	"math/bits"
)

// Types of ICMP and of ICMPv6 messages.
const (
	echoReply    = 0
	echoRequest  = 8
	echoRequest6 = 128
	echoReply6   = 129
)

// FlowKey names the flow that a packet belongs to. It is comparable.
//
// Ports are those of TCP, UDP, UDP-Lite, SCTP and DCCP. Of an ICMP or ICMPv6
// echo request or reply both are the identifier, so that the two are one flow.
// They are 0 of any other packet, of one too short to tell, and of a fragment:
// most fragments have none. The addresses are those of the IP header, also
// where a routing header leads on.
type FlowKey struct {
	Src, Dst         [16]byte // IPv4 addresses in the first four bytes
	SrcPort, DstPort uint16
	Proto            uint8 // upper-layer protocol, behind IPv6 extension headers
	Version          uint8 // of IP, 4 or 6; 0 of the zero key
	Fragment         bool  // a part of a datagram, the first included; not an IPv6 atomic fragment
	// Unknown is set of a packet that does not show for certain what its
	// receiver will act on. Either the headers lead to no upper-layer protocol,
	// and Proto is that of the header that could not be passed or that a
	// fragment names; or the ports, or what tells an echo, are cut off.
	Unknown bool
}

// Parse sets k to the flow of an IP packet, of which the upper layers may be
// cut off. Bytes behind the datagram are not looked at, see [DatagramLen]. It
// returns false, and k is zero, unless ip begins with an IPv4 or IPv6 header
// (of IPv4, the 20 bytes without options suffice).
func (k *FlowKey) Parse(ip []byte) bool {
	*k = FlowKey{}
	switch version(ip) {
	case 4:
		b, u := walk4(ip)
		k.Version, k.Proto, k.Fragment = 4, u.proto, u.fragment
		k.SrcPort, k.DstPort = ports(b, u)
		if u.proto == protoICMP {
			k.SrcPort = echo(b, u, echoRequest, echoReply)
			k.DstPort = k.SrcPort
		}
		k.Unknown = u.unknown || portsCut(b, u, protoICMP, echoRequest, echoReply)
		copy(k.Src[:], ip[12:16])
		copy(k.Dst[:], ip[16:20])
		return true
	case 6:
		b := ip[:datagramLen6(ip, len(ip))]
		u := upper6(b)
		k.Version, k.Proto, k.Fragment = 6, u.proto, u.fragment
		k.SrcPort, k.DstPort = ports(b, u)
		if u.proto == protoICMPv6 {
			k.SrcPort = echo(b, u, echoRequest6, echoReply6)
			k.DstPort = k.SrcPort
		}
		k.Unknown = u.unknown || portsCut(b, u, protoICMPv6, echoRequest6, echoReply6)
		copy(k.Src[:], ip[8:24])
		copy(k.Dst[:], ip[24:40])
		return true
	}
	return false
}

// Hash returns a hash of the flow that is the same for both directions, and on
// all machines. All fragments of a datagram have one, whatever protocol each
// names: of IPv6 the first alone shows what is in the datagram. Any of its bits
// may choose a bucket. With a secret, random seed a sender cannot aim flows at one
// bucket; it is no cryptographic hash, though, and must not be shown to anybody.
func (k *FlowKey) Hash(seed uint64) uint64 {
	m := meta(k.Version, k.Proto, k.Fragment)
	if k.Version == 6 {
		return hash6(&k.Src, &k.Dst, k.SrcPort, k.DstPort, m, seed)
	}
	return hash4(binary.BigEndian.Uint32(k.Src[:]), binary.BigEndian.Uint32(k.Dst[:]),
		k.SrcPort, k.DstPort, m, seed)
}

// HashFlow returns what FlowKey.Parse and FlowKey.Hash would, without building
// the key; for bytes that do not parse, the zero key's hash.
func HashFlow(ip []byte, seed uint64) uint64 {
	switch version(ip) {
	case 4:
		b, u := walk4(ip)
		src, dst := ports(b, u)
		if u.proto == protoICMP {
			src = echo(b, u, echoRequest, echoReply)
			dst = src
		}
		return hash4(binary.BigEndian.Uint32(ip[12:]), binary.BigEndian.Uint32(ip[16:]),
			src, dst, meta(4, u.proto, u.fragment), seed)
	case 6:
		b := ip[:datagramLen6(ip, len(ip))]
		u := plain6(b) // as upper6 does, without the call
		if isExtHeader(u.proto) {
			u = pass6(b)
		}
		src, dst := ports(b, u)
		if u.proto == protoICMPv6 {
			src = echo(b, u, echoRequest6, echoReply6)
			dst = src
		}
		return hash6((*[16]byte)(ip[8:]), (*[16]byte)(ip[24:]),
			src, dst, meta(6, u.proto, u.fragment), seed)
	}
	return hash4(0, 0, 0, 0, 0, seed)
}

// Transport returns the part of an IP packet from its upper-layer header on:
// what FlowKey.Proto names, up to the end of the datagram. It is nil for a
// fragment, the first included, and where the headers lead to no such protocol.
func Transport(ip []byte) []byte {
	var u upper
	switch version(ip) {
	case 4:
		ip, u = walk4(ip)
	case 6:
		ip = ip[:datagramLen6(ip, len(ip))]
		u = upper6(ip)
	default:
		return nil
	}
	if u.fragment || u.unknown {
		return nil
	}
	return ip[u.off:len(ip):len(ip)]
}

// walk4 returns the datagram that ip begins with, and what is in it. A total
// length of zero, which that of a super-packet may be, is all of ip; one that
// leaves no room for the header cuts it off.
func walk4(ip []byte) ([]byte, upper) {
	u := upper4(ip)
	if said := int(binary.BigEndian.Uint16(ip[2:])); said != 0 && said < len(ip) {
		ip, u.unknown = ip[:said], u.off > said
	}
	return ip, u
}

// version returns 4 or 6 if ip begins with such a header, else 0.
func version(ip []byte) uint8 {
	if len(ip) < ipv4HeaderLen {
		return 0
	}
	switch {
	case ip[0]>>4 == 4 && ip[0]&0xf >= ipv4HeaderLen/4:
		return 4
	case ip[0]>>4 == 6 && len(ip) >= ipv6HeaderLen:
		return 6
	}
	return 0
}

// ports returns the ports that the datagram b has behind its headers.
func ports(b []byte, u upper) (src, dst uint16) {
	if u.fragment || !hasPorts(u.proto) || len(b)-u.off < 4 {
		return 0, 0
	}
	p := binary.BigEndian.Uint32(b[u.off:])
	return uint16(p >> 16), uint16(p)
}

func hasPorts(proto uint8) bool {
	const low = 1<<protoTCP | 1<<protoUDP | 1<<protoDCCP
	return uint64(low)>>proto&1 != 0 || proto == protoSCTP || proto == protoUDPLite
}

// echo returns the identifier of an ICMP message of type request or reply.
func echo(b []byte, u upper, request, reply uint8) uint16 {
	if u.fragment || len(b)-u.off < 6 || b[u.off] != request && b[u.off] != reply {
		return 0
	}
	return binary.BigEndian.Uint16(b[u.off+4:])
}

// portsCut reports whether the datagram b ends before the ports that its
// protocol has, or before what tells whether it has an identifier.
func portsCut(b []byte, u upper, icmp, request, reply uint8) bool {
	n := len(b) - u.off
	switch {
	case u.fragment:
		return false
	case hasPorts(u.proto):
		return n < 4
	case u.proto == icmp:
		return n < 1 || n < 6 && (b[u.off] == request || b[u.off] == reply)
	}
	return false
}

// Multipliers and masks of the hash, nothing up the sleeve: the first 64 bits
// of the fractional parts of the square roots of 2, 3, 5 and 7.
const (
	mix0 = 0x6a09e667f3bcc908
	mix1 = 0xbb67ae8584caa73b
	mix2 = 0x3c6ef372fe94f82b
	mix3 = 0xa54ff53a5f1d36f1
)

// mix folds the 128-bit product of a and b. Its low half carries each bit of a
// factor upward, its high half downward; together they reach the whole word.
func mix(a, b uint64) uint64 {
	hi, lo := bits.Mul64(a, b)
	return hi ^ lo
}

// secrets stretches the seed to two words, so that nobody without it can
// predict a factor of any product.
func secrets(seed uint64) (s0, s1 uint64) {
	hi, lo := bits.Mul64(seed^mix0, mix1)
	return hi ^ mix2, lo ^ mix3
}

func meta(version, proto uint8, fragment bool) uint64 {
	if fragment {
		return 1<<16 | uint64(version)<<8
	}
	return uint64(version)<<8 | uint64(proto)
}

// hash4 and hash6 mix each endpoint by itself and add the two, which is the
// same either way round and takes no branch that could be mispredicted. Not
// XOR: every flow between equal endpoints would come to zero.
func hash4(src, dst uint32, sport, dport uint16, meta, seed uint64) uint64 {
	s0, s1 := secrets(seed)
	a := mix(uint64(src)<<16^uint64(sport)^s0, s1)
	b := mix(uint64(dst)<<16^uint64(dport)^s0, s1)
	return finish(a+b, meta, s0, s1)
}

func hash6(src, dst *[16]byte, sport, dport uint16, meta, seed uint64) uint64 {
	s0, s1 := secrets(seed)
	a := endpoint6(src, sport, s0, s1)
	b := endpoint6(dst, dport, s0, s1)
	return finish(a+b, meta, s0, s1)
}

func endpoint6(addr *[16]byte, port uint16, s0, s1 uint64) uint64 {
	a := mix(binary.BigEndian.Uint64(addr[0:])^s0, binary.BigEndian.Uint64(addr[8:])^s1)
	return mix(a^uint64(port)<<48^s1, s0)
}

func finish(h, meta, s0, s1 uint64) uint64 {
	return mix(h^meta*mix1^s1, s0^mix2)
}
