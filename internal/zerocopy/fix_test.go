package zerocopy

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
)

// naiveSum is the oracle: RFC 1071 word by word, an odd byte padded.
func naiveSum(parts ...[]byte) uint16 {
	var s uint32
	for _, b := range parts {
		for i := 0; i < len(b); i += 2 {
			w := uint32(b[i]) << 8
			if i+1 < len(b) {
				w |= uint32(b[i+1])
			}
			if s += w; s > 0xffff {
				s -= 0xffff
			}
		}
	}
	return uint16(s)
}

func TestChecksumAgainstReference(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	random := make([]byte, 9100)
	for i := range random {
		random[i] = byte(rng.Uint32())
	}
	// All ones exercise every carry, zeros none.
	for _, buf := range [][]byte{random, bytes.Repeat([]byte{0xff}, 9100), make([]byte, 9100)} {
		check := func(off, n int) {
			t.Helper()
			// 0 and 0xffff are both zero in ones' complement: of bytes that are
			// not all zero a sum never comes to 0.
			if got, want := Checksum(buf[off:off+n]), ^naiveSum(buf[off:off+n]); got != want {
				t.Fatalf("offset %d, %d bytes: %#04x, want %#04x", off, n, got, want)
			}
		}
		for off := range 9 {
			for n := range 400 {
				check(off, n)
			}
			for _, n := range []int{576, 1499, 1500, 8999, 9000} {
				check(off, n)
			}
		}
	}
}

// Examples that others computed.
func TestChecksumKnown(t *testing.T) {
	for _, tt := range []struct {
		bytes string
		want  uint16
	}{
		{"0001 f203 f4f5 f6f7", 0x220d},                          // RFC 1071, section 3
		{"45000073 00004000 40110000 c0a80001 c0a800c7", 0xb861}, // IPv4 header
		{"45000021 78274000 40110000 7f000001 7f000001", 0xc4a2}, // recorded from Linux
		{"45000073 00004000 4011b861 c0a80001 c0a800c7", 0},      // with its checksum
		{"", 0xffff},
	} {
		if got := Checksum(unhex(t, tt.bytes)); got != tt.want {
			t.Errorf("%s: %#04x, want %#04x", tt.bytes, got, tt.want)
		}
	}
}

const (
	v4Src, v4Dst = "\x0a\x00\x00\x01", "\xc0\x00\x02\x07"
	v6Src        = "\x20\x01\x0d\xb8\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x01"
	v6Dst        = "\x20\x01\x0d\xb8\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x02"
	v6Final      = "\x20\x01\x0d\xb8\xff\xff\x00\x00\x00\x00\x00\x00\x00\x00\x00\x99"
)

// ipv4 builds a packet with wrong lengths and checksum. frag is the word of
// flags and fragment offset.
func ipv4(proto uint8, frag uint16, options, seg []byte) []byte {
	h := make([]byte, 20, 20+len(options)+len(seg))
	h[0] = 0x40 | uint8(5+len(options)/4)
	binary.BigEndian.PutUint16(h[6:], frag)
	h[8], h[9] = 64, proto
	binary.BigEndian.PutUint16(h[10:], 0x1234)
	copy(h[12:], v4Src)
	copy(h[16:], v4Dst)
	return slices.Concat(h, options, seg)
}

// ipv6 builds a packet with wrong lengths.
func ipv6(next uint8, seg ...[]byte) []byte {
	h := make([]byte, 40)
	h[0], h[6], h[7] = 0x60, next, 64
	copy(h[8:], v6Src)
	copy(h[24:], v6Dst)
	return slices.Concat(append([][]byte{h}, seg...)...)
}

// ext builds an extension header of 8*(1+units) bytes.
func ext(next, units uint8) []byte {
	b := make([]byte, 8+8*int(units))
	b[0], b[1] = next, units
	return b
}

func routing(next, typ, left uint8, addrs ...string) []byte {
	b := ext(next, uint8(2*len(addrs)))
	b[2], b[3] = typ, left
	for i, a := range addrs {
		copy(b[8+16*i:], a)
	}
	return b
}

// authHdr builds an authentication header with an ICV of 12 bytes: its length
// counts words of 4 bytes, less 2.
func authHdr(next uint8) []byte { return append([]byte{next, 4}, make([]byte, 22)...) }

func fragmentHdr(next uint8, offM uint16) []byte {
	b := ext(next, 0)
	binary.BigEndian.PutUint16(b[2:], offM)
	return b
}

// segment builds an upper-layer packet of n bytes with wrong length and
// checksum.
func segment(proto uint8, n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(i*7 + 3)
	}
	if proto == protoTCP {
		b[12] = 5 << 4
	}
	return b
}

func TestFixPacket(t *testing.T) {
	for _, proto := range []uint8{protoTCP, protoUDP, protoICMP, protoICMPv6} {
		for _, n := range []int{20, 21, 57, 1480, 1481} {
			seg := func() []byte { return segment(proto, n) }
			type packet struct {
				name string
				b    []byte
				off  int    // of the upper layer
				dst  string // of the pseudo-header
			}
			var packets []packet
			if proto != protoICMPv6 {
				packets = append(packets,
					packet{"IPv4", ipv4(proto, 0x4000, nil, seg()), 20, v4Dst},
					packet{"IPv4 with options", ipv4(proto, 0, []byte{1, 1, 1, 0, 7, 7, 7, 7}, seg()), 28, v4Dst})
			}
			if proto != protoICMP {
				packets = append(packets,
					packet{"IPv6", ipv6(proto, seg()), 40, v6Dst},
					packet{"hop-by-hop", ipv6(0, ext(proto, 1), seg()), 56, v6Dst},
					packet{"hop-by-hop and destination", ipv6(0, ext(60, 0), ext(proto, 2), seg()), 72, v6Dst},
					packet{"atomic fragment", ipv6(44, fragmentHdr(proto, 0), seg()), 48, v6Dst},
					packet{"AH", ipv6(51, authHdr(proto), seg()), 64, v6Dst},
					packet{"routing 0", ipv6(43, routing(proto, 0, 1, v6Src, v6Final), seg()), 80, v6Final},
					packet{"routing 2", ipv6(43, routing(proto, 2, 1, v6Final), seg()), 64, v6Final},
					packet{"segment routing", ipv6(43, routing(proto, 4, 1, v6Final, v6Dst), seg()), 80, v6Final},
					packet{"routing at its end", ipv6(43, routing(proto, 0, 0, v6Src, v6Final), seg()), 80, v6Dst},
					packet{"twenty headers", ipv6(60, options(20, proto), seg()), 200, v6Dst})
			}
			for _, p := range packets {
				t.Run(fmt.Sprintf("%s/%d/%d bytes", p.name, proto, n), func(t *testing.T) {
					if VerifyPacket(p.b) {
						t.Fatal("VerifyPacket is true before")
					}
					if err := FixPacket(p.b); err != nil {
						t.Fatal(err)
					}
					checkFixed(t, p.b, p.off, p.dst, proto)
					if !VerifyPacket(p.b) {
						t.Error("VerifyPacket is false after")
					}
					again := bytes.Clone(p.b)
					if err := FixPacket(again); err != nil || !bytes.Equal(again, p.b) {
						t.Errorf("not idempotent: error %v", err)
					}
					for _, i := range []int{p.off + 1, len(p.b) - 1} {
						p.b[i] ^= 0x10
						if VerifyPacket(p.b) {
							t.Errorf("VerifyPacket is true with byte %d changed", i)
						}
						p.b[i] ^= 0x10
					}
				})
			}
		}
	}
}

// checkFixed checks lengths and checksums by the reference sum alone.
func checkFixed(t *testing.T, b []byte, off int, dst string, proto uint8) {
	t.Helper()
	seg := b[off:]
	src := v6Src
	if b[0]>>4 == 4 {
		src = v4Src
		if got := int(binary.BigEndian.Uint16(b[2:])); got != len(b) {
			t.Errorf("total length %d of %d", got, len(b))
		}
		if s := naiveSum(b[:int(b[0]&15)*4]); s != 0xffff {
			t.Errorf("header sums to %#04x", s)
		}
	} else if got := int(binary.BigEndian.Uint16(b[4:])); got != len(b)-40 {
		t.Errorf("payload length %d of %d", got, len(b)-40)
	}
	if proto == protoUDP {
		if got := int(binary.BigEndian.Uint16(seg[4:])); got != len(seg) {
			t.Errorf("UDP length %d of %d", got, len(seg))
		}
	}
	pseudo := slices.Concat([]byte(src), []byte(dst), be32(uint32(len(seg))), be32(uint32(proto)))
	if proto == protoICMP {
		pseudo = nil
	}
	if s := naiveSum(pseudo, seg); s != 0xffff {
		t.Errorf("upper layer sums to %#04x", s)
	}
}

// Only the IP header of these may change.
func TestFixPacketLeavesTransport(t *testing.T) {
	oddRouting := ext(protoUDP, 3)
	oddRouting[3] = 1 // segments left
	for _, tt := range []struct {
		name string
		b    []byte
		off  int
	}{
		{"IPv4 first fragment", ipv4(protoUDP, 0x2000, nil, segment(protoUDP, 64)), 20},
		{"IPv4 last fragment", ipv4(protoTCP, 0x0007, nil, segment(protoTCP, 64)), 20},
		{"IPv6 first fragment", ipv6(44, fragmentHdr(protoUDP, 1), segment(protoUDP, 64)), 40},
		{"IPv6 last fragment", ipv6(44, fragmentHdr(protoUDP, 8), segment(protoUDP, 64)), 40},
		{"short SCTP", ipv4(protoSCTP, 0, nil, segment(protoSCTP, 11)), 20},
		{"ICMPv6 in IPv4", ipv4(protoICMPv6, 0, nil, segment(protoICMPv6, 64)), 20},
		{"ICMP in IPv6", ipv6(protoICMP, segment(protoICMP, 64)), 40},
		{"ESP", ipv6(50, segment(50, 64)), 40},
		{"no next header", ipv6(59, segment(59, 8)), 40},
		{"short TCP", ipv4(protoTCP, 0, nil, segment(protoTCP, 19)), 20},
		{"short UDP", ipv6(protoUDP, segment(protoUDP, 7)), 40},
		{"short ICMP", ipv4(protoICMP, 0, nil, segment(protoICMP, 3)), 20},
		{"nothing", ipv4(protoUDP, 0, nil, nil), 20},
		{"unknown routing header", ipv6(43, routing(protoUDP, 3, 1, v6Final), segment(protoUDP, 64)), 40},
		{"first fragment of options", ipv6(44, fragmentHdr(60, 1), ext(protoUDP, 0), segment(protoUDP, 64)), 40},
		{"torn routing header", ipv6(43, routing(protoUDP, 0, 1, v6Final)[:20]), 40},
		{"routing header of half an address", ipv6(43, oddRouting, segment(protoUDP, 64)), 40},
		{"empty routing header", ipv6(43, routing(protoUDP, 0, 1), segment(protoUDP, 64)), 40},
	} {
		t.Run(tt.name, func(t *testing.T) {
			before := bytes.Clone(tt.b)
			if err := FixPacket(tt.b); err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(tt.b[tt.off:], before[tt.off:]) {
				t.Errorf("changed\n%x to\n%x", before[tt.off:], tt.b[tt.off:])
			}
			if bytes.Equal(tt.b[:tt.off], before[:tt.off]) {
				t.Error("left the IP header wrong")
			}
			if !VerifyPacket(tt.b) {
				t.Error("VerifyPacket is false")
			}
		})
	}
}

// Every sum there is, so that each carry happens.
func TestFixPacketEverySum(t *testing.T) {
	for _, proto := range []uint8{protoTCP, protoUDP, protoICMP} {
		b := ipv4(proto, 0, nil, segment(proto, 24))
		for w := range 1 << 16 {
			binary.BigEndian.PutUint16(b[42:], uint16(w))
			if err := FixPacket(b); err != nil {
				t.Fatal(err)
			}
			if checkFixed(t, b, 20, v4Dst, proto); t.Failed() {
				t.Fatalf("protocol %d, word %#04x", proto, w)
			}
		}
	}
}

// A UDP checksum that computes to zero goes out as 0xffff; zero means none,
// which only IPv4 allows.
func TestFixPacketUDPZero(t *testing.T) {
	for _, b := range [][]byte{
		ipv4(protoUDP, 0, nil, segment(protoUDP, 20)),
		ipv6(protoUDP, segment(protoUDP, 20)),
	} {
		v4 := b[0]>>4 == 4
		if err := FixPacket(b); err != nil {
			t.Fatal(err)
		}
		seg := b[len(b)-20:]
		// Adding the checksum itself to a word of data makes the new one zero.
		data := seg[10:]
		s := uint32(binary.BigEndian.Uint16(data)) + uint32(binary.BigEndian.Uint16(seg[6:]))
		binary.BigEndian.PutUint16(data, uint16(s+s>>16))
		if err := FixPacket(b); err != nil {
			t.Fatal(err)
		}
		if ck := binary.BigEndian.Uint16(seg[6:]); ck != 0xffff {
			t.Errorf("IPv4 %v: checksum %#04x, want 0xffff", v4, ck)
		}
		if !VerifyPacket(b) {
			t.Errorf("IPv4 %v: VerifyPacket is false", v4)
		}
		seg[6], seg[7] = 0, 0
		if VerifyPacket(b) != v4 {
			t.Errorf("IPv4 %v: VerifyPacket of checksum zero is %v", v4, !v4)
		}
	}
}

func TestFixPacketRefuses(t *testing.T) {
	wrongIHL := func(ihl uint8) []byte {
		b := ipv4(protoUDP, 0, nil, segment(protoUDP, 20))
		b[0] = 0x40 | ihl
		return b
	}
	for name, b := range map[string][]byte{
		"nothing":       nil,
		"short IPv4":    ipv4(protoUDP, 0, nil, nil)[:19],
		"short IPv6":    ipv6(59)[:39],
		"version 5":     append([]byte{0x55}, make([]byte, 60)...),
		"IHL 4":         wrongIHL(4),
		"IHL too large": wrongIHL(11),
		"too long IPv4": ipv4(protoUDP, 0, nil, make([]byte, 65516)),
		"too long IPv6": ipv6(protoUDP, make([]byte, 65496)),
	} {
		before := bytes.Clone(b)
		if err := FixPacket(b); err != ErrNotIP {
			t.Errorf("%s: error %v", name, err)
		}
		if !bytes.Equal(b, before) {
			t.Errorf("%s: changed", name)
		}
		if VerifyPacket(b) {
			t.Errorf("%s: VerifyPacket is true", name)
		}
	}
	if b := ipv4(protoUDP, 0, nil, make([]byte, 65515)); FixPacket(b) != nil || !VerifyPacket(b) {
		t.Error("65535 bytes refused")
	}
}
