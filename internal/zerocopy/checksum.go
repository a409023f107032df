package zerocopy

import (
	"encoding/binary"
	"math/bits"
)

// Checksum returns the Internet checksum (RFC 1071) of b, as a number to be
// stored in network byte order. An odd last byte counts as followed by zero.
// Over bytes that include a correct checksum it returns 0.
func Checksum(b []byte) uint16 { return ^fold(sum(b)) }

// sum adds up b in 64-bit words of the host's byte order with end-around
// carry: modulo 0xffff, which is what a ones' complement sum is, every 16-bit
// place of such a word weighs the same, and in either order, so no word need be
// swapped, only the result. An odd last byte is padded with zero.
func sum(b []byte) uint64 {
	var acc, c uint64
	// 128 bytes a turn: saving the carry flag across turns costs more than an
	// addition.
	for len(b) >= 128 {
		w := b[:128]
		acc, c = bits.Add64(acc, binary.NativeEndian.Uint64(w[0:]), c)
		acc, c = bits.Add64(acc, binary.NativeEndian.Uint64(w[8:]), c)
		acc, c = bits.Add64(acc, binary.NativeEndian.Uint64(w[16:]), c)
		acc, c = bits.Add64(acc, binary.NativeEndian.Uint64(w[24:]), c)
		acc, c = bits.Add64(acc, binary.NativeEndian.Uint64(w[32:]), c)
		acc, c = bits.Add64(acc, binary.NativeEndian.Uint64(w[40:]), c)
		acc, c = bits.Add64(acc, binary.NativeEndian.Uint64(w[48:]), c)
		acc, c = bits.Add64(acc, binary.NativeEndian.Uint64(w[56:]), c)
		acc, c = bits.Add64(acc, binary.NativeEndian.Uint64(w[64:]), c)
		acc, c = bits.Add64(acc, binary.NativeEndian.Uint64(w[72:]), c)
		acc, c = bits.Add64(acc, binary.NativeEndian.Uint64(w[80:]), c)
		acc, c = bits.Add64(acc, binary.NativeEndian.Uint64(w[88:]), c)
		acc, c = bits.Add64(acc, binary.NativeEndian.Uint64(w[96:]), c)
		acc, c = bits.Add64(acc, binary.NativeEndian.Uint64(w[104:]), c)
		acc, c = bits.Add64(acc, binary.NativeEndian.Uint64(w[112:]), c)
		acc, c = bits.Add64(acc, binary.NativeEndian.Uint64(w[120:]), c)
		b = b[128:]
	}
	for len(b) >= 32 {
		w := b[:32]
		acc, c = bits.Add64(acc, binary.NativeEndian.Uint64(w[0:]), c)
		acc, c = bits.Add64(acc, binary.NativeEndian.Uint64(w[8:]), c)
		acc, c = bits.Add64(acc, binary.NativeEndian.Uint64(w[16:]), c)
		acc, c = bits.Add64(acc, binary.NativeEndian.Uint64(w[24:]), c)
		b = b[32:]
	}
	for len(b) >= 8 {
		acc, c = bits.Add64(acc, binary.NativeEndian.Uint64(b), c)
		b = b[8:]
	}
	if len(b) >= 4 {
		acc, c = bits.Add64(acc, uint64(binary.NativeEndian.Uint32(b)), c)
		b = b[4:]
	}
	if len(b) >= 2 {
		acc, c = bits.Add64(acc, uint64(binary.NativeEndian.Uint16(b)), c)
		b = b[2:]
	}
	if len(b) > 0 {
		acc, c = bits.Add64(acc, uint64(binary.NativeEndian.Uint16([]byte{b[0], 0})), c)
	}
	// A carry out of this addition leaves 0, so the next cannot overflow.
	acc, c = bits.Add64(acc, 0, c)
	return acc + c
}

// fold reduces a sum in host order to 16 bits in network order.
func fold(acc uint64) uint16 {
	acc = acc>>32 + acc&0xffffffff
	acc = acc>>32 + acc&0xffffffff
	acc = acc>>16 + acc&0xffff
	acc = acc>>16 + acc&0xffff
	var w [2]byte
	binary.NativeEndian.PutUint16(w[:], uint16(acc))
	return binary.BigEndian.Uint16(w[:])
}

// add adds two sums with end-around carry.
func add(a, b uint64) uint64 {
	s, c := bits.Add64(a, b, 0)
	return s + c
}
