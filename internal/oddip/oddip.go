// Package oddip makes IP packets with headers of every odd kind, for tests that
// ask whether a reader of packets sees in them what the kernel sees. It has a
// reader of its own, which shares no line with the library's.
package oddip

import (
	"encoding/binary"
	"math/rand/v2"
	"slices"
)

// Addresses of all packets: the loopback's, so that they can be sent there.
var (
	addr4 = []byte{127, 0, 0, 1}
	addr6 = []byte{15: 1}
)

// Ports are the destination ports of most packets that have some.
var Ports = []uint16{53, 443, 9000, 65535}

// protocols are those of the upper layer, the likes of extension headers (135,
// 139, 140) among them, and what says that nothing comes (59).
var protocols = []byte{6, 17, 33, 58, 132, 136, 135, 139, 140, 59, 47, 50, 1, 4, 41, 253, 255}

// extensions are the extension headers of IPv6.
var extensions = []byte{0, 43, 44, 51, 60}

// New returns a packet made of what rng draws. The lengths in its IP header
// agree with it, but for one in eight of IPv6, which has bytes behind the
// datagram. It is 1400 bytes long at most, and serial is in it, see [Serial].
func New(rng *rand.Rand, serial uint16) []byte {
	if rng.IntN(4) == 0 {
		return new4(rng, serial)
	}
	return new6(rng, serial)
}

// Serial returns the number that New was given for the packet: it is the IPv4
// identification, or the IPv6 flow label.
func Serial(ip []byte) uint16 {
	if ip[0]>>4 == 4 {
		return binary.BigEndian.Uint16(ip[4:])
	}
	return binary.BigEndian.Uint16(ip[2:])
}

func new4(rng *rand.Rand, serial uint16) []byte {
	options := 0
	if rng.IntN(2) == 0 {
		options = rng.IntN(11)
	}
	proto := pick(rng, protocols)
	if rng.IntN(4) == 0 {
		proto = pick(rng, extensions) // which mean nothing here
	}
	h := make([]byte, 20)
	h[0], h[8], h[9] = 0x45+byte(options), 64, proto
	binary.BigEndian.PutUint16(h[4:], serial)
	binary.BigEndian.PutUint16(h[6:], pick(rng, []uint16{0, 0, 0, 0x4000, 0x2000, 0x2003, 0x0001, 0x1000}))
	copy(h[12:], addr4)
	copy(h[16:], addr4)
	ip := slices.Concat(h, repeat(1, 4*options), body(rng, proto)) // no operation
	binary.BigEndian.PutUint16(ip[2:], uint16(len(ip)))
	binary.BigEndian.PutUint16(ip[10:], checksum(ip[:20+4*options]))
	return ip
}

func new6(rng *rand.Rand, serial uint16) []byte {
	headers := rng.IntN(6)
	if rng.IntN(8) == 0 {
		headers = rng.IntN(40)
	}
	chain, wrong, fragments := make([]byte, headers, headers+1), -1, 0
	for i := range chain {
		chain[i] = pick(rng, extensions)
		if chain[i] == 44 {
			fragments++
		}
		// A receiver refuses hop-by-hop options there, and fragments of fragments.
		if chain[i] == 0 && i > 0 && rng.IntN(8) > 0 || chain[i] == 44 && (fragments > 1 || headers > 8) && rng.IntN(8) > 0 {
			chain[i] = 60
		}
	}
	if headers > 0 && rng.IntN(4) == 0 {
		wrong = rng.IntN(headers)
	}
	chain = append(chain, pick(rng, protocols))

	ip := make([]byte, 40, 1400)
	ip[0], ip[6], ip[7] = 0x60, chain[0], 64
	binary.BigEndian.PutUint16(ip[2:], serial)
	copy(ip[8:], addr6)
	copy(ip[24:], addr6)
	for i, h := range chain[:headers] {
		b := extension(rng, h, chain[i+1])
		if i == wrong && h != 44 {
			b[1] = byte(rng.IntN(256))
		}
		ip = append(ip, b...)
	}
	ip = append(ip, body(rng, chain[headers])...)
	ip = ip[:min(len(ip), 1300)]
	if rng.IntN(6) == 0 { // cut somewhere behind the header
		ip = ip[:40+rng.IntN(len(ip)-39)]
	}
	binary.BigEndian.PutUint16(ip[4:], uint16(len(ip)-40))
	if rng.IntN(8) == 0 && len(ip) > 40 { // of length 0 behind hop-by-hop options is said elsewhere
		ip = append(ip, body(rng, 17)...)
	}
	return ip
}

// extension returns an extension header of any length that it can have.
func extension(rng *rand.Rand, h, next byte) []byte {
	units := byte(0)
	if rng.IntN(3) == 0 {
		units = byte(rng.IntN(4))
	}
	n := 8 + 8*int(units)
	if h == 51 {
		units = byte(rng.IntN(8))
		n = 8 + 4*int(units)
	}
	if h == 44 {
		n = 8
	}
	b := make([]byte, n)
	b[0], b[1] = next, units
	switch h {
	case 44:
		binary.BigEndian.PutUint16(b[2:], pick(rng, []uint16{0, 0, 0x0006, 0x0001, 0x0001, 0x0008, 0x0009, 0x1230, 0xfff8}))
		binary.BigEndian.PutUint32(b[4:], rng.Uint32())
	case 0, 60:
		b[2], b[3] = 0x1e, byte(n-4) // an option that who does not know it skips
	case 43:
		b[2], b[3] = pick(rng, []byte{0, 2, 3, 4, 253}), byte(rng.IntN(3))
	}
	return b
}

// body returns what follows the IP headers, at times too little.
func body(rng *rand.Rand, proto byte) []byte {
	b := make([]byte, 8+rng.IntN(40))
	for i := range b {
		b[i] = byte(rng.Uint32())
	}
	binary.BigEndian.PutUint16(b, uint16(1+rng.IntN(65535)))
	binary.BigEndian.PutUint16(b[2:], pick(rng, Ports))
	switch {
	case proto == 1 || proto == 58:
		b[0] = pick(rng, []byte{0, 8, 128, 129, 3, 135})
	case rng.IntN(4) == 0: // what looks like one more header before UDP
		b = append([]byte{17, 0, 1, 1, 0, 0, 0, 0}, b...)
	}
	if rng.IntN(8) == 0 {
		b = b[:rng.IntN(8)]
	}
	return b
}

func pick[T any](rng *rand.Rand, of []T) T { return of[rng.IntN(len(of))] }

func repeat(b byte, n int) []byte { return slices.Repeat([]byte{b}, n) }

// checksum returns the Internet checksum of an even number of bytes, whose own
// field is zero.
func checksum(b []byte) uint16 {
	sum := uint32(0)
	for ; len(b) > 0; b = b[2:] {
		sum += uint32(binary.BigEndian.Uint16(b))
	}
	for sum > 0xffff {
		sum = sum>>16 + sum&0xffff
	}
	return ^uint16(sum)
}
