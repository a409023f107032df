package zerocopy

import (
	"encoding/binary"
	"math/bits"
)

// FlowKey names the flow that a packet belongs to. It is comparable.
//
// Ports are those of TCP, UDP, UDP-Lite, SCTP and DCCP. Of an ICMP or ICMPv6
// echo request or reply both are the identifier, so that the two are one flow.
// They are 0 of any other packet, of one too short to tell, and of a fragment,
// so that all fragments of a datagram share a key. The addresses are those of
// the IP header, also where a routing header leads on.
type FlowKey struct {
	Src, Dst         [16]byte // IPv4 addresses in the first four bytes
	SrcPort, DstPort uint16
	Proto            uint8 // upper-layer protocol, behind IPv6 extension headers
	Version          uint8 // of IP, 4 or 6; 0 of the zero key
	Fragment         bool  // a part of a datagram, the first included; not an IPv6 atomic fragment
}

// Parse sets k to the flow of an IP packet, of which the upper layers may be
// cut off. It returns false, and k is zero, unless ip begins with an IPv4 or
// IPv6 header (of IPv4, the 20 bytes without options suffice).
func (k *FlowKey) Parse(ip []byte) bool {
	*k = FlowKey{}
	switch version(ip) {
	case 4:
		u := upper4(ip)
		k.Version, k.Proto, k.Fragment = 4, u.proto, u.fragment
		k.SrcPort, k.DstPort = ports4(ip, u)
		copy(k.Src[:], ip[12:16])
		copy(k.Dst[:], ip[16:20])
		return true
	case 6:
		u := upper6(ip)
		k.Version, k.Proto, k.Fragment = 6, u.proto, u.fragment
		k.SrcPort, k.DstPort = ports6(ip, u)
		copy(k.Src[:], ip[8:24])
		copy(k.Dst[:], ip[24:40])
		return true
	}
	return false
}

// Hash returns a hash of the flow that is the same for both directions, and on
// all machines. Any of its bits may choose a bucket. With a secret, random seed
// a sender cannot aim flows at one bucket; it is no cryptographic hash, though,
// and must not be shown to anybody.
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
		u := upper4(ip)
		src, dst := ports4(ip, u)
		return hash4(binary.BigEndian.Uint32(ip[12:]), binary.BigEndian.Uint32(ip[16:]),
			src, dst, meta(4, u.proto, u.fragment), seed)
	case 6:
		u := upper6(ip)
		src, dst := ports6(ip, u)
		return hash6((*[16]byte)(ip[8:]), (*[16]byte)(ip[24:]),
			src, dst, meta(6, u.proto, u.fragment), seed)
	}
	return hash4(0, 0, 0, 0, 0, seed)
}

// Transport returns the part of an IP packet from its upper-layer header on:
// what FlowKey.Proto names. It is nil for a fragment, the first included, and
// where the headers before it are cut off or too many.
func Transport(ip []byte) []byte {
	var u upper
	switch version(ip) {
	case 4:
		u = upper4(ip)
	case 6:
		if u = upper6(ip); isExtHeader(u.proto) {
			return nil
		}
	default:
		return nil
	}
	if u.fragment || u.off > len(ip) {
		return nil
	}
	return ip[u.off:]
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

func ports4(b []byte, u upper) (src, dst uint16) {
	if u.proto == protoICMP {
		return echo(b, u, 8, 0)
	}
	return ports(b, u)
}

func ports6(b []byte, u upper) (src, dst uint16) {
	if u.proto == protoICMPv6 {
		return echo(b, u, 128, 129)
	}
	return ports(b, u)
}

func ports(b []byte, u upper) (src, dst uint16) {
	if u.fragment || len(b)-u.off < 4 {
		return 0, 0
	}
	switch u.proto {
	case protoTCP, protoUDP, protoDCCP, protoSCTP, protoUDPLite:
		p := b[u.off : u.off+4]
		return binary.BigEndian.Uint16(p), binary.BigEndian.Uint16(p[2:])
	}
	return 0, 0
}

// echo returns the identifier of an ICMP message of type request or reply.
func echo(b []byte, u upper, request, reply uint8) (src, dst uint16) {
	if u.fragment || len(b)-u.off < 6 {
		return 0, 0
	}
	if t := b[u.off]; t != request && t != reply {
		return 0, 0
	}
	id := binary.BigEndian.Uint16(b[u.off+4:])
	return id, id
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
	m := uint64(version)<<8 | uint64(proto)
	if fragment {
		m |= 1 << 16
	}
	return m
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
